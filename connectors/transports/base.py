"""What every transport offers to a connector, and the request that authentication schemes complete.

One concern: the shapes between connector, scheme and transport. It must never open a socket.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct, field

from hub.kernel.ports import Call, Reply


class Request(Struct, kw_only=True):
    """One request as it will go on the wire. A scheme makes a changed copy; the stored call is never touched."""

    method: str
    url: str
    """Whole URL for HTTP transports, or for a scheme's own request a path under the base address, beginning with `/`; the topic
    for MQTT."""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    expect: dict[str, Any] | None = None
    """What the transport that made the request from a call remembers until its reply; None for a scheme's log-in, which
    goes over the same wire and is none of the adapter's conversation."""


class Transport(Protocol):
    """The code behind a kind of address. Every method raises only `NotSent` and `MaybeSent`."""

    def request(self, call: Call) -> Request:
        """Turn a call into a request without credentials. Raises `NotSent` for a call that cannot be put on a wire."""
        ...

    async def exchange(self, request: Request, deadline_s: float) -> Reply:
        """Send and give the reply, whatever its status."""
        ...

    async def reach(self, deadline_s: float) -> None:
        """Connect as far as the first byte of a request would need it, and send none."""
        ...

    async def close(self) -> None:
        """Give back sockets."""
        ...
