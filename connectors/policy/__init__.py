"""Delivery policy: when a connector may be used, how often, and when to try again."""
