"""Kept answers: never after their time, never for another purpose or question, never readable, never relied on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import time_machine

from hub.kernel.ledger.shapes import Exchange
from hub.kernel.ports import Call, Reading, Receipt, Reply, TryLater
from hub.keys import Keys
from hub.worker.kept import Kept

START = 1_800_000_000.0


class _Redis:
    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    async def mget(self, names: list[str]) -> list[bytes | None]:
        return [self.held.get(name) for name in names]

    async def set(self, name: str, value: bytes, px: int) -> None:
        self.held[name] = value  # and forgets nothing by itself: time is not left to it alone


def exchange(number: int = 1, cache_s: float = 60.0, purpose: str = "p", question: str = "031214000001") -> Exchange:
    meta = {"purpose": purpose, "cache_s": cache_s, "cache_of": ["TraCuu", question]}
    call = Call(operation="TraCuu", deliveries=(number,), body=b"q", content_type="t", idempotent=True, meta=meta)
    return Exchange(id=number, klass=1, connector=1, call=call, mapping="-")


def answered(one: Exchange, outcome: Any = None) -> tuple[Exchange, Reading]:
    one.reply = Reply(status=200, body=b"Nguyen Van Thu", headers={"date": "d", "set-cookie": "secret"})
    return one, Reading(outcomes={one.id: outcome or Receipt()})


def found(kept: Kept, one: Exchange) -> Exchange:
    asyncio.run(kept.find([one]))
    return one


@pytest.fixture
def redis() -> _Redis:
    return _Redis()


def keep(redis: Any, keys: Keys, **given: Any) -> Kept:
    kept = Kept(redis, keys, "population")
    with time_machine.travel(START, tick=False):
        asyncio.run(kept.put(*answered(exchange(1, **given))))
    return kept


def test_an_answer_serves_until_its_time_and_not_a_moment_longer(redis: Any, keys: Keys) -> None:
    kept = keep(redis, keys)
    for after, cache_s, serves in (
        (0, 60, True),
        (60, 60, True),
        (61, 60, False),
        (61, 600, False),
        (30, 20, False),
        (-5, 60, False),
    ):
        with time_machine.travel(START + after, tick=False):
            one = found(kept, exchange(2, cache_s=cache_s))
        assert (one.kept == 1) == serves and (one.reply is not None) == serves, (after, cache_s)
        if serves:
            assert one.reply is not None and one.reply.headers == {"date": "d"} and not one.answered


def test_it_serves_its_own_question_and_purpose_alone(redis: Any, keys: Keys) -> None:
    kept = keep(redis, keys)
    with time_machine.travel(START, tick=False):
        assert found(kept, exchange(2)).kept == 1
        for other in ({"purpose": "another"}, {"question": "031214000002"}, {"cache_s": 0.0}):
            assert found(kept, exchange(2, **other)).kept is None
        assert found(Kept(redis, keys, "elsewhere"), exchange(2)).kept is None
        assert found(Kept(redis, Keys(bytes(32)), "population"), exchange(2)).kept is None
        assert found(Kept(None, keys, "population"), exchange(2)).kept is None


def test_what_lies_there_tells_nothing_and_cannot_be_moved_or_altered(redis: Any, keys: Keys) -> None:
    kept = keep(redis, keys)
    ((name, sealed),) = redis.held.items()
    assert b"Nguyen" not in sealed and "031214" not in name
    with time_machine.travel(START, tick=False):
        for broken in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", b"\x01", sealed[:20]):
            redis.held[name] = broken
            assert found(kept, exchange(2)).kept is None
        asyncio.run(kept.put(*answered(exchange(3, question="other"))))
        other = next(held for held in redis.held if held != name)
        redis.held[name] = redis.held[other]
        assert found(kept, exchange(2)).kept is None


def test_only_what_settled_its_delivery_is_kept(redis: Any, keys: Keys) -> None:
    kept = Kept(redis, keys, "population")
    asyncio.run(kept.put(*answered(exchange(1), TryLater(reason="busy"))))
    asyncio.run(kept.put(exchange(1), Reading(outcomes={1: Receipt()})))
    assert redis.held == {}
