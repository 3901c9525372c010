"""A device that can be asked for what it holds: HTTP, Digest where it has a password, and faults.

One concern: what such devices have in common on the wire. It must never look into the hub: its books say what it was asked
and what it gave. The families' simulators make the answers."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from aiohttp import web
from msgspec import Struct


class Stored(Struct, frozen=True, kw_only=True):
    """One passage in a device's own memory. `at`: by its own clock, aware."""

    number: int
    person: str
    at: datetime
    passed: bool = True


class ListGate(ABC):
    """One device on a port of its own: `async with gate as address`. Faults: `slow_s` per answer, `broken` answers (status
    503) before the good ones, `circling` (the first page again and again). `ahead_s`: how far its own clock is ahead, by which
    its answers are dated."""

    def __init__(self, stored: list[Stored], *, password: str | None = None, slow_s: float = 0.0) -> None:
        self.stored = stored
        self.asked: list[str] = []
        self.refused = 0
        self.broken = 0
        self.circling = False
        self.slow_s = slow_s
        self.ahead_s = 0.0
        self._password = password
        self._nonce = secrets.token_hex(8)
        self._runner: web.AppRunner | None = None

    def add_to(self, app: web.Application, below: str = "") -> None:
        """Answer under a path of a server that stands for several devices."""
        app.router.add_route("*", below + "/{path:.*}", self._serve)

    async def __aenter__(self) -> str:
        app = web.Application()
        self.add_to(app)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{port}"

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self._password is not None and not self._knows(request):
            self.refused += 1
            ask = f'Digest realm="device", qop="auth", nonce="{self._nonce}", algorithm=MD5'
            return web.Response(status=401, headers={"WWW-Authenticate": ask})
        self.asked.append(f"{request.method} {request.path_qs}")
        await asyncio.sleep(self.slow_s)
        if self.broken:
            self.broken -= 1
            return web.Response(status=503)
        status, kind, told = self.answer(request.method, "/" + request.match_info["path"], dict(request.query), body)
        dated = format_datetime(datetime.now(UTC) + timedelta(seconds=self.ahead_s), usegmt=True)
        return web.Response(status=status, body=told, content_type=kind, headers={"Date": dated})

    def _knows(self, request: web.Request) -> bool:
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', request.headers.get("Authorization", "")))
        first = _md5(f"{given.get('username', '')}:device:{self._password}")
        second = _md5(f"{request.method}:{given.get('uri', '')}")
        words = (first, self._nonce, given.get("nc", ""), given.get("cnonce", ""), "auth", second)
        return given.get("uri") == request.path_qs and given.get("response") == _md5(":".join(words))

    @abstractmethod
    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of one answer."""


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
