"""Recovery in the ledger, on a real PostgreSQL: epochs, leases, steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hub.batches import per_call
from hub.kernel.ledger import recovery
from hub.kernel.ledger.recovery import (
    RELEASE_MAX,
    ConnectorPaused,
    NotLeader,
    OutOfStep,
    StaleEpoch,
    UnknownConnector,
    step_most,
)

DAG, OTHER, TICKER = "airflow:run-1", "airflow:run-2", "ticker:worker@test"
Use = Callable[[Any], Awaitable[None]]


def go(bench: Any, use: Use) -> None:
    async def run() -> None:
        async with bench() as b:
            await use(b)

    asyncio.run(run())


def test_opening_is_idempotent_and_a_new_opening_raises_the_epoch(bench: Any) -> None:
    async def use(b: Any) -> None:
        epochs = await asyncio.gather(*(recovery.open_recovery(b.core, "portal", "HTTP 503") for _ in range(8)))
        assert set(epochs) == {1}
        assert b.rung.count("recovery") == 1
        await recovery.mark_triggered(b.core, "portal", 1)
        await recovery.lead(b.core, "portal", DAG, 1, 30)
        assert (await recovery.finish(b.core, "portal", DAG, 1)).done
        assert (await recovery.finish(b.core, "portal", DAG, 1)).done, "a repeat says the same"
        assert await recovery.open_recovery(b.core, "portal", "NotSent") == 2
        found = await recovery.find(b.core, "portal")
        assert found and (found.state, found.step, found.released, found.triggered, found.owner) == (
            "open",
            0,
            0,
            False,
            None,
        )
        assert found.reason == "NotSent"
        assert await b.sql("SELECT count(*) FROM journal WHERE kind = 'recovery_opened'") == 2

    go(bench, use)


def test_a_step_is_released_once(bench: Any) -> None:
    async def use(b: Any) -> None:
        ids = await b.wait(10, due_s=-5)
        await recovery.open_recovery(b.core, "portal", "x")
        held = await recovery.lead(b.core, "portal", DAG, 1, 30)
        first = await recovery.release(b.core, "portal", DAG, 1, held.step + 1, 3)
        assert sorted(first.deliveries) == ids[:3], "the longest due first"
        again = await recovery.release(b.core, "portal", DAG, 1, held.step + 1, 3)
        assert again.repeated and again.count == 0
        assert await b.states() == {2: 3, 4: 7}
        with pytest.raises(OutOfStep):
            await recovery.release(b.core, "portal", DAG, 1, held.step + 3, 3)
        assert (await recovery.lead(b.core, "portal", DAG, 1, 30)).released == 3
        together = await asyncio.gather(*(recovery.release(b.core, "portal", DAG, 1, 2, 4) for _ in range(6)))
        assert sorted(r.count for r in together) == [0, 0, 0, 0, 0, 4]
        assert await b.states() == {2: 7, 4: 3}
        assert "ready" in b.rung

    go(bench, use)


def test_what_began_to_wait_later_keeps_its_own_time(bench: Any) -> None:
    async def use(b: Any) -> None:
        await b.wait(4, due_s=300, since_s=-30)
        await recovery.open_recovery(b.core, "portal", "x")
        held = await recovery.lead(b.core, "portal", DAG, 1, 30)
        assert (await recovery.release(b.core, "portal", DAG, 1, 1, 10)).count == 0, "nothing is due"
        assert (await recovery.release(b.core, "portal", DAG, 1, 2, 2, waiting_since_before=held.now)).count == 2
        assert await b.work(up=False) == 2
        rest = await recovery.release(b.core, "portal", DAG, 1, 3, 10, waiting_since_before=held.now)
        assert rest.count == 2, "the two that failed again wait for their time"
        seen = await recovery.progress(b.core, "portal", 1, since=held.now)
        assert (seen.waiting, seen.queued, seen.failed) == (2, 2, 2)
        brief = await recovery.progress(b.core, "portal", 1, since=held.now, brief=True)
        assert (brief.waiting, brief.queued, brief.failed) == (None, 2, 2)
        assert not (await recovery.finish(b.core, "portal", DAG, 1)).done, "two are still queued"
        await b.work(up=True)
        assert (await recovery.finish(b.core, "portal", DAG, 1)).done
        assert await b.states() == {4: 2}
        seen = await recovery.progress(b.core, "portal", 1, delivered=True)
        assert seen.delivered_since_open == 2

    go(bench, use)


def test_a_stale_epoch_is_refused_everywhere(bench: Any) -> None:
    async def use(b: Any) -> None:
        with pytest.raises(StaleEpoch):
            await recovery.lead(b.core, "portal", DAG, 1, 30)
        await recovery.open_recovery(b.core, "portal", "x")
        await recovery.lead(b.core, "portal", DAG, 1, 30)
        await recovery.finish(b.core, "portal", DAG, 1)
        with pytest.raises(StaleEpoch):
            await recovery.release(b.core, "portal", DAG, 1, 1, 1)
        await recovery.open_recovery(b.core, "portal", "y")
        await b.wait(3, due_s=-5)
        for call in (
            recovery.lead(b.core, "portal", DAG, 1, 30),
            recovery.release(b.core, "portal", DAG, 1, 1, 1),
            recovery.progress(b.core, "portal", 1),
            recovery.finish(b.core, "portal", DAG, 1),
            recovery.hand_over(b.core, "portal", DAG, 1),
        ):
            with pytest.raises(StaleEpoch):
                await call
        assert await b.states() == {4: 3}
        with pytest.raises(UnknownConnector):
            await recovery.open_recovery(b.core, "nowhere", "x")

    go(bench, use)


def test_leases_keep_others_out_and_a_ticker_gives_way(bench: Any) -> None:
    async def use(b: Any) -> None:
        await b.wait(3, due_s=-5)
        await recovery.open_recovery(b.core, "portal", "x")
        with pytest.raises(NotLeader):
            await recovery.release(b.core, "portal", DAG, 1, 1, 1)
        with pytest.raises(NotLeader):
            await recovery.lead(b.core, "portal", TICKER, 1, 5, after_alone_s=60)
        await recovery.lead(b.core, "portal", TICKER, 1, 5)
        with pytest.raises(NotLeader):
            await recovery.lead(b.core, "portal", "ticker:another", 1, 5)
        await recovery.lead(b.core, "portal", DAG, 1, 30)
        with pytest.raises(NotLeader):
            await recovery.release(b.core, "portal", TICKER, 1, 1, 1)
        for owner in (OTHER, TICKER):
            with pytest.raises(NotLeader):
                await recovery.lead(b.core, "portal", owner, 1, 30)
            assert not await recovery.hand_over(b.core, "portal", owner, 1)
        await b.end_lease()
        with pytest.raises(NotLeader):
            await recovery.release(b.core, "portal", DAG, 1, 1, 1)
        await recovery.lead(b.core, "portal", TICKER, 1, 5, after_alone_s=15)
        assert await recovery.hand_over(b.core, "portal", TICKER, 1)
        await recovery.lead(b.core, "portal", OTHER, 1, 30)
        assert await b.states() == {4: 3}, "no release got through meanwhile"

    go(bench, use)


def test_many_ask_for_the_lease_and_one_gets_it(bench: Any) -> None:
    async def use(b: Any) -> None:
        await recovery.open_recovery(b.core, "portal", "x")

        async def ask(owner: str) -> str | None:
            try:
                return (await recovery.lead(b.core, "portal", owner, 1, 30)).owner
            except NotLeader:
                return None

        got = [o for o in await asyncio.gather(*(ask(f"airflow:{i}") for i in range(12))) if o]
        assert len(got) == 1

    go(bench, use)


def test_a_paused_connector_is_not_led(bench: Any) -> None:
    async def use(b: Any) -> None:
        await recovery.open_recovery(b.core, "portal", "x")
        await b.sql("UPDATE connectors SET state = 'paused'")
        with pytest.raises(ConnectorPaused):
            await recovery.lead(b.core, "portal", DAG, 1, 30)

    go(bench, use)


def test_due_ones_go_by_themselves_only_while_nothing_is_wrong(bench: Any) -> None:
    async def use(b: Any) -> None:
        await b.connector("ministry")
        await b.wait(4, connector=1, due_s=-5)
        await b.wait(4, connector=2, due_s=-5)
        await b.wait(2, connector=2, due_s=60)
        await recovery.open_recovery(b.core, "portal", "x")
        assert await recovery.release_due(b.core) == 4
        assert await b.states(1) == {4: 4}
        assert await b.states(2) == {2: 4, 4: 2}

    go(bench, use)


def test_a_canary_is_asked_about_wherever_it_is(bench: Any) -> None:
    async def use(b: Any) -> None:
        await b.wait(1, due_s=-5)
        await recovery.open_recovery(b.core, "portal", "x")
        await recovery.lead(b.core, "portal", DAG, 1, 30)
        (canary,) = (await recovery.release(b.core, "portal", DAG, 1, 1, 1)).deliveries
        assert (await recovery.progress(b.core, "portal", 1, canary=canary)).canary == "ready"
        await b.work(up=False)
        assert (await recovery.progress(b.core, "portal", 1, canary=canary)).canary == "waiting"
        await b.sql("UPDATE deliveries SET due_at = now()")
        await recovery.release(b.core, "portal", DAG, 1, 2, 1)
        await b.work(up=True)
        assert (await recovery.progress(b.core, "portal", 1, canary=canary)).canary == "delivered"
        assert (await recovery.progress(b.core, "portal", 1, canary=999)).canary is None

    go(bench, use)


def test_the_largest_step_counts_with_what_a_call_can_really_hold(bench: Any) -> None:
    """A row from before its adapter's calls became smaller: 500 calls a second of 100 stored, of 1 in truth."""

    async def use(b: Any) -> None:
        settings = {"policy": {"batch_max": 100, "quota": {"per_second": 500}}}
        await b.sql("UPDATE connectors SET system = 'population', settings = $1::text::jsonb", json.dumps(settings))
        await recovery.open_recovery(b.core, "portal", "HTTP 503")
        assert (await recovery.lead(b.core, "portal", DAG, 1, 30)).most == RELEASE_MAX
        b.core.per_call = per_call
        assert (await recovery.lead(b.core, "portal", DAG, 1, 30)).most == 2_000
        await b.sql("UPDATE connectors SET settings = '{}'")
        assert (await recovery.lead(b.core, "portal", DAG, 1, 30)).most == step_most(None)

    go(bench, use)
