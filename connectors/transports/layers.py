"""Protocols spoken on top of HTTP, in layers around the transport: exchange platforms, signatures, attachments.

One concern: passing a call's request outward through the layers and its reply back inward. A layer must never send
anything itself, and a log-in of a scheme must never pass through one: it goes over the same wire and is no call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from connectors.transports.base import Request, Transport
from hub.kernel.ports import Call, Reply


class Layer(Protocol):
    """One protocol around a call."""

    def wrap(self, request: Request, memory: dict[str, Any]) -> None:
        """Change the request (ours alone, never the stored call's) before credentials are added. What the reply will
        be held against goes into `memory`. Raises `NotSent` for what cannot be wrapped."""
        ...

    def unwrap(self, sent: Request, memory: dict[str, Any], reply: Reply) -> Reply:
        """The reply as the adapter is to see it. `sent` is the request as it went out, credentials included. Raises
        `NotSent` when the reply proves that the call was never delivered, `MaybeSent` when it cannot be trusted."""
        ...


class Layered:
    """See `connectors.transports.base.Transport`. Layers wrap in their order and unwrap in the opposite one."""

    def __init__(self, inner: Transport, layers: Sequence[Layer]) -> None:
        self._inner = inner
        self._layers = tuple(layers)

    def request(self, call: Call) -> Request:
        """The inner transport's request, wrapped by every layer."""
        request = self._inner.request(call)
        request.headers = dict(request.headers)
        request.expect = {}
        for layer in self._layers:
            layer.wrap(request, request.expect)
        return request

    async def exchange(self, request: Request, deadline_s: float) -> Reply:
        """Send; a call's reply goes back through the layers, a log-in's is given as it is.

        A 401 is given as it is as well: it says that the request was not let in, and the scheme is to see it.
        """
        reply = await self._inner.exchange(request, deadline_s)
        if request.expect is None or reply.status == 401:
            return reply
        for layer in reversed(self._layers):
            reply = layer.unwrap(request, request.expect, reply)
        return reply

    async def reach(self, deadline_s: float) -> None:
        """Connect only."""
        await self._inner.reach(deadline_s)

    async def close(self) -> None:
        """Give back sockets."""
        await self._inner.close()
