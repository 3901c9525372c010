"""Claims, leases, intents, late replies, promotion, seals and partitions on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from hub.kernel.ledger import dispatch, operations, replays, upkeep
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.shapes import Claimed, Conclusion, Exchange, TaskSpec
from hub.kernel.lifecycle import ForbiddenTransition, State
from hub.kernel.ports import Call, Reply, Text
from hub.kernel.store.db import patient, sql

OVER = "UPDATE deliveries SET lease_until = clock_timestamp() - interval '1 second' WHERE state = 3"
"""Every lease has ended."""


def run(work: Any) -> Any:
    return asyncio.run(work)


async def prepared(led: Any, make: Any, *keys: str, versions: int = 1) -> int:
    number = await led.connector("ministry", "ministry")
    await led.school(make.draft().school)
    for v in range(versions):
        await accept(led.core, [make.arrival(*(make.draft(k, f"Tên {v}") for k in keys))])
    return int(number)


async def exchange(led: Any, connector: int, d: Claimed, *, idempotent: bool = False) -> Exchange:
    async with led.core.pool.acquire() as connection:
        (number,) = await led.core.ids.take(connection, 1)
    call = Call(
        operation="create", deliveries=(d.id,), body=b"<x/>", content_type="text/xml", idempotent=idempotent, key=d.key
    )
    return Exchange(id=number, klass=d.klass, connector=connector, call=call, mapping="m@1")


def delivered(d: Claimed, e: Exchange | None = None) -> Conclusion:
    return Conclusion(
        delivery=d, target=State.DELIVERED, cause="receipt", outcome="Receipt", reference="R1", call=e.id if e else None
    )


async def states(led: Any) -> dict[str, int]:
    return {k: v for k, v in (await account(led.core)).by_state.items() if v}


def test_two_workers_never_hold_the_same_delivery(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger(high=12) as led:
            c = await prepared(led, make, *(f"HS{n}" for n in range(300)))
            batches = await asyncio.gather(*(dispatch.claim(led.core, c, 40, 30.0) for _ in range(10)))
            ids = [d.id for b in batches for d in b.deliveries]
            assert len(ids) == len(set(ids)) == 300
            assert len({b.claim for b in batches}) == 10

    run(go())


def test_only_heads_are_claimed_and_an_end_promotes_the_next(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1", "B1", versions=3)
            for version in (1, 2, 3):
                batch = await dispatch.claim(led.core, c, 100, 30.0)
                assert sorted((d.key, d.outgoing.version) for d in batch.deliveries if d.outgoing) == [
                    ("A1", version),
                    ("B1", version),
                ]
                assert not (await dispatch.claim(led.core, c, 100, 30.0)).deliveries
                await dispatch.conclude(led.core, c, [delivered(d) for d in batch.deliveries], [])
            assert await states(led) == {"delivered": 6}
            assert (await account(led.core)).balanced

    run(go())


def test_a_lost_lease_without_an_intent_goes_back_and_with_one_becomes_uncertain(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1", "B1")
            batch = await dispatch.claim(led.core, c, 10, 30.0)
            by_key = {d.key: d for d in batch.deliveries}
            e = await exchange(led, c, by_key["A1"])
            assert await dispatch.intend(led.core, [e], batch.claim) == {by_key["A1"].id}
            assert await led.value("SELECT count(*) FROM calls") == 1, "the request is on record before its first byte"
            await led.owner.execute(OVER)
            assert await upkeep.end_leases(led.core) == 2
            assert await states(led) == {"ready": 1, "uncertain": 1}
            assert await led.value("SELECT intent FROM deliveries WHERE state = 6") == e.id
            assert (
                await led.value(
                    "SELECT count(*) FROM journal WHERE kind = 'uncertain' AND subject = $1", by_key["A1"].id
                )
                == 1
            )

    run(go())


def test_an_intent_after_the_lease_ended_is_refused(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1")
            batch = await dispatch.claim(led.core, c, 10, 0.02)
            await asyncio.sleep(0.05)
            e = await exchange(led, c, batch.deliveries[0])
            assert await dispatch.intend(led.core, [e], batch.claim) == set()
            assert await led.value("SELECT count(*) FROM calls") == 0

    run(go())


def test_a_worker_that_lost_its_claim_changes_nothing_but_its_reply_is_kept(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1")
            late = await dispatch.claim(led.core, c, 10, 0.02)
            await asyncio.sleep(0.05)
            await upkeep.end_leases(led.core)
            now = await dispatch.claim(led.core, c, 10, 30.0)
            e = await exchange(led, c, late.deliveries[0], idempotent=True)
            e.reply = Reply(status=200, body=b"ok")
            await dispatch.conclude(led.core, c, [delivered(late.deliveries[0], e)], [e])
            assert await states(led) == {"sending": 1}
            assert [r["late"] for r in await led.rows("SELECT late FROM attempts")] == [True]
            assert await led.value("SELECT count(*) FROM replies") == 1
            await dispatch.conclude(led.core, c, [delivered(now.deliveries[0])], [])
            assert await states(led) == {"delivered": 1}

    run(go())


def test_a_late_receipt_settles_what_had_become_uncertain(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1", versions=2)
            batch = await dispatch.claim(led.core, c, 10, 30.0)
            (d,) = batch.deliveries
            e = await exchange(led, c, d)
            await dispatch.intend(led.core, [e], batch.claim)
            await led.owner.execute(OVER)
            await upkeep.end_leases(led.core)
            e.reply = Reply(status=200, body=b"ok")
            await dispatch.conclude(led.core, c, [delivered(d, e)], [e])
            assert await states(led) == {"delivered": 1, "ready": 1}, "and the next of its key may go"
            assert await led.value("SELECT cause FROM deliveries_closed") == "present"

    run(go())


def test_concluding_twice_does_nothing_more(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1", versions=3)
            batch = await dispatch.claim(led.core, c, 10, 30.0)
            await dispatch.conclude(led.core, c, [delivered(d) for d in batch.deliveries], [])
            await dispatch.conclude(led.core, c, [delivered(d) for d in batch.deliveries], [])
            assert await states(led) == {"delivered": 1, "ready": 1, "held": 1}

    run(go())


def test_a_move_the_lifecycle_does_not_have_is_refused(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1")
            batch = await dispatch.claim(led.core, c, 10, 30.0)
            with pytest.raises(ForbiddenTransition):
                await dispatch.conclude(
                    led.core,
                    c,
                    [Conclusion(delivery=batch.deliveries[0], target=State.HELD, cause="x", outcome="?")],
                    [],
                )

    run(go())


def test_a_paused_step_aside_and_its_return(ledger: Any, make: Any) -> None:
    """Check-ins step aside when parked; a parked learner holds up its own followers only."""

    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1", "B1", versions=2)
            batch = await dispatch.claim(led.core, c, 10, 30.0)
            a1 = next(d for d in batch.deliveries if d.key == "A1")
            task = TaskSpec(connector=c, cause="manual", subject="A1", text=Text("vi", "en"))
            await dispatch.conclude(
                led.core,
                c,
                [Conclusion(delivery=a1, target=State.PARKED, cause="needs_person", outcome="NeedsPerson", task=task)],
                [],
            )
            assert await states(led) == {"parked": 1, "sending": 1, "held": 2}
            number = await led.value("SELECT id FROM tasks")
            rung: list[str] = []
            led.core.on_commit = rung.append
            assert await operations.resolve_task(led.core, "lan", number, "delivered", "thấy ở Bộ") == 1
            assert rung == ["ready"], "no connector is another for it"
            assert await operations.resolve_task(led.core, "lan", number, "delivered", "lần nữa") is None
            assert await states(led) == {"delivered": 1, "sending": 1, "held": 1, "ready": 1}
            assert (await account(led.core)).balanced

    run(go())


def test_cancel_promotes_the_next_and_refuses_what_is_on_its_way(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1", versions=3)
            first = await led.value("SELECT id FROM deliveries WHERE state = 2")
            assert await operations.cancel(led.core, "lan", first, "sai")
            assert not await operations.cancel(led.core, "lan", first, "sai")
            assert await states(led) == {"cancelled": 1, "ready": 1, "held": 1}
            batch = await dispatch.claim(led.core, c, 1, 30.0)
            assert not await operations.cancel(led.core, "lan", batch.deliveries[0].id, "muộn")

    run(go())


def test_the_journal_is_sealed_in_a_chain_and_a_changed_entry_is_found(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await prepared(led, make, "A1", "B1")
            assert await upkeep.seal(led.core) > 0
            await operations.pause(led.core, "lan", "ministry", Text("nghỉ", "rest"))
            assert await upkeep.seal(led.core) == 1
            assert await upkeep.seal(led.core) == 0
            assert await upkeep.verify_seals(led.core) == []
            await led.owner.execute("UPDATE journal SET actor = 'nobody' WHERE kind = 'pause'")
            assert await upkeep.verify_seals(led.core, days=1) == [2]
            await led.owner.execute("UPDATE seals SET at = at - interval '3 days'")
            assert await upkeep.verify_seals(led.core, days=1) == []
            await led.owner.execute("DELETE FROM journal WHERE kind = 'pause'")
            assert await upkeep.verify_seals(led.core) == [2]

    run(go())


def test_sealing_waits_for_transactions_still_open(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await prepared(led, make, "A1")
            async with led.core.pool.acquire() as slow, slow.transaction():
                await patient(slow)
                await slow.execute("INSERT INTO journal (id, class, actor, kind) VALUES (1, 3, 'slow', 'late')")
                await operations.pause(led.core, "lan", "ministry", Text("nghỉ", "rest"))
                await upkeep.seal(led.core)
            await upkeep.seal(led.core)
            assert await led.value("SELECT sum(entries) FROM seals") == await led.value("SELECT count(*) FROM journal")
            assert await upkeep.verify_seals(led.core) == []

    run(go())


def test_partitions_are_dropped_by_whole_days_and_never_under_an_open_delivery(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, "A1")
            with pytest.raises(Exception, match="past"):
                await upkeep.drop_partitions(led.core, 2, datetime.now(UTC).date())
            _, strays = await upkeep.make_partitions(led.core, 14)
            assert strays == 0
            # Yesterday's are there and empty: they may go; today's hold an open delivery, and nothing newer is asked for.
            dropped = await upkeep.drop_partitions(led.core, 2, datetime.now(UTC).date() - timedelta(days=1))
            assert all(name.split("_")[-1] < f"{datetime.now(UTC):%Y%m%d}" for name in dropped)
            assert (await dispatch.claim(led.core, c, 1, 1.0)).deliveries

    run(go())


def test_a_replay_by_filter_says_asked_and_queued_and_goes_on_when_ordered_again(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await prepared(led, make, *(f"HS{n}" for n in range(40)))
            batch = await dispatch.claim(led.core, c, 100, 30.0)
            await dispatch.conclude(
                led.core,
                c,
                [
                    Conclusion(delivery=d, target=State.DEAD, cause="never", outcome="NeverTry", detail="sai / wrong")
                    for d in batch.deliveries
                ],
                [],
            )
            wanted = replays.ReplayFilter(connector="ministry")
            assert (await replays.plan_replay(led.core, wanted)).count == 40
            done = await replays.replay(led.core, "lan", wanted, "remap", "đã sửa")
            assert (done.asked, done.queued) == (40, 40)
            again = await replays.replay(led.core, "lan", wanted, "remap", "đã sửa")
            assert (again.asked, again.queued) == (0, 0), "what is queued already is not queued again"
            assert await states(led) == {"dead": 40, "ready": 40}
            batch = await dispatch.claim(led.core, c, 100, 30.0)
            await dispatch.conclude(led.core, c, [delivered(d) for d in batch.deliveries], [])
            assert (await replays.plan_replay(led.core, wanted)).count == 0, "what was replayed is done with"
            assert (await account(led.core)).balanced
            with pytest.raises(ValueError, match="narrow"):
                await replays.plan_replay(led.core, replays.ReplayFilter())

    run(go())


def test_the_time_of_day_is_the_databases_whatever_a_host_believes(ledger: Any) -> None:
    """Gates' clocks are judged by it: a process on a host a day off must not find every gate wrong."""

    async def go() -> None:
        async with ledger() as led:
            assert led.core.moment(1.5e9) == datetime.fromtimestamp(1.5e9, UTC), "hosts that agree are left alone"
            for days in (-1, 1):
                with time_machine.travel(datetime.now(UTC) + timedelta(days=days), tick=True):
                    await led.core.refresh()
                    there = await led.value("SELECT clock_timestamp()")
                    assert abs(led.core.moment() - there) < timedelta(seconds=5)
                    assert abs(datetime.now(UTC) - there) > timedelta(hours=23)
                    # What it takes in has its turn among what others take in, neither first nor last for a day.
                    assert abs(led.core.ranks.next(1, "31HP0123001", 0.0) / 1e6 - there.timestamp()) < 5

    run(go())


def test_who_seals_beside_another_seals_what_is_left_and_breaks_nothing(
    ledger: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment is forced by waiting for the lock: what is seen then is older than what the other sealed meanwhile."""
    tries = sql.seal_lock

    async def go() -> None:
        async with ledger() as led:
            await prepared(led, make, "A1")
            async with led.core.pool.acquire() as other:
                turn = other.transaction()
                await turn.start()
                await patient(other)
                assert await other.fetchval(tries)
                assert await upkeep.seal(led.core) == 0, "not beside it, and without a wait not after it"
                waiting = asyncio.create_task(upkeep.seal(led.core, 10.0))
                await asyncio.sleep(0.2)
                assert not waiting.done()
                await turn.rollback()
                assert await asyncio.wait_for(waiting, 5) > 0

                await operations.pause(led.core, "lan", "ministry", Text("nghỉ", "rest"))
                turn = other.transaction()
                await turn.start()
                await patient(other)
                assert await other.fetchval(tries)
                monkeypatch.setitem(
                    sql._texts, "seal_lock", "SELECT true FROM (SELECT pg_advisory_xact_lock(7002)) AS held"
                )
                late = [asyncio.create_task(upkeep.seal(led.core, wait_s)) for wait_s in (0.0, 10.0)]
                while await led.value(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                ) < len(late):
                    await asyncio.sleep(0.01)
                monkeypatch.undo()
                await other.execute(
                    "INSERT INTO seals (number, from_tx, to_tx, entries, root, chain, class, day)"
                    " SELECT number + 1, to_tx, to_tx, 0, root, chain, class, day FROM seals ORDER BY number DESC LIMIT 1"
                )
                await turn.commit()
                assert await asyncio.wait_for(asyncio.gather(*late), 5) == [0, 1]

    run(go())
