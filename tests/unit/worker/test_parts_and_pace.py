"""How much a dispatcher holds, and how a large claim is cut: whole calls, and what goes out again together stays together."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.policy.retry import RetrySettings
from hub.kernel.ledger.shapes import Batch, Claimed, Conclusion
from hub.kernel.lifecycle import State
from hub.worker import concluder as concluders
from hub.worker.concluder import Concluder
from hub.worker.parts import parts_of
from hub.worker.policy import Pace, Policy
from hub.worker.target import Done


def claimed(number: int, resend: int | None = None) -> Claimed:
    return Claimed(
        id=number, record=number, klass=2, claim=1, attempts=1, flow="f", key=str(number), school=None, order_key=number, resend=resend,
    )  # fmt: skip


def policy(**more: Any) -> Policy:
    given_: dict[str, Any] = {
        "concurrency": 16, "batch_max": 1, "timeout_s": 5, "lease_s": 30, "settle_after_s": 5, "absent_gap_s": 1, "unclear_for_s": 60,
        "max_attempts": 5, "retry": RetrySettings(),
    }  # fmt: skip
    return Policy(**(given_ | more))


@given(
    resent=st.lists(st.none() | st.integers(min_value=900_000, max_value=900_009), max_size=1500),
    batch_max=st.sampled_from([1, 7, 100, 500, 1000]),
)
def test_parts_hold_everything_once_in_whole_calls(resent: list[int | None], batch_max: int) -> None:
    batch = Batch(claim=9, deliveries=[claimed(n, r) for n, r in enumerate(resent, 1)])
    parts = parts_of(batch, batch_max)
    assert all(p.claim == 9 for p in parts)
    assert Counter(d.id for p in parts for d in p.deliveries) == Counter(range(1, len(resent) + 1))
    for call in {r for r in resent if r is not None}:
        assert sum(any(d.resend == call for d in p.deliveries) for p in parts) == 1, "one call, not one for each part"
    if not any(resent):
        assert [d.id for p in parts for d in p.deliveries] == list(range(1, len(resent) + 1))
        assert all(len(p.deliveries) % batch_max == 0 for p in parts[:-1]), "no call is smaller for the cutting"


def test_a_quick_counterparty_is_given_more_at_once_and_a_slow_one_never() -> None:
    quick, slow = Pace(policy()), Pace(policy())
    assert quick.most == slow.most == 32
    now = 100.0
    quick.note(0, now)
    quick.note(32, now + 0.01)
    assert quick.most > 1000, "its hand went in a hundredth of a second: more is held from then on"
    slow.note(0, now)
    for n in range(1, 20):
        slow.note(4, now + n)
        assert slow.most == 32


@pytest.mark.parametrize(("waiting", "beside"), [(499, False), (500, True)])
def test_a_second_transaction_begins_only_beside_a_full_batch(
    monkeypatch: pytest.MonkeyPatch, waiting: int, beside: bool
) -> None:
    """The first writer is held in the database; whatever comes meanwhile waits for it, unless it is much."""

    async def go() -> None:
        sizes: list[int] = []
        held = asyncio.Event()

        async def conclude(_core: Any, _number: int, conclusions: list[Conclusion], *_: Any) -> None:
            sizes.append(len(conclusions))
            if len(sizes) == 1:
                await held.wait()

        monkeypatch.setattr(concluders.ledger, "conclude", conclude)

        class Named:
            number, name = 1, "thu"

        hand: dict[int, Any] = {}
        one: Any = Concluder(
            None, Named(), hand, Pace(policy()), more_coming=lambda: False, after=lambda: None, on_fault=None  # type: ignore[arg-type]
        )  # fmt: skip
        running = asyncio.create_task(one.run())

        def put(numbers: range) -> None:
            for n in numbers:
                hand[n] = object()
                made = Conclusion(delivery=claimed(n), target=State.DELIVERED, cause="receipt", outcome="Receipt")
                one.put(Done([made], []))

        put(range(1))
        await asyncio.sleep(0.02)
        put(range(1, waiting + 1))
        await asyncio.sleep(0.05)
        assert sizes == ([1, waiting] if beside else [1])
        assert 0 in hand, "what the held one writes is in hand until it is written"
        held.set()
        await one.finish(2.0)
        assert sum(sizes) == waiting + 1 and not hand
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())
