"""What settings' values are asked before they are taken. Pure."""

from __future__ import annotations

from ipaddress import ip_address


def inward(address: str) -> bool:
    """Whether what listens there is heard on this machine, or on one private network, alone."""
    if address == "localhost":
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (found.is_loopback or found.is_private) and not found.is_unspecified
