"""Machine clients in memory: never older than promised, read by one for all, and tokens only as good as their client."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from hub.api import auth
from hub.keys import Keys

KEYS = Keys(bytes(range(32)))


class Table:
    """The clients table, and who read it."""

    def __init__(self) -> None:
        self.rows = [self.row("a"), self.row("b")]
        self.reads = 0
        self.error: Exception | None = None

    @staticmethod
    def row(name: str) -> dict[str, Any]:
        return {
            "id": name, "scope_kind": "department", "scope_code": None, "rights": ["push"],
            "key_hash": auth.secret_digest(KEYS, f"key-{name}"), "secret_hash": auth.secret_digest(KEYS, f"secret-{name}"),
        }  # fmt: skip

    async def read(self, _core: Any) -> list[Any]:
        self.reads += 1
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        return list(self.rows)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr(auth.parties, "clients", made.read)
    return made


def _clients() -> auth.Clients:
    return auth.Clients(SimpleNamespace(keys=KEYS, core=None, redis=None))  # type: ignore[arg-type]


def test_of_many_that_must_wait_one_reads(table: Table) -> None:
    async def go() -> None:
        clients = _clients()
        found = await asyncio.gather(*(clients.by_key("key-a") for _ in range(50)))
        assert {c.id for c in found if c} == {"a"} and table.reads == 1
        assert await clients.by_key("key-x") is None

    asyncio.run(go())


def test_a_blocked_client_is_out_in_time_and_nobody_waits_for_the_reading_ahead(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        clients, now = _clients(), [1000.0]
        monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
        assert await clients.by_key("key-a") and await clients.by_id("a")
        table.rows = [table.row("b")]
        now[0] += 2.0
        assert await clients.by_key("key-a"), "known, and the table is being read meanwhile"
        await asyncio.sleep(0.05)
        assert table.reads == 2 and await clients.by_key("key-a") is None
        table.rows = []
        now[0] += 3.1
        assert await clients.by_key("key-b") is None, "too old to be believed: waited for"

    asyncio.run(go())


def test_without_its_database_nobody_is_let_in_on_an_old_answer(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        clients, now = _clients(), [1000.0]
        monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
        assert await clients.by_key("key-a")
        table.error = ConnectionError("gone")
        now[0] += 2.0
        assert await clients.by_key("key-a")
        await asyncio.sleep(0.05)
        now[0] += 1.5
        with pytest.raises(ConnectionError):
            await clients.by_key("key-a")
        table.error = None
        assert await clients.by_key("key-a")

    asyncio.run(go())


def test_a_token_looked_at_before_ends_in_time_and_with_its_client(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        clients = _clients()
        claims = {"iss": "lien-thong", "aud": "api", "sub": "a", "iat": int(time.time()), "exp": int(time.time()) + 60}
        token = jwt.encode(claims, KEYS.hmac("oauth-token"), algorithm="HS256")
        forged = jwt.encode(claims, b"another key of thirty-two bytes!", algorithm="HS256")
        for _ in range(2):
            assert (await clients.by_token(token)) is not None
            with pytest.raises(jwt.InvalidTokenError):
                await clients.by_token(forged)
        table.rows = []
        clients.forget()
        assert await clients.by_token(token) is None
        table.rows = [table.row("a")]
        clients.forget()
        brief = jwt.encode(claims | {"exp": int(time.time()) + 1}, KEYS.hmac("oauth-token"), algorithm="HS256")
        assert await clients.by_token(brief) is not None
        await asyncio.sleep(1.1)
        with pytest.raises(jwt.ExpiredSignatureError):
            await clients.by_token(brief)

    asyncio.run(go())
