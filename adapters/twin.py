"""The base of every counterparty's simulator: real HTTP, books that outlive the process, switchable faults.

One concern: to stand where the real system stands and remember everything it was made to do. It must never be
imported by an adapter, share state with the hub, or forgive what the real system would refuse.

What a fault leaves in the books is the truth: see `adapters.faults`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import orjson
from aiohttp import web
from msgspec import Struct, field

from adapters.books import Books, Effect
from adapters.faults import BEFORE, FAULTS, Fault, Switches

__all__ = ["FAULTS", "Ask", "Books", "Effect", "Fault", "Say", "Twin"]

_BODY_MAX = 16 * 1024 * 1024
_ODD_XML = (
    b'<?xml version="1.0"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
    b'<KetQua xmlns="urn:khac"><TrangThai>OK</TrangThai></KetQua></soap:Body></soap:Envelope>'
)


class Ask(Struct, frozen=True):
    """One request as the simulated system sees it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes
    url: str
    """Absolute address as the caller wrote it."""


class Say(Struct, frozen=True):
    """One answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Say:
        """A JSON answer."""
        return cls(status, orjson.dumps(value))


class Twin(ABC):
    """A simulated system. Subclasses say what it answers; this class does HTTP, books, faults and quota."""

    system: ClassVar[str]
    rows: ClassVar[str] = ""
    """Member of its JSON answers that lists the items, where they have one."""

    def __init__(
        self, *, books: Path | None = None, seed: int = 0, quota_per_s: int | None = None, latency_ms: float = 0
    ) -> None:
        """`quota_per_s` counts requests in the simulator's own whole seconds."""
        self.books = Books(books)
        self.rng = random.Random(seed)  # noqa: S311 - reproducible, guards nothing
        self.quota_per_s = quota_per_s
        self.latency_s = latency_ms / 1000
        self.faults = Switches()
        self.requests = 0
        self.over_quota_count = 0
        self.peak_per_s = 0
        self.url = ""
        self._second = 0
        self._in_second = 0
        self._stopping = False
        self._runner: web.ServerRunner | None = None
        for effect in self.books.effects:
            self.restore(effect)

    # ------------------------------------------------------------------ what a subclass says

    @abstractmethod
    def answer(self, ask: Ask) -> Say:
        """The system's own behaviour: check strictly, note effects and refusals in `self.books`, answer."""

    def authorised(self, url: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """What a well-behaved client would send: the request with valid credentials. For contract tests."""
        return headers, body

    def login(self) -> tuple[str, bytes] | None:
        """Path and body of the call that opens a session, where the system has sessions. For contract tests."""
        return None

    def logged_in(self, body: bytes) -> None:  # noqa: B027 - for systems without sessions
        """Take what another process of this simulator answered to `login`; `authorised` uses it from then on."""

    def restore(self, effect: Effect) -> None:  # noqa: B027 - nothing to rebuild is a fair default
        """Rebuild state from one effect of an earlier run."""

    def shortened(self, say: Say) -> Say:
        """The answer with its last item left out."""
        return self._rows_changed(say, lambda rows: rows[:-1])

    def duplicated(self, say: Say) -> Say:
        """The answer with every item twice."""
        return self._rows_changed(say, lambda rows: rows + rows)

    def _rows_changed(self, say: Say, change: Callable[[list[Any]], list[Any]]) -> Say:
        answer = orjson.loads(say.body) if self.rows else {}
        if not answer.get(self.rows):
            return say
        return Say.of(answer | {self.rows: change(answer[self.rows])}, say.status)

    def misshapen(self, say: Say) -> Say:
        """An answer that can be read and says nothing the contract knows."""
        if "xml" in say.content_type:
            return Say(say.status, _ODD_XML, say.content_type)
        return Say(say.status, b'{"phienBan":"9.0","duLieu":{"trangThai":"OK"}}', say.content_type)

    def failed(self, ask: Ask) -> Say:
        """What it says when something of its own broke, before or after the work was done."""
        return Say.of({"error": "internal error"}, 500)

    def expired(self, ask: Ask) -> Say:
        """What the system says to a caller whose session or token has ended."""
        return Say(401, b"")

    def over_quota(self, ask: Ask) -> Say:
        """What it says beyond its quota."""
        return Say(429, b"", headers={"Retry-After": "1"})

    def extra(self) -> dict[str, Any]:
        """More lines for `GET /_sim/books`."""
        return {}

    @classmethod  # noqa: B027 - most have none
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the simulator's own command-line options."""

    @classmethod
    def options(cls, args: argparse.Namespace) -> dict[str, Any]:
        """Constructor arguments from those options."""
        return {}

    # ------------------------------------------------------------------ serving

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return the base address. Port 0 takes a free one."""
        loop = asyncio.get_running_loop()

        def roomy(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_BODY_MAX)

        server = web.Server(self._handle, request_factory=roomy, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        await site.start()
        bound = self._runner.addresses[0][1]
        self.url = f"http://{host}:{bound}"
        return self.url

    async def stop(self) -> None:
        """Stop listening and close the books."""
        self._stopping = True
        if self._runner is not None:
            await self._runner.cleanup()
        self.books.close()

    def set_fault(self, fault: Fault) -> None:
        """Switch a fault on (or all off with `none`). Raises ValueError for an unknown kind."""
        self.faults.set(fault)

    def _count(self) -> bool:
        """Count a request in its second; True when it is beyond the quota."""
        self.requests += 1
        second = int(time.time())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self.quota_per_s is not None and self._in_second > self.quota_per_s:
            self.over_quota_count += 1
            return True
        self.peak_per_s = max(self.peak_per_s, self._in_second)
        return False

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        path = request.path
        if path.startswith("/_sim/"):
            return self._control(request, body)
        ask = Ask(request.method, path, request.query, request.headers, body, str(request.url))
        if self._count():
            return _response(self.over_quota(ask))
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        fault = self.faults.meeting(path, body) if self.faults else None
        if fault is None:
            return _response(self._done(ask))
        return await self._faulty(request, ask, fault)

    def _done(self, ask: Ask) -> Say:
        say = self.answer(ask)
        self.books.flush()
        return say

    async def _faulty(self, request: web.BaseRequest, ask: Ask, fault: Fault) -> web.StreamResponse:
        kind = fault.kind
        if kind == "slow":
            await asyncio.sleep(fault.delay_s)
        say = Say() if kind in BEFORE else self._done(ask)
        match kind:
            case "down_503" | "committed_503":
                return _response(Say(503, b"", "text/plain", {"Retry-After": "2"}))
            case "gateway_502":
                return _response(Say(502, b"<html><body>Bad Gateway</body></html>", "text/html"))
            case "maintenance_html":
                page = "<!DOCTYPE html><html><body><h1>Hệ thống đang bảo trì</h1></body></html>"
                return _response(Say(200, page.encode(), "text/html; charset=utf-8"))
            case "quota_429":
                return _response(Say(429, b"", "text/plain", {"Retry-After": "2"}))
            case "expired_session":
                return _response(self.expired(ask))
            case "garbage":
                return _response(Say(200, b'{"\xff\xfe\x00<' + self.rng.randbytes(24), say.content_type))
            case "duplicate_answer":
                return _response(self.duplicated(say))
            case "missing_item":
                return _response(self.shortened(say))
            case "reset_after_read":
                return _cut(request)
            case "wrong_schema":
                return _response(self.misshapen(say))
            case "fault_500" | "commit_then_500":
                return _response(self.failed(ask))
            case "reset_mid_body":
                return await _half(request, say)
            case "commit_then_timeout" | "half_open":
                await self._hold(request, fault)
                return _cut(request)
        return _response(say)

    async def _hold(self, request: web.BaseRequest, fault: Fault) -> None:
        """Keep the connection silent until the caller leaves, its time is over or the process stops."""
        end = time.monotonic() + fault.delay_s * 60
        while (transport := request.transport) is not None and not transport.is_closing():
            if time.monotonic() >= end or self._stopping:
                return
            await asyncio.sleep(0.02)

    def _control(self, request: web.BaseRequest, body: bytes) -> web.Response:
        match request.method, request.path:
            case "POST", "/_sim/fault":
                try:
                    self.set_fault(msgspec.json.decode(body, type=Fault))
                except (msgspec.DecodeError, ValueError) as error:
                    return _response(Say.of({"error": str(error)}, 400))
                return _response(Say.of({"on": [f.kind for f in self.faults]}))
            case "DELETE", "/_sim/fault":
                self.faults.clear()
                return _response(Say.of({"on": []}))
            case "GET", "/_sim/fault":
                return _response(Say.of({"on": [msgspec.to_builtins(f) for f in self.faults], "kinds": FAULTS}))
            case "GET", "/_sim/books":
                return _response(Say.of(self.summary()))
            case "GET", "/_sim/books/effects":
                lines = b"".join([msgspec.json.encode(e) + b"\n" for e in self.books.effects])
                return _response(Say(200, lines, "application/x-ndjson"))
        return _response(Say.of({"error": "no such control"}, 404))

    def summary(self) -> dict[str, Any]:
        """The books' tallies with the traffic seen."""
        traffic = {
            "system": self.system,
            "requests": self.requests,
            "peak_per_s": self.peak_per_s,
            "over_quota": self.over_quota_count,
        }
        return traffic | self.books.summary() | self.extra()

    # ------------------------------------------------------------------ as a process

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Self:
        """Build from the command line."""
        common: dict[str, Any] = {"quota_per_s": args.quota_per_s, "latency_ms": args.latency_ms}
        return cls(books=args.books, seed=args.seed, **common, **cls.options(args))

    @classmethod
    def main(cls, argv: list[str] | None = None) -> None:
        """Run as a process until SIGTERM or SIGINT."""
        parser = argparse.ArgumentParser(description=f"Simulator of {cls.system}")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=0)
        parser.add_argument("--books", type=Path, default=None)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--quota-per-s", type=int, default=None)
        parser.add_argument("--latency-ms", type=float, default=0)
        parser.add_argument("--fault", action="append", default=[], metavar="KIND[:SECONDS]")
        cls.arguments(parser)
        args = parser.parse_args(argv)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(cls._serve(args))

    @classmethod
    async def _serve(cls, args: argparse.Namespace) -> None:
        twin = cls.from_args(args)
        for spec in args.fault:
            kind, _, seconds = spec.partition(":")
            twin.set_fault(Fault(kind=kind, for_s=float(seconds) if seconds else None))
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        url = await twin.start(args.host, args.port)
        sys.stdout.write(json.dumps({"system": cls.system, "url": url}) + "\n")
        sys.stdout.flush()
        await stop.wait()
        await twin.stop()


def _response(say: Say) -> web.Response:
    headers = {"Content-Type": say.content_type, **say.headers}
    return web.Response(status=say.status, body=say.body, headers=headers)


async def _half(request: web.BaseRequest, say: Say) -> web.Response:
    """The head and half of an answer, then a reset."""
    response = web.StreamResponse(status=say.status, headers={"Content-Type": say.content_type, **say.headers})
    response.content_length = len(say.body) or 2
    await response.prepare(request)
    await response.write(say.body[: len(say.body) // 2])
    return _cut(request)


def _cut(request: web.BaseRequest) -> web.Response:
    """Reset the connection (RST, not FIN); the response returned is never seen."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)
