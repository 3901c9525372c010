"""A record kept under a new number when its day is dropped: the chain says of what it is a copy, and an exchanged original is found."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.evidence import verify
from hub.evidence.pack import pack
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import evidence, upkeep
from hub.kernel.ledger.core import content_hash, sorted_json
from hub.kernel.ledger.intake import accept
from tests.scenario.dispatch.packs import changed, forged, opened
from tests.scenario.ledger.test_retention import KLASS, _work_off

OLDER = """UPDATE journal SET data = data - 'root', leaves = NULL WHERE kind = 'carried'"""
"""As lines were written before they told what was carried."""


async def _carried(led: Any, make: Any, *, times: int = 1, older: bool = False) -> dict[str, list[int]]:
    """Learners whose deliveries, open until now, end under the number of a copy: key → the numbers it had."""
    connector = int(await led.connector("ministry", "ministry"))
    await led.school(make.draft().school)
    keys = ["HS1", "HS2", "HS3"]
    await accept(led.core, [make.arrival(*(make.draft(k) for k in keys))])
    numbers = {k: [await _stands(led, k)] for k in keys}
    for _ in range(times):
        # Before its day is over, for nothing hangs on how old it is; what is copied now is not copied again at once.
        assert await upkeep.carry_current(led.core, KLASS, datetime.now(UTC).date() + timedelta(days=2)) == 3
        for key, had in numbers.items():
            had.append(await _stands(led, key))
    if older:
        await led.owner.execute(OLDER)
    for had in numbers.values():
        await led.owner.execute("UPDATE deliveries SET record = $1 WHERE record = $2", had[-1], had[0])
    await _work_off(led, connector)
    return numbers


async def _stands(led: Any, key: str) -> int:
    return int(await led.value("SELECT record FROM streams WHERE key = $1", key))


async def _gathered(led: Any, record: int) -> evidence.Gathered:
    found = await evidence.gather(led.core, record, EVERYWHERE)
    assert found is not None
    return found


@pytest.mark.parametrize(("times", "older"), [(3, False), (1, True)])
def test_what_was_sent_under_a_copys_number_is_proven_to_be_the_records(
    ledger: Any, make: Any, times: int, older: bool
) -> None:
    async def go() -> None:
        async with ledger() as led:
            numbers = await _carried(led, make, times=times, older=older)
            own, *copies = numbers["HS1"]
            found = await _gathered(led, copies[-1])
            assert found.numbers == [own] and found.copies == copies
            assert {d["record"] for d in found.deliveries} == {copies[-1]}
            told = verify.check(pack(found))
            assert told.state == "proven", verify.told(told)
            assert any("1/1 bản sao" in line for line in told.lines)

    asyncio.run(go())


def test_an_exchanged_original_is_found(ledger: Any, make: Any) -> None:
    """Genuine in every byte: one learner's record with what was sent of another's copy."""

    async def go() -> None:
        async with ledger() as led:
            numbers = await _carried(led, make, times=2)
            whose, mine = await _gathered(led, numbers["HS2"][0]), await _gathered(led, numbers["HS1"][0])
            for name in ("deliveries", "attempts", "calls", "replies", "entries", "chain"):
                setattr(mine, name, getattr(whose, name))
            with pytest.raises(verify.Altered, match="a copy of another record"):
                verify.check(pack(mine))
            # With the lines that say so left out it is not proven.
            for one in (mine, whose):
                one.entries = [e for e in one.entries if e["kind"] != "carried"]
                wanted = {e["id"] for e in one.entries}
                one.chain.seals[:] = [
                    evidence.Seal(s.number, s.root, s.entries, [h for h in s.holds if h[1] in wanted])
                    for s in one.chain.seals
                ]
                told = verify.check(pack(one))
                assert told.state == "unproven" and any("is a copy" in what for what in told.unproven)

    asyncio.run(go())


def test_an_exchanged_original_is_not_proven_by_an_older_line(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            numbers = await _carried(led, make, older=True)
            first, second, _ = sorted(numbers.values())
            for mine, whose in ((first, second), (second, first)):
                one, other = await _gathered(led, mine[0]), await _gathered(led, whose[0])
                for name in ("deliveries", "attempts", "calls", "replies", "entries", "chain"):
                    setattr(one, name, getattr(other, name))
                if mine is second:  # of an older record than this: a copy of this it cannot be
                    with pytest.raises(verify.Altered, match="a copy of another record"):
                        verify.check(pack(one))
                else:
                    assert any("is a copy" in what for what in verify.check(pack(one)).unproven)

    asyncio.run(go())


def test_a_line_written_over_or_without_its_leaves_proves_no_more(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            numbers = await _carried(led, make)
            files = opened(pack(await _gathered(led, numbers["HS1"][0])))
            entries = verify.json.loads(files["chain/entries.json"])
            (at,) = [n for n, e in enumerate(entries) if verify.json.loads(e["entry"])[4] == "carried"]
            line = verify.json.loads(entries[at]["entry"])
            line[8]["from"][line[7].index(numbers["HS1"][1])] = numbers["HS2"][0]
            other = [*entries[:at], entries[at] | {"entry": verify.written(line).decode()}, *entries[at + 1 :]]
            with pytest.raises(verify.Altered, match="not in seal"):
                verify.check(forged(files, {"chain/entries.json": verify.written(other)}))
            # The numbers alone, which the line itself holds, still tie the two.
            bare = [*entries[:at], entries[at] | {"leaves": None}, *entries[at + 1 :]]
            assert verify.check(forged(files, {"chain/entries.json": verify.written(bare)})).state == "proven"

    asyncio.run(go())


@pytest.mark.parametrize("older", [False, True])
def test_when_the_day_is_gone_the_chain_says_what_the_copy_holds(ledger: Any, make: Any, older: bool) -> None:
    async def go() -> None:
        async with ledger() as led:
            numbers = await _carried(led, make, older=older)
            own, copy = numbers["HS1"]
            # What its day held goes with it.
            await led.owner.execute("DELETE FROM records WHERE disposition <> 4")
            await led.owner.execute("DELETE FROM messages")
            assert await evidence.gather(led.core, own, EVERYWHERE) is None
            data = pack(await _gathered(led, copy))
            told = verify.check(data)
            if older:
                assert told.state == "unproven" and "record/canonical.json" in told.unproven
                return
            assert told.state == "proven", verify.told(told)
            assert any("its message is gone" in line for line in told.lines)
            # Another content, with all that goes with it in the pack.
            files = opened(data)
            body = verify.json.loads(files["record/canonical.json"]) | {"full_name": "Người Khác"}
            content = content_hash("NEW", sorted_json(body))
            change = changed(files, "record/record.json", content=content.hex())
            with pytest.raises(verify.Altered, match="holds something else"):
                verify.check(forged(files, change | {"record/canonical.json": sorted_json(body)}))
            with pytest.raises(verify.Altered, match="holds something else"):
                verify.check(forged(files, changed(files, "record/record.json", message=1)))

    asyncio.run(go())


def test_ledger_and_verifier_hash_a_copy_alike() -> None:
    from hub.kernel import leaves

    assert leaves.carried_leaf(9, 5, 7, b"c" * 16) == verify.carried_leaf(9, 5, 7, b"c" * 16)
    assert leaves.carried_leaf(9, 5, 7, b"c" * 16) != leaves.carried_leaf(9, 7, 5, b"c" * 16)
