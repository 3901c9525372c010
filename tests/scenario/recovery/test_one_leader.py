"""Property, on a real PostgreSQL: whatever is asked in whatever order, one leader at most, and each step once."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.kernel.ledger import recovery
from hub.kernel.ledger.recovery import NotLeader, OutOfStep, RecoveryConflict, StaleEpoch

OWNERS = ("airflow:a", "airflow:b", "ticker:x", "ticker:y")
_owner = st.sampled_from(OWNERS)
_action = st.one_of(
    st.tuples(st.just("lead"), _owner),
    st.tuples(st.just("release"), _owner, st.integers(-1, 2), st.integers(0, 4)),
    st.tuples(st.just("hand_over"), _owner),
    st.tuples(st.just("finish"), _owner),
    st.tuples(st.just("expire")),
    st.tuples(st.just("open")),
    st.tuples(st.just("work"), st.booleans()),
    st.tuples(st.just("stale"), _owner),
)


class Model:
    """What the rules say, in a few lines."""

    def __init__(self) -> None:
        self.epoch, self.open, self.owner, self.step, self.released = 0, False, "", 0, 0

    def may_lead(self, owner: str) -> bool:
        gives_way = self.owner.startswith("ticker:") and not owner.startswith("ticker:")
        return self.open and (self.owner in ("", owner) or gives_way)


async def _play(bench: Any, actions: list[tuple[Any, ...]]) -> None:
    async with bench() as b:
        await b.wait(12, due_s=-5)
        m = Model()
        for action, *args in actions:
            match action, args:
                case "open", []:
                    epoch = await recovery.open_recovery(b.core, "portal", "x")
                    if not m.open:
                        m.epoch, m.open, m.owner, m.step, m.released = m.epoch + 1, True, "", 0, 0
                    assert epoch == m.epoch
                case "lead", [owner]:
                    try:
                        await recovery.lead(b.core, "portal", owner, m.epoch, 60)
                        assert m.may_lead(owner)
                        m.owner = owner
                    except RecoveryConflict:
                        assert not m.may_lead(owner)
                case "release", [owner, ahead, count]:
                    before = (await b.states()).get(2, 0)
                    try:
                        done = await recovery.release(b.core, "portal", owner, m.epoch, m.step + ahead, count)
                        assert m.open and m.owner == owner
                        assert done.repeated == (ahead <= 0) and done.count <= (0 if done.repeated else count)
                        if ahead == 1:
                            m.step, m.released = m.step + 1, m.released + done.count
                        assert (await b.states()).get(2, 0) == before + done.count
                    except StaleEpoch:
                        assert not m.open
                    except NotLeader:
                        assert m.owner != owner
                    except OutOfStep:
                        assert ahead > 1
                case "hand_over", [owner]:
                    try:
                        assert await recovery.hand_over(b.core, "portal", owner, m.epoch) == (m.owner == owner)
                        m.owner = "" if m.owner == owner else m.owner
                    except StaleEpoch:
                        assert not m.open
                case "finish", [owner]:
                    states = await b.states()
                    try:
                        done = await recovery.finish(b.core, "portal", owner, m.epoch)
                        # Nothing but the releases moves here: what waits after a failure is not due for minutes.
                        if m.open and done.done:
                            assert m.owner == owner and not states.get(2)
                            m.open, m.owner = False, ""
                    except NotLeader:
                        assert m.owner != owner
                    except StaleEpoch:
                        assert m.epoch == 0
                case "expire", []:
                    await b.end_lease()
                    m.owner = ""
                case "work", [up]:
                    await b.work(up=up)
                case "stale", [owner]:
                    try:
                        await recovery.release(b.core, "portal", owner, m.epoch + 1, 1, 1)
                        raise AssertionError("released for an epoch that is not")
                    except StaleEpoch:
                        found = await recovery.find(b.core, "portal")
                        assert found is None or found.released == m.released
        found = await recovery.find(b.core, "portal")
        if found is not None and m.open:
            assert (found.epoch, found.step, found.released) == (m.epoch, m.step, m.released)
            assert (found.owner or "") == m.owner
        total = sum((await b.states()).values()) + await b.delivered()
        assert total == 12, "none lost, none doubled"


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_action, min_size=4, max_size=25).map(lambda found: [("open",), ("lead", "airflow:a"), *found]))
def test_at_most_one_leader(bench: Any, actions: list[tuple[Any, ...]]) -> None:
    asyncio.run(_play(bench, actions))
