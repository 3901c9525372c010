"""Whose addresses may call a family's door, where a deployment has said so: HANET's cloud calls from few.

One concern: that list. The address is the connection's own, or what a proxy the server itself trusts has said of it; a
header of anybody else's counts for nothing. It must never tell by its answer whether the secret was right.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv6Address, ip_address, ip_network

from prometheus_client import Counter

from hub.kernel.ports import Text
from iot.web import Answer

log = logging.getLogger(__name__)

_SAID_EVERY_S = 60.0

ELSEWHERE = Answer(
    403,
    "Địa chỉ gọi không có trong danh sách được phép.\nThe calling address is not on the list of those allowed.\n".encode(),
)
"""The same to everybody, whatever secret was named."""

REFUSED = Counter(
    "gate_callers_refused_total",
    "Calls from addresses not on a family's list, by family and secret",
    ["family", "secret"],
)

ANYWHERE = Text(
    "HANET: webhook nhận lời gọi từ mọi địa chỉ, vì gates.hanet_networks trống; chỉ có khóa trong đường dẫn bảo vệ.",
    "HANET: the webhook takes calls from any address, for gates.hanet_networks is empty; the secret in its path alone protects it.",
)


class Callers:
    """The lists, by family; a family without one may be called from anywhere."""

    def __init__(self, networks: Mapping[str, Iterable[str]] | None = None) -> None:
        self._networks = {family: [ip_network(n) for n in found] for family, found in (networks or {}).items()}
        self._said_at: dict[str, float] = {}  # by registered gate, hence bounded

    def admits(self, family: str, address: str) -> bool:
        """Whether a call may come from there. What is no address is on no list."""
        networks = self._networks.get(family)
        if not networks:
            return True
        try:
            caller = ip_address(address)
        except ValueError:
            return False
        if isinstance(caller, IPv6Address) and caller.ipv4_mapped is not None:
            caller = caller.ipv4_mapped
        return any(caller.version == n.version and caller in n for n in networks)

    def refused(self, family: str, address: str, gate: str | None) -> None:
        """Count a call that was refused. `gate`: whose secret it named; with a right one it is said in the log as well, once
        a minute at most: the vendor may have moved."""
        REFUSED.labels(family, "wrong" if gate is None else "right").inc()
        now = time.monotonic()
        if gate is None or now - self._said_at.get(gate, float("-inf")) < _SAID_EVERY_S:
            return
        self._said_at[gate] = now
        log.warning(
            "a call with the secret of gate %s came from %s, which is not on the list of %s", gate, address[:45], family
        )


def note(networks: Collection[str], families: Iterable[str]) -> Text | None:
    """What administrators are told while gates of HANET's are in use and its cloud may call from anywhere."""
    return ANYWHERE if not networks and "hanet" in families else None
