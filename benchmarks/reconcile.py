"""A reconciliation: a million records here against a million there, a hundred planted differences; beside it a bare COPY and join."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.rig import Figure, Meter, Rig, Stage, at_full_size, short
from hub.kernel.ledger import reconcile
from hub.kernel.ledger.reconcile import Listed, Run
from hub.kernel.store.db import sql

PLANTED = 100
_CLASS, _SCHOOL, _PART = 40, 1_000, 10_000
_BARE = "CREATE UNLOGGED TABLE bare_{0} (key text, content bytea)"
_JOIN = "SELECT count(*) FROM bare_1 a FULL JOIN bare_2 b USING (key) WHERE a.content IS DISTINCT FROM b.content"


def _listed(n: int, mark: int = 0) -> Listed:
    content = (n * 2_654_435_761 + mark).to_bytes(16, "big")
    return Listed(f"HS{n:010d}", 1, f"31HP{n // _SCHOOL:07d}", f"{n // _CLASS % 25}A", content)


def _parts(count: int, changed: dict[int, str]) -> Iterator[list[Listed]]:
    """The counterparty's side: without what is missing, otherwise what differs, beside what is there alone."""
    for first in range(0, count, _PART):
        part = [
            _listed(n, int(changed.get(n) == "differs"))
            for n in range(first, min(first + _PART, count))
            if changed.get(n) != "missing"
        ]
        part += [
            _listed(n + 10_000_000_000, 0) for n in range(first, min(first + _PART, count)) if changed.get(n) == "more"
        ]
        yield part


async def measure(rig: Rig) -> list[Figure]:
    """Records of both sides per second, hashed, staged and compared; both sides come from memory."""
    count = short(100_000, 1_000_000)
    chosen = random.Random(7).sample(range(count), PLANTED)
    changed = {n: ("missing", "differs", "more")[i % 3] for i, n in enumerate(chosen)}
    async with rig.stage() as stage:
        number = await stage.connector("ministry", {}, {})
        bare_s = await _bare(stage, count, changed)
        run = await reconcile.begin(stage.core, "bench", "bench", number, "learner")
        meter = Meter(comparing=os.getpid(), postgres=rig.postgres_pid)
        began = time.perf_counter()
        run = await _gather(stage, run, count, changed)
        gathered_s = time.perf_counter() - began
        run = await reconcile.conclude(stage.core, run.id)
        took = time.perf_counter() - began
        cpu = meter.stop()
        rows = await reconcile.differences(stage.core, run.id, ("", ""), 10 * PLANTED)
        found = {(r["key"], r["kind"]) for r in rows}
        kinds = {"missing": "missing_there", "differs": "differs", "more": "missing_here"}
        wanted = {
            (_listed(n + (10_000_000_000 if what == "more" else 0)).key, kinds[what]) for n, what in changed.items()
        }
    return [
        Figure(
            path=f"reconciliation, {count:,} against {count:,}", unit="records/s", value=2 * count / took, bare=2 * count / bare_s,
            bare_is="both sides copied into bare tables and joined once", target=f"1,000,000 each: exactly the {PLANTED} planted", cpu=cpu,
            met=at_full_size(found == wanted and len(rows) == PLANTED),
            note=f"{took:.1f} s, of which comparing {took - gathered_s:.1f} s; found {len(rows)}, all as planted: {found == wanted}; bare {bare_s:.1f} s",
        )
    ]  # fmt: skip


async def _gather(stage: Stage, run: Run, count: int, changed: dict[int, str]) -> Run:
    """Theirs as a listing would bring it; ours by the same way in, without reading and mapping, which `delta` measures."""
    for n, part in enumerate(_parts(count, changed)):
        run = await reconcile.stage_theirs(stage.core, run, part, str(n), False)
    run = await reconcile.stage_theirs(stage.core, run, [], None, True)
    for n, part in enumerate(_parts(count, {})):
        run = await reconcile.stage(
            stage.core, run, sql.reconcile_ours, run.ours_after, str(n), False, reconcile.rows_of(run.id, 1, part)
        )
    return await reconcile.stage(stage.core, run, sql.reconcile_ours, run.ours_after, "end", True, [])


async def _bare(stage: Stage, count: int, changed: dict[int, str]) -> float:
    began = time.perf_counter()
    async with stage.owner.acquire() as connection:
        sides: tuple[dict[int, str], ...] = ({}, changed)
        for side, what in enumerate(sides, start=1):
            await connection.execute(_BARE.format(side))
            for part in _parts(count, what):
                rows: list[Any] = [(x.key, x.content) for x in part]
                await connection.copy_records_to_table(f"bare_{side}", records=rows)
        assert await connection.fetchval(_JOIN, timeout=600) == PLANTED
    return time.perf_counter() - began
