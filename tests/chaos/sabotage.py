"""One safety switched off, then a process of the hub as ever: `python -m tests.chaos.sabotage <which> <command>`.

One concern: proving that the oracle sees. The product has no such switches: what is patched here is patched from
outside, before the process runs. It must never be used for anything but the tests beside it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from hub.kernel.intake import Accepted
from hub.kernel.ledger import dispatch, intake
from hub.kernel.ledger.dispatch import Conclusion
from hub.kernel.lifecycle import State
from hub.kernel.store.db import sql
from hub.worker import targets
from hub.worker.asker import Asker
from hub.worker.bridge import Bridge
from hub.worker.dispatch import Dispatcher
from hub.worker.target import Done


def ack_before_commit() -> None:
    """The bridge tells the gate before the ledger has it."""

    async def commit(self: Any, items: list[Any], lane: Any) -> None:
        self._finish(items, [Accepted(message=0) for _ in items])
        await asyncio.sleep(1.0)  # so that what was said has certainly left
        await self._accept([i.arrival for i in items])

    Bridge._commit = commit  # type: ignore[method-assign]


def no_lease_look() -> None:
    """Nobody looks whether the lease still holds before the first byte."""
    hold = Dispatcher._hold

    def forever(self: Any, deliveries: list[Any], asked_at: float) -> None:
        hold(self, deliveries, asked_at + 3600.0)

    Dispatcher._hold = forever  # type: ignore[method-assign]


def no_claim_token() -> None:
    """Whoever comes may move a delivery. The look at the lease is off as well: it comes before every send, so that who slept past
    his lease before his intent would meet it where the token was not asked for; what it does alone shows in `no_lease_look`."""
    sql._texts["intend"] = sql._texts["intend"].replace("d.claim = $4", "$4::bigint IS NOT NULL")
    for name in ("close", "move"):
        sql._texts[name] = sql._texts[name].replace("d.claim = w.claim AND ", "")
    no_lease_look()


def no_intent() -> None:
    """Nothing is written down before the first byte."""

    async def intend(core: Any, exchanges: list[Any], token: int) -> set[int]:
        return {d for e in exchanges for d in e.call.deliveries}

    dispatch.intend = intend


def no_intake_key() -> None:
    """Every arrival is new, also one sent again."""

    def states(arrivals: list[Any], ids: list[int], found: Any) -> list[tuple[str, int]]:
        return [("new", i) for i in ids]

    intake._states = states


def no_inquiry() -> None:
    """What is uncertain is sent again without asking."""

    async def settle(self: Any, d: Any, *_: Any) -> None:
        again = Conclusion(
            delivery=d,
            target=State.READY,
            cause="absent_twice",
            outcome="absent",
            kind="inquire",
            resend=d.intent,
            absent=0,
        )
        self._put(Done([again], []))

    Asker._settle = settle  # type: ignore[method-assign]


def no_settle_after() -> None:
    """The question is asked at once."""
    _hasty(settle_after_s=0.0)


def no_absent_gap() -> None:
    """Once told that it is not there, one asks again at once."""
    _hasty(absent_gap_s=0.0)


def _hasty(**waits: float) -> None:
    policy_of = targets.policy_of

    def hasty(*args: Any) -> Any:
        return replace(policy_of(*args), **waits)

    targets.policy_of = hasty  # type: ignore[assignment]


BUGS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        ack_before_commit, no_claim_token, no_lease_look, no_intent, no_intake_key, no_inquiry, no_settle_after, no_absent_gap,
    )
}  # fmt: skip

if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    from hub.cli import main

    sys.argv = ["hub", *sys.argv[2:]]
    main()
