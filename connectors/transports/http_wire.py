"""One HTTP exchange, and the truth about whether its bytes left.

One concern: the pooled HTTP/1.1 client shared by the transports over HTTP. It must never send a request twice, follow a
redirect, keep a cookie, use a proxy from the environment, or connect to an address the policy refuses.

How it knows: everything up to a connection that stands, and that the system itself calls open, is `NotSent`. From the
moment a request is handed to the socket every failure is `MaybeSent`, because those bytes may have arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from connectors.address import AddressPolicy
from connectors.errors import AddressRefused
from connectors.transports.base import Request
from connectors.transports.http_line import Line
from connectors.transports.tls import tls_context
from hub.kernel.ports import NotSent, Reply

_FRESH_TRIES = 3
_KEPT = 512
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(r"[\x21-\x7e]+")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"})
"""Headers that say where a request ends or whose it is: the wire's own, never a call's."""
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class _Refused(OSError):
    """The address policy's refusal of one address."""


class _Place:
    """One origin: its connections, and those who wait for one."""

    __slots__ = ("host", "idle", "lines", "opening", "port", "tls", "waiting")

    def __init__(self, host: str, port: int, tls: bool) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.idle: list[Line] = []
        self.lines: set[Line] = set()
        self.opening = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    def ready(self) -> Line | None:
        """An idle connection that still stands, the one used last; what has ended is let go."""
        while self.idle:
            line = self.idle.pop()
            if line.reusable and not line.gone():
                return line
            self.drop(line)
        return None

    def drop(self, line: Line) -> None:
        """Close a connection and let another be made in its stead."""
        line.abort()
        self.lost(line)

    def lost(self, line: Line) -> None:
        """A connection is over."""
        if line in self.lines:
            self.lines.discard(line)
            self.wake()

    def wake(self) -> None:
        """Let whoever waits longest look again."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def turn(self) -> None:
        """Wait until a connection may be free. Somebody else may still be quicker."""
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.wake()  # it was our turn, and we cannot take it
            raise


@contextlib.asynccontextmanager
async def _until(moment: float, late: str) -> AsyncIterator[None]:
    """Within this block until a moment of `time.monotonic`. Raises `TimeoutError` saying `late`."""
    try:
        async with asyncio.timeout(max(moment - time.monotonic(), 0.0)) as clock:
            yield
    except TimeoutError as error:
        raise (TimeoutError(late) if clock.expired() else error) from None


class HttpWire:
    """Pools of connections, one for each origin; belongs to one event loop.

    `connections` caps open connections to an origin; `max_reply` caps the reply's bytes after decompression; `idle_s` is how
    long a connection is kept unused. Seconds of each phase: `pool_s` waiting for a connection that is free, `connect_s` name and
    TCP, `tls_s` the handshake, `write_s` the longest the peer may take nothing of a request, `read_s` its longest silence after
    that. Without one of their own, waiting and handshake share `connect_s`, and sending has `read_s`.
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
        pool_s: float | None = None,
        tls_s: float | None = None,
        write_s: float | None = None,
    ) -> None:
        self._policy = policy
        self._connections = connections
        self._connect_s = connect_s
        self._read_s = read_s
        self._pool_s = pool_s
        self._tls_s = tls_s
        self._write_s = read_s if write_s is None else write_s
        self._max_reply = max_reply
        self._idle_s = idle_s
        self._tls = tls
        self._places: dict[tuple[str, int, bool], _Place] = {}
        self._targets: dict[str, tuple[_Place, str]] = {}
        self._starts: dict[tuple[str, str], tuple[_Place, str]] = {}
        self._names: set[str] = set()
        """Header names that a call may set."""
        self._codings: set[str] = set()
        """How callers have written the header by which they ask for a coding themselves."""

    async def exchange(self, request: Request, deadline_s: float) -> Reply:
        """One request, one reply of any status. Raises `NotSent` (`AddressRefused` among them) or `MaybeSent`."""
        started = time.monotonic()
        ends = started + deadline_s
        place, head = self._head(request)
        if deadline_s <= 0:
            raise NotSent("the deadline passed before a connection was ready")
        line = place.ready() or await self._take(place, ends)
        body, method = request.body, request.method
        if body or method in _WITH_BODY:
            head = b"%bContent-Length: %d\r\n\r\n" % (head, len(body))
        else:
            head += b"\r\n"
        try:
            reply = await line.ask(head, body, due=ends, started=started, without_body=method == "HEAD")
        except BaseException:
            place.drop(line)
            raise
        self._give(place, line)
        return reply

    async def reach(self, url: str, deadline_s: float) -> None:
        """Resolve, check, connect and shake hands; send nothing. Raises `NotSent`."""
        place, _ = self._target(url)
        self._give(place, await self._take(place, time.monotonic() + max(deadline_s, 0.001)))

    async def close(self) -> None:
        """Close every connection; a request under way is `MaybeSent`."""
        for place in self._places.values():
            place.idle.clear()
            for line in list(place.lines):
                place.drop(line)
        await asyncio.sleep(0)  # the loop's turn to close the sockets

    # ------------------------------------------------------------------------------------------ connections

    def _give(self, place: _Place, line: Line) -> None:
        if not line.reusable or self._idle_s <= 0:
            place.drop(line)
            return
        line.rest()
        place.idle.append(line)
        if place.waiting:
            place.wake()

    async def _take(self, place: _Place, ends: float) -> Line:
        """A connection that stands, of the pool or a new one. Raises `NotSent`."""
        asked = time.monotonic()
        wait_until = min(ends, asked + (self._connect_s if self._pool_s is None else self._pool_s))
        until = wait_until if self._pool_s is None else None
        tries = 0
        try:
            while True:
                line = place.ready()
                if line is not None:
                    return line
                if len(place.lines) + place.opening >= self._connections:
                    async with _until(wait_until, f"no connection was free within {wait_until - asked:.3g} s"):
                        await place.turn()
                    continue
                if until is None:  # what was spent waiting is not taken from connecting
                    until = min(ends, time.monotonic() + self._connect_s)
                line = await self._connect(place, until, ends)
                if not line.gone():
                    return line
                place.drop(line)
                tries += 1
                if tries == _FRESH_TRIES:
                    raise NotSent("every connection was closed by the peer before the first byte")
        except TimeoutError as error:
            why = str(error) if error.errno is None else ""  # the system's own says less
            raise NotSent(f"timed out: {why or f'no connection within {self._connect_s:.3g} s'}") from None

    async def _connect(self, place: _Place, until: float, ends: float) -> Line:
        place.opening += 1
        try:
            line = await self._opened(place, until, ends)
            place.lines.add(line)
            return line
        except _Refused as refused:
            raise AddressRefused(str(refused)) from None
        except (OSError, ssl.SSLError, UnicodeError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise NotSent(f"{type(error).__name__}: {error}"[:300]) from error
        finally:
            place.opening -= 1
            place.wake()

    async def _opened(self, place: _Place, until: float, ends: float) -> Line:
        """Each address of the name in turn, checked when it is about to be connected to: the one place nothing goes around.
        `until`: when connecting must be done; `ends`: the call's own end."""
        loop = asyncio.get_running_loop()
        tls_s, late = self._tls_s, f"no connection within {max(until - time.monotonic(), 0.0):.3g} s"
        async with _until(until, late):
            found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        last: OSError = OSError(f"{place.host} has no address")
        for number, (family, kind, protocol, _, address) in enumerate(found):
            refusal = self._policy.refusal(str(address[0]))
            if refusal is not None:
                last = _Refused(refusal)
                continue
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # An address that says nothing leaves time for those after it.
                now = time.monotonic()
                async with _until(now + (until - now) / (len(found) - number), late):
                    await loop.sock_connect(sock, address)
                over = until if tls_s is None else min(ends, time.monotonic() + tls_s)
                async with _until(over, late if tls_s is None else f"no TLS within {tls_s:.3g} s"):
                    return await self._made(loop, place, sock)
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
        raise last

    async def _made(self, loop: asyncio.AbstractEventLoop, place: _Place, sock: socket.socket) -> Line:
        tls = None
        if place.tls:
            tls = self._tls = self._tls or tls_context(None)
        _, line = await loop.create_connection(
            lambda: Line(
                loop,
                place.lost,
                silence_s=self._read_s,
                stuck_s=self._write_s,
                idle_s=self._idle_s,
                max_reply=self._max_reply,
            ),
            sock=sock,
            ssl=tls,
            server_hostname=place.host if place.tls else None,
        )
        return line

    # ------------------------------------------------------------------------------------------ heads

    def _head(self, request: Request) -> tuple[_Place, bytes]:
        """Where a request goes and its head up to the body's length. A name is looked at once, a value every time: a
        signature and a time are new with every call."""
        place, start = self._start(request.method, request.url)
        lines, names, headers = [start], self._names, request.headers
        for name, value in headers.items():
            if name not in names:
                self._check(name)
            # Values are not repeated: one may be a secret.
            if not value.isprintable() and _CONTROL.search(value):
                raise NotSent(f"header {name} holds a control character")
            lines.append(f"{name}: {value}\r\n")
        if self._codings.isdisjoint(headers):
            lines.append("Accept-Encoding: identity\r\n")
        try:
            return place, "".join(lines).encode()
        except UnicodeEncodeError:
            raise NotSent("a header holds characters that cannot be sent") from None

    def _check(self, name: str) -> None:
        if not _TOKEN.fullmatch(name):
            raise NotSent("a header name is not a token")
        low = name.lower()
        if low in _OURS:
            raise NotSent(f"header {name} is not a call's to set")
        if len(self._names) >= _KEPT:
            self._names.clear()
        self._names.add(name)
        if low == "accept-encoding":
            self._codings.add(name)

    def _start(self, method: str, url: str) -> tuple[_Place, str]:
        """The origin, and the lines up to the first header of the call's own."""
        known = self._starts.get((method, url))
        if known is not None:
            return known
        place, rest = self._target(url)
        if not _TOKEN.fullmatch(method):
            raise NotSent("the request method is not a token")
        if len(self._starts) >= _KEPT:
            self._starts.clear()
        return self._starts.setdefault((method, url), (place, f"{method} {rest}"))

    def _target(self, url: str) -> tuple[_Place, str]:
        """The origin of a URL, and the request's first lines after the method."""
        known = self._targets.get(url)
        if known is not None:
            return known
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("http", "https") or not host.isascii():
            raise NotSent("the address is not a whole http(s) address")
        tls = parts.scheme == "https"
        default = 443 if tls else 80
        key = (host, port or default, tls)
        place = self._places.setdefault(key, _Place(*key))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        named = f"[{host}]" if ":" in host else host
        if port is not None and port != default:
            named += f":{port}"
        if not _TARGET.fullmatch(path) or not _TARGET.fullmatch(named):
            raise NotSent("the address holds a character that cannot be sent")
        if len(self._targets) >= _KEPT:
            self._targets.clear()
        start = f"{path} HTTP/1.1\r\nHost: {named}\r\nUser-Agent: lien-thong\r\n"
        return self._targets.setdefault(url, (place, start))
