"""What settings' values are asked before they are taken. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network


def inward(address: str) -> bool:
    """Whether what listens there is heard on this machine, or on one private network, alone."""
    if address == "localhost":
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (found.is_loopback or found.is_private) and not found.is_unspecified


def networks(given: Iterable[str]) -> tuple[str, ...]:
    """A list of networks in CIDR, each as it is usually written. Raises `ValueError` naming every one that is none, by its place in
    the list, counted from 1."""
    taken: list[str] = []
    wrong: list[str] = []
    for place, network in enumerate(given, 1):
        try:
            taken.append(str(ip_network(network)))
        except ValueError:
            wrong.append(f"[{place}] {network[:60]!r}: {_unlike(network)}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(taken)


def _unlike(network: str) -> str:
    """What is wrong with it. An address with a mask that leaves bits of it over names two things: which one is meant is not guessed."""
    try:
        meant = ip_network(network, strict=False)
    except ValueError:
        return "không phải mạng CIDR / no network in CIDR"
    return f"địa chỉ vượt mặt nạ, mạng này là {meant}? / the address goes beyond its mask, is {meant} meant?"
