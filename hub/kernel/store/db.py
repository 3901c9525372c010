"""Connections to PostgreSQL and the named statements run over them.

One concern: give the ledger a pool with the hub's codecs and search path, and its SQL by name. It must never decide
anything: no retries, no rules, no SQL text in Python.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import msgspec

_json_encode = msgspec.json.Encoder().encode
_json_decode = msgspec.json.Decoder().decode

# asyncpg has no types of its own.
Connection: TypeAlias = Any
Pool: TypeAlias = Any


UNWRITABLE = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
"""What the database says to a text with NUL, plain or in JSON: whoever sent it is to hear so, nothing of ours broke."""


class Statements:
    """The statements of `sql/*.sql` as attributes. Each starts with a line `-- name: <name>`."""

    def __init__(self, folder: Path) -> None:
        self._texts: dict[str, str] = {}
        for path in sorted(folder.glob("*.sql")):
            for part in re.split(r"^-- name: ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
                name, _, text = part.partition("\n")
                if name.strip() in self._texts:
                    raise ValueError(f"two statements named {name.strip()} in {path.name}")
                self._texts[name.strip()] = text.strip().rstrip(";")

    def __getattr__(self, name: str) -> str:
        try:
            return self._texts[name]
        except KeyError:
            raise AttributeError(name) from None


sql = Statements(Path(__file__).parent / "sql")


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + (value if isinstance(value, bytes) else _json_encode(value))


def _decode_jsonb(data: bytes) -> Any:
    return _json_decode(memoryview(data)[1:])


async def _prepare(connection: Connection) -> None:
    """Give every connection the jsonb codec: `bytes` are taken as ready JSON, anything else is encoded."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
    )


async def _as_it_was(connection: Connection) -> None:
    """Nothing to put back: the hub sets nothing in a session that outlives its transaction (locks and settings are the
    transaction's own), and asyncpg has ended an open one by now. The default costs a round trip at every release."""


_QUERIES = 5_000_000
"""A connection's life. By default the pool would end one after 50,000: at a peak each after a minute, in the middle of it."""


SILENT_MS = 3_000
"""How long a transaction may have nothing to say: a process that stands still in the middle of one holds keys that others wait for."""


async def patient(connection: Connection) -> None:
    """Let this transaction be silent for a minute. For those alone that compute much between statements, and hold nothing that
    others wait for."""
    await connection.execute(sql.patient)


async def open_pool(
    dsn: str,
    *,
    low: int = 1,
    high: int = 8,
    application: str = "hub",
    ready: Callable[[Connection], Awaitable[None]] | None = None,
    keep: bool = False,
) -> Pool:
    """Open a pool for the hub's work. `synchronous_commit` is left to the server, where it is on (a test says so).

    `ready` is run on every new connection before anybody gets it. With `keep` connections stay open while nobody needs them:
    a new one costs its first user a tenth of a second and more.
    """

    async def prepare(connection: Connection) -> None:
        await _prepare(connection)
        if ready is not None:
            await ready(connection)

    return await asyncpg.create_pool(
        dsn,
        min_size=low,
        max_size=high,
        init=prepare,
        reset=_as_it_was,
        command_timeout=60,
        max_inactive_connection_lifetime=0 if keep else 300,
        max_queries=_QUERIES,
        server_settings={
            "search_path": "hub",
            "application_name": application,
            "timezone": "UTC",
            "jit": "off",
            "idle_in_transaction_session_timeout": str(SILENT_MS),
        },
    )


class Ids:
    """Hands out ids from blocks the database grants. A block lives `_LIFE_S` seconds, so that an id's day stays true.

    Ids of one process are handed out in order; nothing may be concluded from the order of two processes' ids.
    """

    _BLOCK = 1000
    _MASK = (1 << 37) - 1
    _LIFE_S = 60.0

    def __init__(self) -> None:
        self._next = 0
        self._end = 0
        self._until = 0.0

    async def take(self, connection: Connection, count: int) -> list[int]:
        """Return `count` new ids. Awaits nothing between reading and moving the block: tasks may share one `Ids`."""
        taken: list[int] = []
        if time.monotonic() > self._until:
            self._end = self._next
        while len(taken) < count:
            if self._next >= self._end:
                blocks = max(1, -(-(count - len(taken)) // self._BLOCK))
                row = await connection.fetchrow(sql.take_ids, blocks)
                # Blocks asked for together are used whole before any is kept: only the last may be carried over.
                *whole, last = row["starts"]
                base = row["day"] << 37
                for start in whole:
                    taken.extend(range(base | (start & self._MASK), (base | (start & self._MASK)) + self._BLOCK))
                self._next = base | (last & self._MASK)
                self._end = self._next + self._BLOCK
                self._until = time.monotonic() + self._LIFE_S
            n = min(count - len(taken), self._end - self._next)
            if n > 0:
                taken.extend(range(self._next, self._next + n))
                self._next += n
        return taken[:count]
