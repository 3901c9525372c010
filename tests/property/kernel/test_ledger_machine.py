"""The ledger under any sequence of arrivals, claims, outcomes, crashes and orders: nothing lost, nothing doubled, order kept.

A worker here is only what it holds in memory; a crash forgets it. What must hold is asked of the tables after every step,
and of the list of what "the counterparty" was given at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import dispatch, operations, upkeep
from hub.kernel.ledger.accounting import account
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.shapes import Claimed, Conclusion, Exchange, TaskSpec
from hub.kernel.lifecycle import State
from hub.kernel.ports import Call, Draft, Text
from hub.kernel.router import Flow, Router, Target

from datetime import UTC, datetime  # isort: skip

AT = datetime(2026, 9, 5, tzinfo=UTC)
KEYS = ["A", "B", "C"]


class Machine(RuleBasedStateMachine):
    open_ledger: Callable[[], Any]
    order = "hold"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.led = self.do(self.stack.enter_async_context(type(self).open_ledger()))
        self.do(self._prepare())
        self.hand: list[Claimed] = []
        self.intended: dict[int, Exchange] = {}
        self.given: list[tuple[str, int]] = []
        self.frozen: set[int] = set()
        self.serial = 0

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def _prepare(self) -> None:
        await self.led.owner.execute(
            "DELETE FROM deliveries; DELETE FROM deliveries_closed; DELETE FROM records; DELETE FROM messages;"
            " DELETE FROM message_results; DELETE FROM streams; DELETE FROM tasks; DELETE FROM intake_keys; DELETE FROM rejects;"
            " DELETE FROM recoveries; DELETE FROM quotas; DELETE FROM connector_revisions; DELETE FROM connectors"
        )
        self.connector = await self.led.connector("ministry", "ministry")
        await self.led.school("S1")
        target = Target(connector="ministry", map="m", on_park=type(self).order)  # type: ignore[arg-type]
        flow = Flow(name="f", title=Text("l", "f"), records=["learner"], to=[target])
        self.led.core.router = Router({"f": flow}, self.led.core.connectors)

    def teardown(self) -> None:
        self.do(self._end())
        self.loop.close()

    async def _end(self) -> None:
        """Let everything come to rest with a counterparty that takes all, then compare with what was given."""
        await upkeep.end_leases(self.led.core)
        for task in await self.led.rows("SELECT id FROM tasks WHERE state = 'open'"):
            await operations.resolve_task(self.led.core, "t", task["id"], "release", "end")
        for _ in range(300):
            await self.led.owner.execute("UPDATE deliveries SET lease_until = now() - interval '1 s' WHERE state = 3")
            await self.led.owner.execute(
                "UPDATE deliveries SET state = 2, cause = 'due', due_at = NULL, claim = NULL, lease_until = NULL WHERE state IN (4, 6)"
            )
            await upkeep.end_leases(self.led.core)
            batch = await dispatch.claim(self.led.core, self.connector, 50, 30.0)
            if not batch.deliveries:
                if await self.led.value("SELECT count(*) FROM deliveries") == 0:
                    break
                continue
            self._give(batch.deliveries)
            await dispatch.conclude(self.led.core, self.connector, [self._done(d) for d in batch.deliveries], [])
        assert await self.led.value("SELECT count(*) FROM deliveries") == 0, "everything comes to an end"
        found = await account(self.led.core)
        assert found.balanced, found.differences
        if type(self).order == "hold":
            for key in KEYS:
                versions = [v for k, v in self.given if k == key]
                assert versions == sorted(versions), f"{key} went out of order: {versions}"
        await self.stack.aclose()

    def _give(self, deliveries: list[Claimed]) -> None:
        self.given += [(d.key, d.outgoing.version) for d in deliveries if d.outgoing]

    @staticmethod
    def _done(d: Claimed, call: int | None = None) -> Conclusion:
        return Conclusion(delivery=d, target=State.DELIVERED, cause="receipt", outcome="Receipt", call=call)

    # ---------------------------------------------------------------------------------------------- what happens

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4), same=st.booleans(), repeat=st.booleans())
    def push(self, keys: list[str], same: bool, repeat: bool) -> None:
        if not same:
            self.serial += 1
        drafts = [
            Draft(
                type="learner",
                key=k,
                body={"learner_code": k, "full_name": f"N{self.serial}"},
                updated_at=AT,
                school="S1",
            )
            for k in keys
        ]
        body = f"{keys}{self.serial}".encode()
        source = Source("client", "c")
        arrivals = [
            Arrival(
                source=source, type="learner", body=body, content_type="application/json", digest=hashlib.sha256(body).digest(),
                key=intake_key(source, body), drafts=drafts,
            )
            for _ in range(2 if repeat else 1)
        ]  # fmt: skip
        self.do(accept(self.led.core, arrivals))

    @rule(n=st.integers(1, 5))
    def claim(self, n: int) -> None:
        self.hand += self.do(dispatch.claim(self.led.core, self.connector, n, 30.0)).deliveries

    @precondition(lambda self: self.hand)
    @rule()
    def intend(self) -> None:
        d = self.hand[0]
        call = Call(operation="create", deliveries=(d.id,), body=b"x", content_type="t", idempotent=False, key=d.key)

        async def go() -> None:
            async with self.led.core.pool.acquire() as connection:
                (number,) = await self.led.core.ids.take(connection, 1)
            e = Exchange(id=number, klass=d.klass, connector=self.connector, call=call, mapping="m")
            if d.id in await dispatch.intend(self.led.core, [e], d.claim):
                self.intended[d.id] = e

        self.do(go())

    @precondition(lambda self: self.hand)
    @rule(what=st.sampled_from(["delivered", "later", "parked", "dead", "released"]))
    def conclude(self, what: str) -> None:
        d = self.hand.pop(0)
        e = self.intended.pop(d.id, None)
        conclusion = {
            "delivered": lambda: self._done(d, e.id if e else None),
            "later": lambda: Conclusion(delivery=d, target=State.WAITING, cause="try_later", outcome="TryLater", after_s=0.0),
            "parked": lambda: Conclusion(
                delivery=d, target=State.PARKED, cause="needs_person", outcome="NeedsPerson",
                task=TaskSpec(connector=self.connector, cause="c", subject=d.key, text=Text("v", "e")),
            ),
            "dead": lambda: Conclusion(delivery=d, target=State.DEAD, cause="never", outcome="NeverTry"),
            "released": lambda: Conclusion(delivery=d, target=State.READY, cause="released", outcome="released"),
        }[what]()  # fmt: skip
        if what == "delivered" and d.id not in self.frozen:
            # Whoever lost the lease looks at it before the first byte, and does not send.
            self._give([d])
        self.frozen.discard(d.id)
        self.do(dispatch.conclude(self.led.core, self.connector, [conclusion], []))

    @precondition(lambda self: self.hand)
    @rule()
    def crash(self) -> None:
        """The worker is gone with all it held; its leases end."""
        self.hand, self.intended = [], {}
        self.do(self.led.owner.execute("UPDATE deliveries SET lease_until = now() - interval '1 s' WHERE state = 3"))
        self.do(upkeep.end_leases(self.led.core))

    @precondition(lambda self: self.hand)
    @rule()
    def freeze(self) -> None:
        """The leases end while the worker still believes it holds them."""
        self.frozen |= {d.id for d in self.hand}
        self.do(self.led.owner.execute("UPDATE deliveries SET lease_until = now() - interval '1 s' WHERE state = 3"))
        self.do(upkeep.end_leases(self.led.core))

    @rule()
    def due(self) -> None:
        self.do(self.led.owner.execute("UPDATE deliveries SET state = 2, cause = 'due', due_at = NULL WHERE state = 4"))

    @rule(how=st.sampled_from(["release", "give_up", "delivered", "cancel"]))
    def resolve(self, how: Any) -> None:
        task = self.do(self.led.value("SELECT min(id) FROM tasks WHERE state = 'open'"))
        if task:
            self.do(operations.resolve_task(self.led.core, "t", task, how, "w"))

    @rule()
    def cancel(self) -> None:
        one = self.do(self.led.value("SELECT id FROM deliveries ORDER BY random() LIMIT 1"))
        if one:
            self.do(operations.cancel(self.led.core, "t", one, "w"))

    # ---------------------------------------------------------------------------------------------- what must hold

    @invariant()
    def accounts_balance(self) -> None:
        found = self.do(account(self.led.core))
        assert found.balanced, found.differences

    @invariant()
    def one_head_per_key(self) -> None:
        worst = self.do(
            self.led.value(
                "SELECT coalesce(max(n), 0) FROM (SELECT count(*) FILTER (WHERE state <> 1 AND NOT aside) AS n FROM deliveries GROUP BY order_key) x"
            )
        )
        assert worst <= 1

    @invariant()
    def nobody_is_held_behind_nothing(self) -> None:
        orphans = self.do(
            self.led.value(
                "SELECT count(*) FROM deliveries h WHERE h.state = 1 AND NOT EXISTS"
                " (SELECT 1 FROM deliveries a WHERE a.order_key = h.order_key AND a.state <> 1 AND NOT a.aside)"
            )
        )
        assert orphans == 0


@pytest.mark.parametrize("order", ["hold", "skip"])
@pytest.mark.timeout(240)
def test_any_sequence(ledger: Any, order: str) -> None:
    machine = type("Run", (Machine,), {"open_ledger": staticmethod(ledger), "order": order})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
