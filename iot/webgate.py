"""What simulated gates that speak HTTP have in common: a plan to play, one request at a time, resending until the hub
says yes, and books of their own.

One concern: such a gate's behaviour over time. It must never look into the hub: what its books say of an answer is
what came back over the wire. The HTTP session (aiohttp's) is made by the simulators; this module only uses it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from iot.gate import Entry, GateOptions, PlannedCheckin


class WebGate(ABC):
    """A gate for one event loop, with the interface of `iot.gate.Gate`. `options.password` is the secret of its
    address; None: it comes without one."""

    def __init__(self, options: GateOptions) -> None:
        self.options = options
        self._random = random.Random(f"{options.seed}/{options.device}")  # noqa: S311 - noise, not secrets
        self._entries: dict[str, Entry] = {}
        self._session: Any = None
        self._line = asyncio.Lock()
        self.statuses: list[int] = []
        """Every HTTP status it got, in order; 0 where no answer came."""

    def books(self) -> list[Entry]:
        """Every event played so far, in order."""
        return list(self._entries.values())

    async def run(self, plan: Sequence[PlannedCheckin], speed: float = 1.0) -> None:
        """Play the plan (`speed` 10: ten times as fast), resend every `resend_s` what got no yes, until all did or
        patience ends. May be called again: the gate goes on where it was."""
        async with self._open() as session:
            self._session = session
            clock = asyncio.get_running_loop().time
            await self._greet()
            started = clock()
            resent = started
            for planned in sorted(plan, key=lambda p: p.at_s):
                wait = planned.at_s / speed - (clock() - started)
                if wait > 0:
                    await asyncio.sleep(wait)
                entry = self._enter(planned)
                for _ in range(planned.copies):
                    await self._post([entry])
                if clock() - resent >= self.options.resend_s:
                    await self._resend()
                    resent = clock()
            until = clock() + self.options.patience_s
            while any(not e.acked for e in self._entries.values()) and clock() < until:
                await asyncio.sleep(self.options.resend_s)
                await self._resend()

    async def _resend(self) -> None:
        waiting = [e for e in self._entries.values() if not e.acked]
        for start in range(0, len(waiting), self._most()):
            if not await self._post(waiting[start : start + self._most()]):
                return  # as real ones do: what comes first goes first

    def _enter(self, planned: PlannedCheckin) -> Entry:
        number = len(self._entries) + 1
        shown = planned.happened.astimezone(UTC) + timedelta(seconds=self.options.clock_error_s)
        entry = Entry(event=self._name(number), plan=planned, device_time=self._clock(shown), marks=[])
        self._entries[entry.event] = entry
        return entry

    async def _post(self, entries: Sequence[Entry]) -> bool:
        """One request with these events; whether the hub said yes to it."""
        async with self._line:
            yes = await self._send(entries)
            for entry in entries:
                entry.published += 1
                if yes:
                    entry.acknowledge()
            return yes

    async def _ask(self, method: str, path: str, **more: Any) -> tuple[int, bytes]:
        """One request; status 0 when no answer came. Errors of the session's own library are the simulators' to
        catch: they are connection errors."""
        options = self.options
        secret = f"/gates/{options.password}" if options.password is not None else ""
        address = f"http://{options.host}:{options.port}{secret}/{path}"
        try:
            async with self._session.request(method, address, **more) as reply:
                status, body = reply.status, await reply.read()
        except (TimeoutError, OSError):
            status, body = 0, b""
        self.statuses.append(status)
        return status, body

    def picture(self, entry: Entry) -> bytes:
        """A new picture: noise with a mark through and through, different at every sending."""
        place = f"{self.options.device}/{entry.event}/{entry.published}"
        mark = "anh-" + hashlib.sha256(place.encode()).hexdigest()[:24]
        entry.marks.append(mark)
        parts = [b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"]
        size = 0
        while size < self.options.image_bytes:
            parts += (mark.encode(), self._random.randbytes(512))
            size += 540
        return b"".join(parts) + b"\xff\xd9"

    @abstractmethod
    def _open(self) -> Any:
        """An HTTP client session (aiohttp's), to be entered."""

    @abstractmethod
    async def _greet(self) -> None:
        """What the gate asks before it sends anything."""

    @abstractmethod
    def _most(self) -> int:
        """How many events it puts in one request when it sends again."""

    @abstractmethod
    def _name(self, number: int) -> str:
        """The name at the gate of its `number`-th event."""

    @abstractmethod
    def _clock(self, shown: datetime) -> str:
        """The gate's own time as it writes it."""

    @abstractmethod
    async def _send(self, entries: Sequence[Entry]) -> bool:
        """Send these events in one request; whether the hub said yes."""
