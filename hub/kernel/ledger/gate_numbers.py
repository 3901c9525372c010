"""What gates number by themselves, as all gateways together saw it: numbers that came, holes among them, the last stamp.

One concern: those facts. A gate's pushes go now to one gateway, now to another, so a number missing at one of them says nothing: what
came is put together here, and a hole is one when it is still open after everybody had time to tell. What a kill leaves: numbers
that came and were not told look missing, their gate is asked, and they are known by their names. A hole is taken and
its gate hurried in one transaction, so that none is told twice or forgotten. It must never be written per event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from msgspec import Struct

from hub.kernel.ledger import gate_lists
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Numbers
from hub.kernel.store.db import Connection, sql

_DEVICES_MOST = 200
_HOLES_MOST = 20
"""Holes of one gate remembered from one look; the last of more takes in what lies between: sent again, it is known again."""


class Seen(Struct, frozen=True, kw_only=True):
    """What one process saw of one gate since it last told. `ranges`: first and last of numbers that came, in any order; `anew`: the
    gate began to count again, and before these nothing counts; `stamp`: the last one, None when there was none."""

    ranges: Sequence[tuple[int, int]] = ()
    anew: bool = False
    stamp: str | None = None


class Missing(Struct, frozen=True):
    """Numbers of a gate nothing came with, both in it."""

    device: str
    family: str
    first: int
    last: int


async def note(connection: Connection, seen: Mapping[str, Seen]) -> None:
    """Add what was seen of gates, by gate, within the caller's transaction. Of one that was never heard of nothing is kept."""
    names = sorted(seen)
    await connection.execute(
        sql.gate_numbers_note, names, [_ranges(seen[n].ranges) for n in names], [seen[n].anew for n in names], [seen[n].stamp for n in names]
    )  # fmt: skip


async def missing(core: Core, grace_s: float, gap_s: float) -> list[Missing]:
    """Holes that stood open for `grace_s` and nobody was told of before. The lists of their gates are asked for soon, at most once per
    `gap_s`."""
    async with core.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(sql.gate_numbers_missing, grace_s, _DEVICES_MOST)
        found = [Missing(**dict(row)) for row in rows]
        for device, group in groupby(found, lambda m: m.device):
            for hole in _few(list(group)):
                await gate_lists.hurry_within(connection, device, gap_s, hole)
    return found


def _few(holes: list[Missing]) -> list[Numbers]:
    few = [Numbers(h.first, h.last) for h in holes[:_HOLES_MOST]]
    return few if len(holes) <= _HOLES_MOST else [*few[:-1], Numbers(few[-1].first, holes[-1].last)]


def _ranges(ranges: Sequence[tuple[int, int]]) -> str | None:
    return "{" + ",".join(f"[{first},{last}]" for first, last in ranges) + "}" if ranges else None
