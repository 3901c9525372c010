"""One connection to a counterparty: a request out, its reply in, one at a time.

One concern: what HTTP/1.1 says on one socket, and the clock that watches it. It must never write a request twice, and
never call a connection fit for another request that might still carry something of the last one.
"""

from __future__ import annotations

import asyncio
import select
import time
import zlib
from collections.abc import Callable
from typing import Any

import httptools

from hub.kernel.ports import MaybeSent, Reply

_AROUND = 256 << 10
"""Bytes of heads, chunk lines and trailers taken beside the body; eight times the body comes on top (chunks of one byte)."""
_JOINED = 64 << 10
# The peer's half-close shows as RDHUP where the system has it; elsewhere only full hang-ups do.
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)

_names: dict[bytes, str] = {}
_NAMES_MAX = 512


class Line(asyncio.Protocol):
    """A connection made. `closed` is told once, when it is over; `silence_s` is the longest the peer may say nothing
    once it has a request, `stuck_s` the longest it may take nothing of one, `idle_s` how long the connection is kept without one; `max_reply` caps the
    reply's bytes after decompression."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        closed: Callable[[Line], None],
        *,
        silence_s: float,
        stuck_s: float,
        idle_s: float,
        max_reply: int,
    ) -> None:
        self._loop = loop
        self._closed: Callable[[Line], None] | None = closed
        self._silence_s = silence_s
        self._stuck_s = stuck_s
        # With none kept there is still the time between a connection made and its first request.
        self._idle_s = idle_s if idle_s > 0 else 1.0
        self._max_reply = max_reply
        self._transport: Any = None
        self._poller = select.poll()
        self._parser: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = 0.0
        self._last = 0.0
        """When the peer last said or took something; while idle, since when."""
        self._answer: asyncio.Future[Reply] | None = None
        self._due = self._started = 0.0
        self._unwritten = 0
        self._without_body = False
        self._raw = self._size = self._status = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._head_done = self._whole = self._until_end = False
        self._broken: str | None = None
        self.reusable = True
        """Whether another request may be written. Asked after each reply."""

    # ------------------------------------------------------------------------------------------ the request

    def ask(self, head: bytes, body: bytes, *, due: float, started: float, without_body: bool) -> asyncio.Future[Reply]:
        """Write a request. From here on its bytes may have arrived: the future gives the reply or raises `MaybeSent`.

        `due` and `started` in `time.monotonic`'s seconds; `without_body`: the reply has none whatever its head says.
        """
        self._answer = answer = self._loop.create_future()
        self._due, self._started, self._last = due, started, time.monotonic()
        self._without_body = without_body
        self._raw = self._size = 0
        self._headers = {}
        self._parts = []
        self._head_done = self._whole = self._until_end = False
        self._broken = None
        if len(body) < _JOINED:
            self._transport.write(head + body if body else head)
        else:
            self._transport.write(head)
            self._transport.write(body)
        self._unwritten = self._transport.get_write_buffer_size()
        self._watch(self._last, self._unwritten)
        return answer

    def gone(self) -> bool:
        """Whether the peer has closed this connection, asked of the system itself: the event loop may not have looked
        yet. On a plain connection unasked-for bytes also make it unusable; on TLS they may be session tickets."""
        return self._transport is None or self._transport.is_closing() or bool(self._poller.poll(0))

    def rest(self) -> None:
        """No request is under way: the connection may be kept for the next one."""
        self._answer = None
        self._last = time.monotonic()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self.reusable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------------------------------ the loop's calls

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        sock = transport.get_extra_info("socket")
        watch = _GONE if transport.get_extra_info("sslcontext") else _GONE | select.POLLIN
        self._poller.register(sock.fileno(), watch)
        self._parser = httptools.HttpResponseParser(self)
        self.rest()
        self._arm(self._last + self._idle_s)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self._whole:
            self.abort()  # nothing was asked
            return
        self._last = time.monotonic()
        self._raw += len(data)
        try:
            self._parser.feed_data(data)
        except Exception as error:  # its own errors, and an upgrade nobody asked for
            self._broken = self._broken or f"the reply is not HTTP: {error}"
        if self._whole:
            # What came after a whole reply in the same bytes was not asked for.
            self.reusable = self.reusable and self._broken is None
            self._finish()
        elif self._broken is not None:
            self._fail(self._broken)
        elif self._raw > _AROUND + 8 * self._size:
            self._fail("the reply's head or its chunks have no end")

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._answer is not None and not self._answer.done():
            if exc is None and self._until_end and self._head_done:
                self._finish()
            else:
                self._fail(f"{type(exc).__name__}: {exc}" if exc else "the peer closed the connection")
        closed, self._closed = self._closed, None
        self._parser = None  # it holds this line
        if closed is not None:
            closed(self)

    # ------------------------------------------------------------------------------------------ the parser's calls

    def on_message_begin(self) -> None:
        if self._whole:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:  # trailers say nothing about the reply
            return
        key = _names.get(name) or _name(name)
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("latin-1")
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        if self._whole:
            return
        self._status = status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                self._broken = "the reply changes the protocol"
            return
        self._head_done = True
        headers = self._headers
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if coding is not None and coding.strip().lower() != "chunked":
            self._broken = "the reply has a transfer coding nobody asked for"
        if self._broken is not None:
            return
        if self._without_body:
            # A peer that sends a body all the same would have it taken for the next reply.
            self._whole, self.reusable = True, False
        elif length is not None:
            if len(length) > 18 or int(length) > self._max_reply:
                self._broken = self._too_large()
        elif coding is None and status not in (204, 304):
            self._until_end = True

    def on_body(self, body: bytes) -> None:
        if self._whole:
            return
        self._size += len(body)
        if self._size > self._max_reply:
            self._broken = self._broken or self._too_large()
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if not self._head_done:  # 100, 103: the reply is still to come
            self._headers = {}
        elif not self._whole and self._broken is None:
            self._whole = True
            self.reusable = self._parser.should_keep_alive()

    # ------------------------------------------------------------------------------------------ ends

    def _finish(self) -> None:
        answer = self._answer
        if answer is None or answer.done():
            return
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        headers = self._headers
        if "content-encoding" in headers:
            try:
                body = inflated(body, headers["content-encoding"], self._max_reply)
            except ValueError as error:
                self._fail(str(error))
                return
        if self._transport is not None and self._transport.get_write_buffer_size():
            self.reusable = False  # answered before it had the whole request
        elapsed = (time.monotonic() - self._started) * 1000
        answer.set_result(Reply(status=self._status, body=body, headers=headers, elapsed_ms=elapsed))

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(MaybeSent(f"after the first byte: {why}"[:300]))
        self.abort()

    def _too_large(self) -> str:
        return f"the reply (status {self._status}) is larger than {self._max_reply} bytes"

    # ------------------------------------------------------------------------------------------ the clock

    def _arm(self, at: float) -> None:
        """Look at the clock at `at`, or before. A timer is moved forward only: a look too early costs one more look,
        while moving it for every request would cost each of them."""
        if self._timer is not None:
            if self._look_at <= at:
                return
            self._timer.cancel()
        self._look_at = at
        self._timer = self._loop.call_later(max(at - time.monotonic(), 0.0), self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        if self._answer is None or self._answer.done():
            if now >= self._last + self._idle_s:
                self.abort()
                return
            self._arm(self._last + self._idle_s)
            return
        left = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if left < self._unwritten:
            self._unwritten, self._last = left, now  # it took something
        patience = self._stuck_s if left else self._silence_s
        if now >= self._due:
            self._fail("timed out: the deadline passed")
        elif now >= self._last + patience:
            self._fail(f"timed out: silent for {patience:g} s" + (", taking nothing of the request" if left else ""))
        else:
            self._watch(now, left)

    def _watch(self, now: float, left: int) -> None:
        """Look again when patience may be over. While bytes are `left` also before that: nothing tells when the last is taken,
        and another patience begins then."""
        if left:
            self._arm(min(self._due, self._last + self._stuck_s, now + self._silence_s))
        else:
            self._arm(min(self._due, self._last + self._silence_s))


_MEMBERS_MOST = 4


def inflated(body: bytes, coding: str, most: int) -> bytes:
    """A body without its content coding, at most `most` bytes. Raises `ValueError`."""
    kind = coding.strip().lower()
    if kind in ("", "identity"):
        return body
    if kind not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"the reply has a content coding nobody asked for: {kind[:40]}")
    # 47: gzip or zlib, whichever it is; some peers send deflate without zlib's head.
    window = -15 if kind == "deflate" and body[:1] and body[0] & 0x0F != 8 else 47
    out: list[bytes] = []
    size = 0
    rest = body
    # What comes after one member is copied to be read: many small ones would hold up everything else.
    for _ in range(_MEMBERS_MOST):
        if not rest:
            break
        unpacker = zlib.decompressobj(window)
        try:
            out.append(unpacker.decompress(rest, most - size + 1))
        except zlib.error as error:
            raise ValueError(f"the reply cannot be decompressed: {error}") from None
        size += len(out[-1])
        if size > most:
            raise ValueError(f"the reply is larger than {most} bytes once decompressed")
        if not unpacker.eof:
            raise ValueError("the reply cannot be decompressed: it is cut short")
        rest = unpacker.unused_data
    if rest:
        raise ValueError(f"the reply is compressed in more than {_MEMBERS_MOST} members")
    return out[0] if len(out) == 1 else b"".join(out)


def _name(name: bytes) -> str:
    """A header's name in lower case, kept: counterparties use the same few again and again."""
    if len(_names) >= _NAMES_MAX:
        _names.clear()
    return _names.setdefault(bytes(name), name.decode("ascii").lower())
