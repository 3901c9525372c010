"""How far each gate has been asked for what it holds: a page's passages and the place of the next page in one transaction.

What a kill leaves: between pages a run that whoever comes next takes over at the page that was next; before a page's
commit nothing of it, and it is asked for again, which harms nothing: passages are known by their names. It must never call
a gate.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from hub.kernel.failpoints import reach
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger import gate_accounts, gate_sightings
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.intake import accept_within
from hub.kernel.ledger.operations import because, note
from hub.kernel.ports import Numbers
from hub.kernel.store.db import Connection, sql

_json = msgspec.json.Encoder().encode
_HOLES_MOST, _HOLE_SPAN, _HOLES_IN_ALL = 100, 100_000, 200_000
"""Holes remembered of one gate, how many numbers one may have (a jump by more is a gate that counts anew), and all of them
together: what is more is counted and said (`gate_memory.beyond`)."""


class ListLost(Exception):
    """Lượt hỏi cổng này đã có tiến trình khác làm tiếp. / Another process went on with this gate's run."""


class Asking(Struct, kw_only=True):
    """One gate in a worker's hands. `span_start`, `span_end` and `place` None: a run that has not begun."""

    device: str
    settings: dict[str, Any]
    secrets: bytes | None
    done_to: datetime
    span_start: datetime | None
    span_end: datetime | None
    place: dict[str, Any] | None
    page: int
    run: int
    faults: int
    now: datetime
    """The database's clock when it was claimed."""
    told_s: float | None
    """Seconds since the gate was last told where to push; None: never."""
    finished: bool
    """Whether a run has ever come to its end."""


class Hole(Struct, frozen=True):
    """Numbers a gate gave that nothing came with, both in it, and how often it was asked for them."""

    first: int
    last: int
    tries: int = 0


async def put(
    core: Core, actor: str, device: str, settings: dict[str, Any], secrets: bytes | None, since: datetime, why: str = ""
) -> None:
    """Set how a gate is asked, `why` for the journal. `secrets` None keeps those it has. A gate asked before goes on where it is, else
    `since`."""
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.gate_list_put, device, settings, secrets, since)
        await note(core, connection, actor, "gate_list", device=device, **because(why))


async def drop(core: Core, actor: str, device: str, why: str = "") -> bool:
    """Ask a gate no longer, `why` for the journal. False when it was not asked."""
    async with core.pool.acquire() as connection, connection.transaction():
        done = await connection.fetchval(sql.gate_list_drop, device)
        if done:
            await note(core, connection, actor, "gate_list_dropped", device=device, **because(why))
    return bool(done)


async def claim(core: Core, owner: str, lease_s: float, most: int) -> list[Asking]:
    """Gates whose time has come, for this worker alone while the lease holds."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.gate_list_claim, owner, lease_s, most)
    return [Asking(**dict(r)) for r in rows]


async def begin(
    core: Core,
    asking: Asking,
    owner: str,
    start: datetime,
    end: datetime,
    joined: Sequence[str] = (),
    *,
    back: bool = False,
) -> None:
    """Fix the span of a run. `joined`: gates new to the list, which it asks for from here on; `back`: for them it begins before
    all that was asked for until now, and is not done from there on before it ends. Raises `ListLost`."""
    done_to = min(asking.done_to, start) if back else asking.done_to
    async with core.pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(sql.gate_list_begin, asking.device, owner, asking.run, start, end, done_to):
            raise ListLost(asking.device)
        if joined:
            await gate_accounts.joined(core, connection, asking.device, joined, start)
    asking.span_start, asking.span_end, asking.place, asking.page = start, end, None, 0


async def passes_over(core: Core, asking: Asking, owner: str, gates: Sequence[str]) -> None:
    """From here on the list passes over these, which it has spoken for. Raises `ListLost`."""
    async with core.pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(sql.gate_list_held, asking.device, owner, asking.run, asking.page):
            raise ListLost(asking.device)
        await gate_accounts.left(connection, asking.device, gates)


async def store_page(
    core: Core,
    asking: Asking,
    owner: str,
    arrivals: list[Arrival],
    place: dict[str, Any] | None,
    lease_s: float,
    every_s: float,
    window: tuple[datetime, datetime] | None = None,
) -> list[Accepted]:
    """One page's passages, and where the run goes on (`place` None: it ends). Moves `asking` along. `window`: of a list that has no
    names in common with what was pushed, the span the ledger is asked about: what it has is answered as a duplicate. Raises
    `ListLost`."""
    ids: list[int] = []

    async def once() -> list[Accepted]:
        sources = await core.source_ids([a.source for a in arrivals])
        async with core.pool.acquire() as connection:
            if len(ids) < len(arrivals):
                ids.extend(await core.ids.take(connection, len(arrivals)))
            async with connection.transaction():
                if not await connection.fetchval(sql.gate_list_held, asking.device, owner, asking.run, asking.page):
                    raise ListLost(asking.device)
                if window is not None and arrivals:
                    answers = await _unnamed(core, connection, arrivals, ids, sources, window)
                else:
                    answers = await accept_within(core, connection, arrivals, ids, sources) if arrivals else []
                fresh = sum(1 for a in answers if not a.duplicate)
                if place is not None:
                    await connection.execute(
                        sql.gate_list_page, asking.device, owner, _json(place), lease_s, len(arrivals), fresh
                    )
                else:
                    # Not all that began together come together for ever.
                    due_s = every_s * random.uniform(0.9, 1.1)  # noqa: S311
                    await connection.execute(sql.gate_list_end, asking.device, owner, due_s, len(arrivals), fresh)
                reach("pull.inside")
            reach("pull.after")
            return answers

    answers = await core.again(once)
    asking.page, asking.place = asking.page + 1, place
    core.on_commit("ready")
    return answers


async def _unnamed(
    core: Core,
    connection: Connection,
    arrivals: list[Arrival],
    ids: list[int],
    sources: list[int],
    window: tuple[datetime, datetime],
) -> list[Accepted]:
    met = await gate_sightings.met(connection, arrivals, *window)
    answers = [Accepted(message=met.get(n, 0), duplicate=True) for n in range(len(arrivals))]
    left = [n for n in range(len(arrivals)) if n not in met]
    if not left:
        return answers
    removed = [r for a in arrivals for r in a.removed]
    for a in arrivals:
        a.removed = []
    arrivals[left[0]].removed = removed  # of the page: it stands with the first that is stored
    new = [arrivals[n] for n in left]
    taken = await accept_within(core, connection, new, [ids[n] for n in left], [sources[n] for n in left])
    for n, answer in zip(left, taken, strict=True):
        answers[n] = answer
    await gate_sightings.note(connection, [(ids[n], arrivals[n]) for n in left if not answers[n].duplicate])
    return answers


async def fault(core: Core, asking: Asking, owner: str, said: dict[str, Any], after_s: float, *, anew: bool) -> None:
    """Note why a run stopped: `vi`, `en`, and what else its teller wants to find. `anew`: the next one begins from where
    everything was stored, not at this page."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_list_fault, asking.device, owner, said, after_s, anew)


async def let_go(core: Core, asking: Asking, owner: str) -> None:
    """Leave a run to whoever comes next, at once."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_list_let_go, asking.device, owner)


async def told(core: Core, device: str, sealed: bytes) -> None:
    """The gate has been told where to push, by the secret that is `sealed`. When it has another by now it is told again, at
    once."""
    async with core.pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(sql.gate_list_told, device, sealed):
            await connection.execute(sql.gate_list_tell, device)


async def hurry(core: Core, device: str, gap_s: float, hole: Numbers | None = None) -> None:
    """A hole was seen in what a gate pushed: ask it soon, though at most once per `gap_s`. The hole is remembered until the
    list has brought it, or was asked for it by number."""
    async with core.pool.acquire() as connection:
        await hurry_within(connection, device, gap_s, hole)


async def hurry_within(connection: Connection, device: str, gap_s: float, hole: Numbers | None = None) -> None:
    """See `hurry`; within the caller's transaction."""
    if hole is not None and hole.last - hole.first < _HOLE_SPAN:
        await connection.execute(sql.gate_hole_room, device)
        most = _HOLES_MOST, _HOLE_SPAN, _HOLES_IN_ALL
        await connection.execute(sql.gate_hole_add, device, hole.first, hole.last, *most)
    await connection.execute(sql.gate_list_hurry, device, gap_s)


async def holes(core: Core, device: str) -> list[Hole]:
    """What a gate's numbers say is missing, oldest first."""
    async with core.pool.acquire() as connection:
        found = await connection.fetchval(sql.gate_holes_of, device) or []
    return [Hole(*hole) for hole in found]


async def hole_left(core: Core, device: str, hole: Hole, left: Sequence[Hole]) -> None:
    """`left` stands in a hole's place from now on."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_hole_set, device, _pair(hole), [_pair(h) for h in left])


def _pair(hole: Hole) -> list[int]:
    return [hole.first, hole.last, hole.tries]


async def store_found(core: Core, device: str, arrivals: list[Arrival]) -> list[Accepted]:
    """Passages that were asked for by number, beside any run: with its next page or without, they are known by their names."""
    ids: list[int] = []

    async def once() -> list[Accepted]:
        sources = await core.source_ids([a.source for a in arrivals])
        async with core.pool.acquire() as connection:
            if len(ids) < len(arrivals):
                ids.extend(await core.ids.take(connection, len(arrivals)))
            async with connection.transaction():
                answers = await accept_within(core, connection, arrivals, ids, sources)
                fresh = sum(1 for a in answers if not a.duplicate)
                await connection.execute(sql.gate_list_found, device, len(arrivals), fresh)
                reach("pull.inside")
            reach("pull.after")
            return answers

    answers = await core.again(once)
    core.on_commit("ready")
    return answers


async def back_to(core: Core, device: str, start: datetime) -> bool:
    """Have a gate asked again from `start` on, now. False when it is not asked at all."""
    async with core.pool.acquire() as connection:
        return bool(await connection.fetchval(sql.gate_list_back, device, start))


async def standing(core: Core) -> list[Any]:
    """Every gate that is asked, and how it stands."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.gate_lists_all))
