"""The outward guard: which addresses a connector may reach.

One concern: deciding about one resolved IP address, or one folder. It must never resolve a name itself and never take its exceptions
from a connector's settings: an administrator of connectors must not be able to turn the hub inward. The decision is
taken on the very address the socket is about to connect to, so a name that changes its answer gains nothing; for a
folder on its real path, so a symbolic link gains nothing either.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressPolicy:
    """Public addresses are allowed; others only when a network in `allow_private` (CIDR, from the hub's own
    configuration) holds them. Folders are allowed only at or under one of `folders` (absolute paths, from the same
    configuration). Raises `ValueError` for a network that cannot be read or a root that is not absolute."""

    def __init__(self, allow_private: Iterable[str] = (), folders: Iterable[str | Path] = ()) -> None:
        self._allowed = tuple(ipaddress.ip_network(n, strict=False) for n in allow_private)
        self._folders = tuple(Path(f) for f in folders)
        if not all(f.is_absolute() and f != Path(f.anchor) for f in self._folders):
            raise ValueError("a folder root must be an absolute path below the file system's root")

    def folder_refusal(self, folder: Path) -> str | None:
        """Why the existing `folder` must not be used; None when its real path lies at or under an allowed root."""
        if not folder.is_absolute():
            return f"{folder} is not an absolute path"
        real = folder.resolve()
        if not any(real.is_relative_to(root.resolve()) for root in self._folders):
            return f"{folder} is not under the hub's outward.folders"
        return None

    def refusal(self, address: str) -> str | None:
        """Why `address` (an IP literal, a zone such as `%eth0` allowed) must not be reached; None when it may."""
        try:
            ip: IpAddress = ipaddress.ip_address(address.split("%", 1)[0])
        except ValueError:
            return f"{address!r} is not an IP address"
        for candidate in _faces(ip):
            if not _public(candidate) and not any(
                candidate.version == n.version and candidate in n for n in self._allowed
            ):
                return f"{address} is not a public address and is not in the hub's allow_private"
        return None


def _public(ip: IpAddress) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
        return False  # deprecated, yet still routed inside where it was ever used
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def _faces(ip: IpAddress) -> list[IpAddress]:
    """The addresses a packet to `ip` may end at: an IPv6 address can carry an IPv4 one inside. The embedded address
    then decides alone, as the carrier's own range says nothing about where the packet goes."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    if ip.ipv4_mapped is not None:
        return [ip.ipv4_mapped]
    if ip.sixtofour is not None:
        return [ip.sixtofour]
    if ip.teredo is not None:
        return list(ip.teredo)
    if ip in _NAT64:
        return [ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)]
    return [ip]
