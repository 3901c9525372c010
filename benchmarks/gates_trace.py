"""Where a check-in's time goes: the bridge with a clock at each step, and the shares of the median and of the slowest.

One concern: those times. The bridge is the hub's own, subclassed where a batch begins and ends; statements are timed by
the database client's own hook. It must never be what a figure is taken from: looking costs time too.
As a process: `python -m benchmarks.gates_trace <file>` runs a bridge until SIGTERM and then writes what it saw.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from benchmarks.rig import run_delay_s
from hub.kernel.intake import Accepted
from hub.worker.bridge import Bridge
from hub.worker.bridge_items import Item
from hub.worker.bridge_lanes import Lane

STAGES = ("late", "to the bridge", "until its batch", "ledger", "of it COMMIT", "back")
"""Late: written after its due moment by the generator. The last but one is a part of the one before it."""

_batch: ContextVar[dict[str, float] | None] = ContextVar("batch", default=None)
_seen: dict[str, tuple[float, float, float, float, float]] = {}
"""By event: received, batch taken, committed, of that in COMMIT, of that the bridge waited for a core."""


class Traced(Bridge):
    """The bridge, noting when each batch was taken and when it was committed."""

    async def _commit(self, items: list[Item], lane: Lane[Item]) -> None:
        token = _batch.set({"taken": time.perf_counter(), "commit": 0.0, "delay": run_delay_s()})
        try:
            await super()._commit(items, lane)
        finally:
            _batch.reset(token)

    def _finish(self, items: list[Item], answers: Sequence[Accepted] = ()) -> None:
        at, batch = time.perf_counter(), _batch.get()
        super()._finish(items, answers)
        if batch is None:
            return
        delay, ago = run_delay_s() - batch["delay"], time.time() - time.perf_counter()
        for item in items:
            for ack in item.acks:
                for name in json.loads(ack.payload).get("ack", ()):
                    _seen[name] = item.delivered.received_at - ago, batch["taken"], at, batch["commit"], delay


def _timed(record: Any) -> None:
    batch = _batch.get()
    if batch is not None and record.query.startswith("COMMIT"):
        batch["commit"] += record.elapsed


def shares(gates: Mapping[str, Sequence[float]], bridge: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Mean milliseconds of each stage for the events around the median and for the slowest hundredth, and how long the
    bridge waited for a core meanwhile (`no core`). `gates`: due, written and acknowledged, by event; `bridge`: as written."""
    whole = sorted(
        (
            acked - due,
            (written - due, received - written, taken - received, done - taken, commit, acked - done, delay),
        )
        for name, (due, written, acked) in gates.items()
        if name in bridge
        for received, taken, done, commit, delay in (bridge[name],)
    )
    count = len(whole)
    parts = {
        "median": whole[int(count * 0.45) : max(1, int(count * 0.55))],
        "slowest hundredth": whole[int(count * 0.99) :],
    }
    return {
        part: {
            stage: round(sum(values[place] for _, values in rows) / len(rows) * 1000, 1)
            for place, stage in enumerate((*STAGES, "no core"))
        }
        for part, rows in parts.items()
        if rows
    }


def told(found: Mapping[str, Mapping[str, float]]) -> str:
    """The shares as one line for the table."""
    if not found:
        return "no times were taken"
    stages = ", ".join(
        f"{stage} {' | '.join(f'{values[stage]:.1f}' for values in found.values())}" for stage in (*STAGES, "no core")
    )
    return f"traced, ms, {' | '.join(found)}: {stages}"


def main(path: Path) -> None:
    """Run the bridge until SIGTERM, then write what was seen."""
    from hub import lean

    lean.leave_out()
    import uvloop

    import hub.wiring as wiring
    from hub.cli import _settings
    from hub.worker import gates

    warm = wiring.warm

    async def watched(connection: Any) -> None:
        await warm(connection)
        connection.add_query_logger(_timed)

    wiring.warm = watched
    gates.Bridge = Traced  # type: ignore[misc]
    try:
        uvloop.run(gates.main(_settings()))
    finally:
        path.write_text(json.dumps(_seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
