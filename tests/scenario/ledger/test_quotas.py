"""Shares of a quota among workers, and a day's calls, on a real database."""

from __future__ import annotations

import asyncio
from typing import Any

from hub.kernel.ledger import dispatch, quotas
from hub.kernel.ledger.intake import accept
from hub.kernel.ledger.quotas import Ask


def run(work: Any) -> Any:
    return asyncio.run(work)


async def shared(led: Any) -> int:
    return int(await led.value("SELECT coalesce(sum(share), 0) FROM quota_shares WHERE until > clock_timestamp()"))


def test_shares_never_add_up_to_more_than_the_quota_and_even_out(ledger: Any) -> None:
    async def go() -> None:
        async with ledger(worker="w1") as one, ledger(worker="w2") as two:
            c = await one.connector("ministry", "ministry")

            async def ask(led: Any, keep: int) -> int:
                found = await quotas.renew(led.core, c, Ask(per_second=100, per_day=None, keep=keep))
                assert await shared(one) <= 100
                return int(found.share or 0)

            assert await ask(one, 0) == 100
            assert await ask(two, 0) == 0, "all of it is still in use"
            assert await ask(one, 100) == 50, "there are two now: half is what it may send from here on"
            assert await ask(two, 0) == 0, "but the other half may still have calls in this second"
            assert await ask(one, 70) == 50
            assert await ask(two, 0) == 30
            assert await ask(one, 50) == 50
            assert await ask(two, 30) == 50
            await quotas.leave(one.core, c, 0, None)
            assert await ask(two, 50) == 100
            assert await ask(one, 100) == 0, "it has left: what it asks to keep is not its any more"
            await one.owner.execute(
                "UPDATE quota_shares SET until = clock_timestamp() - interval '1 second' WHERE worker = 'w2'"
            )
            assert await ask(one, 0) == 100, "whoever asks no more loses it by itself"
            await one.owner.execute("UPDATE quota_shares SET until = until - interval '1 hour'")
            await quotas.forget(one.core)
            assert await one.value("SELECT count(*) FROM quota_shares") == 0

    run(go())


def test_many_workers_asking_at_once_share_what_there_is(ledger: Any) -> None:
    async def go() -> None:
        async with ledger(worker="w0") as first:
            c = await first.connector("ministry", "ministry")
            names = [f"w{n}" for n in range(5)]
            held = dict.fromkeys(names, 0)
            for _ in range(6):
                for name in names:
                    first.core.worker = name
                    got = await quotas.renew(first.core, c, Ask(per_second=12, per_day=None, keep=held[name]))
                    held[name] = got.share or 0
                assert await shared(first) <= 12
            assert sum(held.values()) >= 10 and max(held.values()) - min(held.values()) <= 1

    run(go())


def test_a_claim_takes_no_more_than_the_days_calls_and_gives_back_what_was_not_used(ledger: Any, make: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await led.connector("ministry", "ministry")
            await led.school(make.draft().school)
            await accept(led.core, [make.arrival(*(make.draft(f"HS{n}") for n in range(40)))])

            async def claim(limit: int, spare: int, batch_max: int = 1) -> tuple[int, int]:
                ask = Ask(per_second=None, per_day=25, spare=spare)
                batch = await dispatch.claim(led.core, c, limit, 30.0, batch_max=batch_max, ask=ask)
                assert batch.grant is not None and batch.grant.calls is not None
                return len(batch.deliveries), batch.grant.calls

            assert await claim(10, 0) == (10, 10)
            assert await claim(10, 4) == (10, 6)
            assert await claim(10, 0, batch_max=2) == (10, 5)
            assert await led.value("SELECT day_used FROM quotas") == 21
            assert await claim(10, 0) == (4, 4)
            assert await claim(10, 0) == (0, 0)
            day = await led.value("SELECT day FROM quotas")
            await quotas.leave(led.core, c, 3, day)
            assert await led.value("SELECT day_used FROM quotas") == 22
            assert await claim(10, 0) == (3, 3)
            await led.owner.execute("UPDATE quotas SET day = day - 1")
            assert await claim(10, 0) == (3, 10), "a new day; three are left to send"

    run(go())


def test_nothing_is_granted_where_nothing_is_ready(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            c = await led.connector("ministry", "ministry")
            batch = await dispatch.claim(led.core, c, 10, 30.0, ask=Ask(per_second=10, per_day=10))
            assert batch.grant is None and await shared(led) == 0
            assert await led.value("SELECT day_used FROM quotas") == 0

    run(go())
