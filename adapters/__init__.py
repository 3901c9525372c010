"""Adapters: one folder per kind of system; each translates between canonical records and that system's messages."""
