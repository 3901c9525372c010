"""Transports: the code behind a connector's address. Each says exactly whether a call may have been sent."""
