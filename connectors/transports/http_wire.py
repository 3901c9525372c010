"""One HTTP exchange, and the truth about whether its bytes left.

One concern: the pooled HTTP client shared by the REST and SOAP transports. It must never send a request twice, follow
a redirect, keep a cookie, use a proxy from the environment, or connect to an address the policy refuses.

How it knows: `_Outgoing.send` runs when a connection is ready and nothing is written yet. A failure before it is
`NotSent`; any failure after it is `MaybeSent`, because bytes given to a socket may have arrived. The client's own
repeat of "idempotent" methods on a dropped connection is kept out by turning the failure, inside the client, into an
exception its repeat does not look at.
"""

from __future__ import annotations

import asyncio
import io
import select
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection
from multidict import CIMultiDictProxy

from connectors.address import AddressPolicy
from connectors.errors import AddressRefused
from connectors.transports.base import Request
from hub.kernel.ports import MaybeSent, NotSent, Reply

_LARGE = 1 << 20
_CONTROL = frozenset(chr(c) for c in range(32) if c != 9) | {"\x7f"}
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_STALE_TRIES = 3
# The peer's half-close shows as RDHUP where the system has it; elsewhere only full hang-ups do.
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class _Broken(Exception):
    """Carries a failure (its cause) past the client's own repeat."""


class _Stale(Exception):
    """The pooled connection was closed by the peer; nothing was written to it."""


class _Reached(Exception):
    """A connection stood ready; this is as far as `reach` goes."""


class _Refused(OSError):
    """The address policy's refusal, in the shape the connect machinery passes on."""


class _Progress:
    """Follows one request through the client: a middleware holding whether the first byte may have left."""

    __slots__ = ("began", "connect_only")

    def __init__(self, connect_only: bool = False) -> None:
        self.began = False
        self.connect_only = connect_only

    async def __call__(
        self, request: ClientRequest, handler: Callable[[ClientRequest], Awaitable[ClientResponse]]
    ) -> ClientResponse:
        request.progress = self  # type: ignore[attr-defined]
        try:
            return await handler(request)
        except Exception as error:
            raise _Broken from error


class _Outgoing(ClientRequest):
    """The client's request, noting the moment before its first byte."""

    progress: _Progress

    async def send(self, conn: Connection) -> ClientResponse:
        if self.progress.connect_only:
            raise _Reached
        if _gone(conn):
            raise _Stale
        self.progress.began = True
        return await super().send(conn)


def _gone(conn: Connection) -> bool:
    """Whether the peer has closed this connection, asked of the system itself: the event loop may not have looked
    yet. On a plain connection unasked-for bytes also make it unusable; on TLS they may be session tickets."""
    transport = conn.transport
    if transport is None or transport.is_closing():
        return True
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    watch = _GONE if transport.get_extra_info("sslcontext") else _GONE | select.POLLIN
    poller = select.poll()
    poller.register(sock.fileno(), watch)
    return bool(poller.poll(0))


class HttpWire:
    """A pool of connections to one place.

    `connections` caps open connections (the pool's queue counts into `connect_s`); `connect_s` covers name, TCP and
    TLS; `read_s` is the longest silence of the peer; `max_reply` caps the reply's bytes after decompression.
    """

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        connections: int,
        connect_s: float,
        read_s: float,
        max_reply: int,
        idle_s: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._policy = policy
        self._connections = connections
        self._connect_s = connect_s
        self._read_s = read_s
        self._max_reply = max_reply
        self._idle_s = idle_s
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, request: Request, deadline_s: float) -> Reply:
        """One request, one reply of any status. Raises `NotSent` (`AddressRefused` among them) or `MaybeSent`."""
        _check(request)
        started = time.perf_counter()
        for _ in range(_STALE_TRIES):
            remaining = deadline_s - (time.perf_counter() - started)
            if remaining <= 0:
                raise NotSent("the deadline passed before a connection was ready")
            progress = _Progress()
            try:
                async with self._open().request(
                    request.method,
                    request.url,
                    data=_payload(request.body),
                    headers=request.headers,
                    allow_redirects=False,
                    timeout=self._timeout(remaining),
                    middlewares=(progress,),
                ) as response:
                    body = await self._body(response)
                    return Reply(
                        status=response.status,
                        body=body,
                        headers=_headers(response.headers),
                        elapsed_ms=(time.perf_counter() - started) * 1000,
                    )
            except MaybeSent:
                raise
            except Exception as error:
                cause = error.__cause__ if isinstance(error, _Broken) and error.__cause__ is not None else error
                if isinstance(cause, _Stale):
                    continue
                if progress.began:
                    raise MaybeSent(f"after the first byte: {_say(cause)}") from cause
                raise _unsent(cause) from cause
        raise NotSent("every connection was closed by the peer before the first byte")

    async def reach(self, url: str, deadline_s: float) -> None:
        """Resolve, check, connect and shake hands; send nothing. Raises `NotSent`."""
        try:
            await self._open().request(
                "HEAD",
                url,
                allow_redirects=False,
                timeout=self._timeout(max(deadline_s, 0.001)),
                middlewares=(_Progress(connect_only=True),),
            )
        except Exception as error:
            cause = error.__cause__ if isinstance(error, _Broken) and error.__cause__ is not None else error
            if not isinstance(cause, _Reached):
                raise _unsent(cause) from cause

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        # Made on first use: the client needs the running loop, a connector may be built outside of one.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections,
                    keepalive_timeout=self._idle_s,
                    ssl=self._tls if self._tls is not None else True,
                    socket_factory=self._socket,
                ),
                request_class=_Outgoing,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"User-Agent": "lien-thong", "Accept-Encoding": "gzip"},
            )
        return self._session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Called for every address just before connecting to it: the one place no address goes around."""
        family, kind, protocol, _, where = info
        refusal = self._policy.refusal(str(where[0]))
        if refusal is not None:
            raise _Refused(refusal)
        return socket.socket(family, kind, protocol)

    def _timeout(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=total, connect=self._connect_s, sock_connect=self._connect_s, sock_read=self._read_s
        )

    async def _body(self, response: ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._max_reply:
                response.close()
                raise MaybeSent(f"the reply (status {response.status}) is larger than {self._max_reply} bytes")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def tls_context(ca_pem: str | None) -> ssl.SSLContext:
    """Verifying context, TLS 1.2 or later; `ca_pem` replaces the system's authorities. Raises `ValueError`."""
    try:
        context = ssl.create_default_context(cadata=ca_pem or None)
    except ssl.SSLError as error:
        raise ValueError("the CA certificate is not readable PEM") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _payload(body: bytes) -> Any:
    # Large bodies go through a file object, which the client writes piece by piece.
    return (body if len(body) < _LARGE else io.BytesIO(body)) or None


def _check(request: Request) -> None:
    """What the client would only refuse half-way is refused before. Values are not repeated: one may be a secret."""
    if not request.method or not _TOKEN.issuperset(request.method):
        raise NotSent("the request method is not a token")
    for name, value in request.headers.items():
        if not name or not _TOKEN.issuperset(name):
            raise NotSent("a header name is not a token")
        if not _CONTROL.isdisjoint(value):
            raise NotSent(f"header {name} holds a control character")


def _headers(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        result[key] = f"{result[key]}, {value}" if key in result else value
    return result


def _unsent(cause: BaseException) -> NotSent:
    inner: BaseException | None = cause
    while inner is not None:
        if isinstance(inner, _Refused):
            return AddressRefused(str(inner))
        inner = getattr(inner, "os_error", None) or inner.__cause__
    if "is not a public address" in str(cause):
        return AddressRefused(_say(cause))
    return NotSent(_say(cause))


def _say(cause: BaseException) -> str:
    """A short reason. Client errors name hosts and system errors, never headers or bodies."""
    if isinstance(cause, asyncio.TimeoutError):
        return "timed out" + (f": {cause}" if str(cause) else "")
    return f"{type(cause).__name__}: {cause}"[:300]
