"""A lasting code is given by who may give it, once, and only with the message that carries it."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from hub.kernel.access import Scope
from hub.kernel.ledger import intake
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Draft

OURS, THEIRS = "31030001", "31030002"
CODE = "3190000001"


def run(work: Any) -> Any:
    return asyncio.run(work)


def given(make: Any, school: str = OURS, temporary: str = "TAM-7", code: str = CODE) -> Draft:
    body = {"school_code": school, "temporary_code": temporary, "learner_code": code}
    at = make.draft().updated_at
    return Draft(type="code_given", key=f"{school}/{temporary}", body=body, updated_at=at, school=school, pointer="/0")


def school_of(make: Any, code: str) -> Draft:
    body = {
        "school_code": code,
        "name": "Trường mới",
        "ward": {"system": "vn-ward", "code": "11500", "canonical": "11500"},
    }
    return Draft(type="school", key=code, body=body, updated_at=make.draft().updated_at, school=code, pointer="/0")


async def codes(led: Any) -> list[tuple[str, str]]:
    rows = await led.rows("SELECT anchor, code FROM codes_given ORDER BY anchor")
    moved = await led.rows("SELECT key FROM streams WHERE event = 'MOVED' ORDER BY key")
    assert sorted(r["code"] for r in rows) == [r["key"] for r in moved]
    return [(r["anchor"], r["code"]) for r in rows]


def test_a_school_gives_no_code_to_a_learner_of_another(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(OURS)
            await led.school(THEIRS)
            await accept(led.core, [make.arrival(make.draft("TAM-7", school=THEIRS))])
            arrival = make.arrival(given(make, THEIRS), scope=Scope("school", OURS))
            (a,) = await accept(led.core, [arrival])
            assert ([r.code for r in a.rejects], a.records) == (["outside_scope"], 0)
            assert await codes(led) == []
            # Whoever may give it can still do so.
            (b,) = await accept(led.core, [make.arrival(given(make, THEIRS), scope=Scope("school", THEIRS))])
            assert (b.rejects, b.records) == ([], 2)
            assert await codes(led) == [(f"TAM-7@{THEIRS}", CODE)]
            assert (await account(led.core)).balanced

    run(go())


def test_a_code_of_an_unknown_school_is_refused_and_one_of_a_school_that_comes_with_it_is_not(
    ledger: Any, make: Any
) -> None:
    async def go() -> None:
        async with ledger() as led:
            (a,) = await accept(led.core, [make.arrival(given(make))])
            assert [r.code for r in a.rejects] == ["unknown_school"]
            assert await codes(led) == []
            (b,) = await accept(led.core, [make.arrival(school_of(make, OURS), given(make))])
            assert (b.rejects, b.records) == ([], 2)
            assert await codes(led) == [(f"TAM-7@{OURS}", CODE)]

    run(go())


def test_a_refused_request_gives_no_code(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(OURS)
            await accept(led.core, [make.arrival(make.draft("TAM-7"), make.draft("TAM-8"))])
            await accept(led.core, [make.arrival(given(make), key="k")])
            (a,) = await accept(led.core, [make.arrival(given(make, temporary="TAM-8", code="3190000002"), key="k")])
            assert a.conflict
            assert await codes(led) == [(f"TAM-7@{OURS}", CODE)]
            # Beside a request that stands, in one batch.
            beside = [
                make.arrival(given(make, temporary="TAM-8", code="3190000002"), key="k"),
                make.arrival(given(make, temporary="TAM-9", code="3190000003"), key="l"),
            ]
            answers = await accept(led.core, beside)
            assert [(a.conflict, a.records) for a in answers] == [(True, 0), (False, 1)]
            assert await codes(led) == [(f"TAM-7@{OURS}", CODE), (f"TAM-9@{OURS}", "3190000003")]
            assert (await account(led.core)).balanced

    run(go())


def test_a_transaction_tried_again_says_the_same(ledger: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(OURS)
            await accept(led.core, [make.arrival(make.draft("TAM-7"))])
            tries = 0

            def stumble(place: str) -> None:
                nonlocal tries
                if place == "tx1.inside":
                    tries += 1
                    if tries == 1:
                        raise asyncpg.SerializationError("again")

            monkeypatch.setattr(intake, "reach", stumble)
            homeless = replace(make.draft("TAM-9"), school=None)
            drafts = [given(make), homeless]
            (a,) = await accept(led.core, [make.arrival(*drafts)])
            assert tries == 2
            assert [r.code for r in a.rejects] == ["school_needed"]
            assert a.records == 2
            rows = await led.rows("SELECT type, event, version FROM records ORDER BY id")
            assert [tuple(r) for r in rows] == [
                ("learner", "NEW", 1),
                ("code_given", "NEW", 1),
                ("learner", "UPDATE", 2),
            ]
            assert (await account(led.core)).balanced

    run(go())
