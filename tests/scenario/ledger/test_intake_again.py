"""An intake whose answer was lost tries again by itself; few arrivals and many leave the same behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hub.kernel.ledger import intake
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.rows import FEW


def _once(point: str) -> Callable[[str], None]:
    """A failpoint that breaks the connection the first time it is reached."""
    left = [1]

    def reach(name: str) -> None:
        if name == point and left[0]:
            left[0] = 0
            raise ConnectionError(point)

    return reach


@pytest.mark.parametrize("point", ["tx1.before", "tx1.inside", "tx1.after"])
def test_an_answer_lost_on_the_way_is_given_by_the_next_try_and_nothing_is_stored_twice(
    ledger: Any, make: Any, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(make.draft("HS0"), key="known")])
            monkeypatch.setattr(intake, "reach", _once(point))
            answers = await accept(
                led.core,
                [
                    make.arrival(make.draft("HS0"), key="known"), make.arrival(make.draft("HS1")), make.arrival(make.draft("HS2"), key="k2"),
                    make.arrival(make.draft("HS3", school="NOWHERE")), make.arrival(make.draft("HS0", "Khác"), key="known"),
                ],
            )  # fmt: skip
            told = [(a.duplicate, a.conflict, a.records, [r.code for r in a.rejects]) for a in answers]
            assert told == [
                (True, False, 1, []), (False, False, 1, []), (False, False, 1, []), (False, False, 0, ["unknown_school"]), (True, True, 0, []),
            ]  # fmt: skip
            assert answers[0].message == answers[4].message != answers[1].message
            found = await account(led.core)
            assert found.balanced and (found.messages, found.duplicate, found.records, found.rejected) == (6, 2, 3, 1)
            assert await led.value("SELECT count(*) FROM deliveries") == 3

    asyncio.run(go())


def test_arrivals_without_a_key_leave_no_key_behind(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(make.draft().school)
            first, second = await accept(led.core, [make.arrival(make.draft()), make.arrival(make.draft())])
            assert first.message != second.message and second.unchanged == 1
            assert await led.value("SELECT count(*) FROM intake_keys") == 0

    asyncio.run(go())


@pytest.mark.parametrize("count", [FEW, FEW + 1])
def test_few_in_one_statement_and_many_by_copy_leave_the_same(ledger: Any, make: Any, count: int) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.connector("ministry", "ministry")
            await led.connector("population", "population")
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(make.draft(f"HS{n}")) for n in range(5)])
            before = await led.value("SELECT max(id) FROM messages")
            batch = [make.arrival(make.draft(f"HS{n}", "Mới")) for n in range(count - 3)]
            batch[6].historical = True
            batch[7].attributes = {"corrects": "1"}
            batch += [
                make.arrival(make.draft("HS9", "Lần ba")),
                make.arrival(make.draft("X", school="NOWHERE")),
                make.arrival(make.draft("L")),
            ]
            batch[-1].drafts = None
            answers = await accept(led.core, batch)
            assert [a.records for a in answers] == [1] * (count - 2) + [0, 0]
            rows = await led.rows(
                "SELECT r.key, r.version, r.event, s.version AS now, s.record = r.id AS last, d.state, d.flow, d.cause"
                " FROM records r JOIN streams s USING (type, key) JOIN deliveries d ON d.record = r.id"
                " WHERE r.message > $1 ORDER BY r.id", before
            )  # fmt: skip
            assert len(rows) == count - 2
            for n, r in enumerate(rows[:-1]):
                was = n < 5
                assert (r["key"], r["version"], r["event"]) == (f"HS{n}", 1 + was, "UPDATE" if was else "NEW")
                assert (r["state"], r["cause"]) == ((1, "routed_behind") if was else (2, "routed"))
                assert (r["now"], r["last"]) == ((2, False) if n == 9 else (r["version"], True))
            last = rows[-1]
            assert (last["key"], last["version"], last["state"], last["last"]) == ("HS9", 2, 1, True)
            assert await led.value("SELECT attributes->>'corrects' FROM messages WHERE attributes IS NOT NULL") == "1"
            found = await account(led.core)
            assert found.balanced and (found.pending, found.rejected) == (1, 1)
            lines = await led.rows("SELECT ids, data->>'root' AS root FROM journal WHERE kind = 'intake' ORDER BY id")
            assert [len(x["ids"]) for x in lines] == [5, count] and all(len(x["root"]) == 64 for x in lines)

    asyncio.run(go())
