"""One connection to an MQTT broker: made where the policy allows, read into packets, written once per turn of the loop.

One concern: the socket. It must never make a second attempt, answer a packet by itself, or hold back what was given to
it to write.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from connectors.address import AddressPolicy
from connectors.transports.mqtt_packets import PING, Malformed, Packets

Hear = Callable[["Link", list[tuple[int, bytes | memoryview]]], None]
Over = Callable[["Link", str | None], None]

_WRITE_MOST = 4 << 20
_HANG_UP_S = 1.0
_SILENT_BEATS = 2


class Refused(OSError):
    """Chính sách địa chỉ không cho kết nối. / The address policy refuses the connection."""


class Link(asyncio.Protocol):
    """One connection. `hear(link, packets)` gets what arrives. `over(link, reason)` is told once, at the moment from
    which nothing more is written; `ended` is done when the socket is gone as well."""

    def __init__(self, hear: Hear, over: Over, most: int) -> None:
        self._hear = hear
        self._tell_over = over
        self._over = False
        self._paused = False
        self._packets = Packets(most)
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.heard = 0
        """Times something arrived."""
        self.clogged = False
        """The broker does not read: what may be left out should be."""
        self.five = False
        """Whether MQTT 5 is spoken on it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=_WRITE_MOST)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self.heard += 1
        try:
            self._hear(self, self._packets.feed(data))
        except Malformed as error:
            self.abort(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the broker hung up" if exc is None else f"{type(exc).__name__}: {exc}")
        if not self.ended.done():
            self.ended.set_result(None)

    def pause_writing(self) -> None:
        self.clogged = True

    def resume_writing(self) -> None:
        self.clogged = False

    def write(self, data: bytes) -> None:
        """Write with everything else of this turn of the loop, in order; nothing once it is over."""
        if self._over:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def pause(self) -> None:
        """Stop reading."""
        self._paused = True
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on; nothing to do once it is over."""
        self._paused = False
        if not self._over:
            self._transport.resume_reading()

    async def beat(self, keepalive_s: float) -> None:
        """Keep the session alive, and end a connection whose other side has gone silent. Silence is counted in our own
        beats: a process that was stopped for a while must not take its own sleep for the broker's."""
        silent, heard = 0, self.heard
        while True:
            await asyncio.sleep(keepalive_s * 0.75)
            silent = silent + 1 if self.heard == heard and not self._paused else 0
            heard = self.heard
            if silent >= _SILENT_BEATS:
                self.abort("the broker has gone silent")
                return
            self.write(PING)

    def close(self, last: bytes) -> None:
        """Write what is left and `last`, then wait for the broker to hang up: only then has it read everything, and a
        next connection of the same session would make it throw away what it has not. Cut off one that does not."""
        self.write(last)
        self._flush()
        self._end(None)
        self._loop.call_later(_HANG_UP_S, self._transport.close)
        self._loop.call_later(2 * _HANG_UP_S, self._transport.abort)

    def abort(self, reason: str | None = None) -> None:
        """End now."""
        self._end(reason)
        self._transport.abort()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and not self._over:
            self._transport.write(b"".join(out))

    def _end(self, reason: str | None) -> None:
        if not self._over:
            self._over = True
            self._tell_over(self, reason)


async def dial(
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    guard: AddressPolicy | None,
    hear: Hear,
    over: Over,
    most: int,
) -> Link:
    """Connect to the first of the host's addresses that answers; `most`: largest packet taken, in bytes. The policy is
    asked about the very address connected to. Raises `Refused`, or `OSError` (also TLS's) when none answers."""
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for _family, _kind, _protocol, _, where in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        address = str(where[0])
        if guard is not None and (refusal := guard.refusal(address)) is not None:
            raise Refused(refusal)
        try:
            _, link = await loop.create_connection(
                lambda: Link(hear, over, most), address, port, ssl=tls, server_hostname=host if tls else None
            )
        except OSError as error:
            failure = error
        else:
            return link
    raise failure or OSError(f"{host} has no address")
