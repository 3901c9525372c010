"""Protocols spoken on top of HTTP, in layers around the transport: exchange platforms, signatures, attachments.

One concern: passing a call's request outward through the layers and its reply back inward. A layer must never send
anything itself. A log-in of a scheme passes through those layers alone that everything at its address is spoken in: behind
a security server there is no other way in, while a token's address stands beside the messages and knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec.structs import replace
from yarl import URL

from connectors.transports.base import Request
from connectors.transports.rest import RestTransport
from hub.kernel.ports import Call, NotSent, Reply


class Layer(Protocol):
    """One protocol around a call."""

    under: str | None
    """Address below which nothing is spoken but this protocol, a scheme's log-in neither; None: calls alone speak it."""

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

    def __init__(self, inner: RestTransport, layers: Sequence[Layer]) -> None:
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
        """Send; the reply goes back through the layers its request went through.

        A 401 is given as it is: it says that the request was not let in, and the scheme is to see it.
        """
        layers = self._layers
        if request.expect is None:
            request, layers = self._aside(request)
        reply = await self._inner.exchange(request, deadline_s)
        if request.expect is None or reply.status == 401:
            return reply
        for layer in reversed(layers):
            reply = layer.unwrap(request, request.expect, reply)
        return reply

    def _aside(self, request: Request) -> tuple[Request, tuple[Layer, ...]]:
        """A scheme's log-in, wrapped in what is spoken at its address. The scheme's own request stays as it is."""
        request = self._inner.placed(request)
        try:
            url = str(URL(request.url))
        except ValueError:
            raise NotSent("the log-in address is not readable") from None
        layers = tuple(x for x in self._layers if x.under is not None and url.startswith(x.under))
        if layers:
            memory: dict[str, Any] = {}
            request = replace(request, headers=dict(request.headers), expect=memory)
            for layer in layers:
                layer.wrap(request, memory)
        return request, layers

    async def reach(self, deadline_s: float) -> None:
        """Connect only."""
        await self._inner.reach(deadline_s)

    async def close(self) -> None:
        """Give back sockets."""
        await self._inner.close()
