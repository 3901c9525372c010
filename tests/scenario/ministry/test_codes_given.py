"""Temporary codes and the lasting ones that replace them: one learner, whatever code a message comes with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.kernel.ledger.accounting import account


def run(work: Any) -> Any:
    return asyncio.run(work)


async def streams(s: Any, kind: str = "learner") -> list[tuple[str, int, str]]:
    rows = await s.led.rows("SELECT key, version, event FROM streams WHERE type = $1 ORDER BY key", kind)
    return [(r["key"], r["version"], r["event"]) for r in rows]


def test_later_pushes_with_either_code_meet_the_same_learner(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            place = f"TAM-7@{items.SCHOOL}"
            await s.push("learner", items.learner("TAM-7"))
            await s.push("study_result", items.result("TAM-7"))
            await s.push("code_given", items.code_given("TAM-7", "3190000001"))
            assert await streams(s) == [("3190000001", 0, "MOVED"), (place, 2, "UPDATE")]
            body = await s.led.value(
                "SELECT r.body FROM records r JOIN streams x ON x.record = r.id WHERE x.key = $1", place
            )
            assert body["learner_code"] == "3190000001"
            # The same content under either code is the same learner, unchanged.
            for code in ("TAM-7", "3190000001"):
                answer = await s.push("learner", items.learner(code))
                assert (answer.records, answer.unchanged) == (1, 1)
            await s.push("learner", items.learner("3190000001", full_name="Nguyễn Văn Khác"))
            assert (await streams(s))[1] == (place, 3, "UPDATE")
            # Results too: corrected under the lasting code, it is the next version of the one under the temporary.
            await s.push("study_result", items.result("3190000001", average=8.2))
            assert await streams(s, "study_result") == [(f"{place}/2025-2026/HK1", 2, "UPDATE")]
            assert (await account(s.core)).balanced

    run(go())


def test_two_schools_may_use_the_same_temporary_code(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.led.school("31HP0000009")
            await s.push("learner", items.learner("TAM-1"), items.learner("TAM-1", school_code="31HP0000009"))
            assert [k for k, _, _ in await streams(s)] == ["TAM-1@31HP0000009", f"TAM-1@{items.SCHOOL}"]

    run(go())


def test_a_code_that_is_another_learners_is_refused_and_joins_nobody(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.push("learner", items.learner("TAM-1"), items.learner("3190000005"))
            with pytest.raises(AssertionError, match="code_taken"):
                await s.push("code_given", items.code_given("TAM-1", "3190000005"))
            await s.push("code_given", items.code_given("TAM-2", "3190000006"))
            with pytest.raises(AssertionError, match="code_taken"):
                await s.push("code_given", items.code_given("TAM-3", "3190000006"))
            # Said again, it is what is known already.
            answer = await s.push("code_given", items.code_given("TAM-2", "3190000006"))
            assert answer.unchanged == 1
            # The learner may come after the code.
            await s.push("learner", items.learner("3190000006"))
            assert (f"TAM-2@{items.SCHOOL}", 1, "NEW") in await streams(s)
            assert (await account(s.core)).balanced

    run(go())


def test_withdrawing_needs_the_school_of_a_temporary_code(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.push("learner", items.learner("TAM-1"))
            with pytest.raises(AssertionError, match="school_needed"):
                await s.push("learner", {"event": "CANCEL", "data": {"learner_code": "TAM-1"}})
            await s.push("learner", {"event": "CANCEL", "data": {"learner_code": "TAM-1", "school_code": items.SCHOOL}})
            assert await streams(s) == [(f"TAM-1@{items.SCHOOL}", 2, "CANCEL")]

    run(go())


def test_a_code_given_while_it_is_pushed_makes_no_second_learner(stage: Any, items: Any) -> None:
    """Many pushes of the lasting code at the moment it is given: whoever comes second sees the first."""

    async def go() -> None:
        async with stage() as s:
            for n in range(8):
                await s.push("learner", items.learner(f"TAM-{n}"))

                async def given(n: int = n) -> str:
                    try:
                        await s.push("code_given", items.code_given(f"TAM-{n}", f"319000000{n}"))
                    except AssertionError as error:
                        assert "code_taken" in str(error)
                        return "taken"
                    return "given"

                async def pushed(n: int = n) -> None:
                    await s.push("learner", items.learner(f"319000000{n}", full_name="Nguyễn Văn Sau"))

                said, *_ = await asyncio.gather(given(), pushed(), pushed())
                alive = [
                    k
                    for k, _, e in await streams(s)
                    if e != "MOVED" and (k == f"319000000{n}" or k.startswith(f"TAM-{n}@"))
                ]
                # Either one learner, or two that nobody joined and the giver was told.
                assert len(alive) == (1 if said == "given" else 2), (said, alive)
            assert (await account(s.core)).balanced

    run(go())
