"""The nightly comparison: current learners against what the Ministry was last given, none changed; then a hundred planted."""

from __future__ import annotations

import os
import time

from benchmarks import fill
from benchmarks.rig import SCHOOL, Figure, Meter, Rig, Stage, at_full_size, short
from hub.kernel.ledger import delta
from hub.kernel.ledger.dependencies import content_of
from hub.kernel.store.db import sql
from mappings.fieldmap import FieldMap, load_field_maps

PLANTED = 100
_FLOW, _MARK, _PART = "learners-to-ministry", "70", 100_000


async def measure(rig: Rig) -> list[Figure]:
    """Records compared per second, mapped and hashed one by one; beside it, reading the same rows and no more."""
    count = short(100_000, 1_000_000)
    async with rig.stage() as stage:
        number = await stage.connector("ministry", {}, {})
        maps = load_field_maps()
        await _filled(stage, number, count, maps["ministry.learner"])
        read_s = await _read(stage, number)
        meter = Meter(comparing=os.getpid(), postgres=rig.postgres_pid)
        began = time.perf_counter()
        found = await _whole(stage, number, maps)
        took = time.perf_counter() - began
        cpu = meter.stop()
        right = (found.compared, found.unchanged, found.queued) == (count, count, 0)
        await stage.owner.execute(
            "UPDATE given SET content = 'khác' WHERE key IN (SELECT key FROM given ORDER BY hashtext(key) LIMIT $1)",
            PLANTED,
        )
        planted = await _whole(stage, number, maps)
        queued = await stage.value("SELECT count(*) FROM deliveries WHERE cause = 'compared'")
        exact = planted.queued == PLANTED == queued
    return [
        Figure(
            path=f"nightly comparison, {count:,} unchanged learners", unit="records/s", value=count / took, bare=count / read_s,
            bare_is="the same rows read, decoded and nothing more", target="1,000,000 in minutes, sending nothing", cpu=cpu,
            met=at_full_size(right and exact and took < 600),
            note=f"{took:.0f} s; queued {found.queued}; of {PLANTED} planted differences {planted.queued} queued",
        )
    ]  # fmt: skip


async def _whole(stage: Stage, number: int, maps: dict[str, FieldMap]) -> delta.Compared:
    found = delta.Compared()
    while True:
        found.add(await delta.compare(stage.core, "bench", number, maps, after=found.next))
        if found.next is None:
            return found


async def _read(stage: Stage, number: int) -> float:
    """Seconds to read what the comparison reads."""
    began, last = time.perf_counter(), ""
    while True:
        async with stage.core.pool.acquire() as connection:
            rows = await connection.fetch(sql.delta_page, number, "learner", last, delta.PAGE, 3)
        if not rows:
            return time.perf_counter() - began
        last = rows[-1]["key"]


async def _filled(stage: Stage, number: int, count: int, field_map: FieldMap) -> None:
    """`count` current learners the Ministry was given as they are."""
    item = fill.draft(stage, "learner", fill.learner(0, _MARK))
    meta = {"event": "NEW", "version": 1, "updated_at": item.updated_at, "key": item.key}
    mapped = field_map.apply(item.body, meta, stage.core.catalogue)
    for first in range(0, count, _PART):
        part = min(_PART, count - first)
        await fill.ready(stage, number, _FLOW, part, f"{_MARK}{first // _PART:02d}")
        await stage.owner.execute("DELETE FROM deliveries")
    await stage.owner.execute("DELETE FROM streams")
    await stage.owner.execute(
        """INSERT INTO streams (type, key, version, event, content, record, school)
        SELECT 'learner', key, 1, 'NEW', content, max(id), $1 FROM records WHERE disposition = 2 GROUP BY key, content""",
        SCHOOL, timeout=600,
    )  # fmt: skip
    keys = [r["key"] for r in await stage.owner.fetch("SELECT key FROM streams ORDER BY key", timeout=600)]
    assert len(keys) == count, (len(keys), count)
    async with stage.owner.acquire() as connection:
        await connection.copy_records_to_table(
            "given",
            records=((number, "learner", k, content_of("NEW", mapped | {"mahocsinh": k}), 1, False) for k in keys),
            columns=("connector", "type", "key", "content", "version", "cancelled"),
        )
        await connection.execute("ANALYZE", timeout=600)
