"""Connectors: transports, authentication schemes and delivery policy for configured connections."""
