"""A city of 1,700 gates of all families against a whole hub: live, with a flood of history, reconnecting, with pictures.

The load and its proof are `hub simulate gates`; this module starts a hub of its own and makes figures of what it tells.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

from benchmarks.delivery import ministry
from benchmarks.rig import Figure, Rig, at_full_size, short
from benchmarks.whole import House
from hub.embedded.area import open_area, remove_area
from hub.embedded.postgres import EmbeddedPostgres
from hub.kernel.ledger import operations
from hub.kernel.ledger.core import Core
from hub.kernel.ports import Text
from hub.kernel.router import Router, load_flows
from hub.kernel.store.db import open_pool
from hub.keys import Keys
from hub.wiring import FLOWS, hasher_of
from mappings.engine import Catalogue

_GATES = 1_700
_FLAT_MB = 10.0
"""What memory may go on growing by after the first third, while thousands of pictures of 1 MB pass: allocators' noise."""


async def measure(rig: Rig) -> list[Figure]:
    """The whole load once."""
    house = House(rig)
    told_in = rig.logs / "city.json"
    process = house.start()
    try:
        await house.healthy(process)
        await _owed(house)
        env = rig.env(LT_DATA_DIR=str(house.data), LT_MASTER_KEY_FILE=str(house.key_file))
        env.pop("LT_REDIS_URL", None)
        argv = [
            "-m",
            "hub.cli",
            "simulate",
            "gates",
            "--count",
            str(_GATES),
            "--profile",
            profile(),
            "--json",
            str(told_in),
        ]
        load = rig.process("city", argv, env)
        await _ended(load, short(300, 1_500))
        if not told_in.exists():
            raise RuntimeError(load.log.read_text(errors="replace")[-2000:])
        return figures(json.loads(told_in.read_text()))
    finally:
        await process.stop(30)
        remove_area(house.data)
        shutil.rmtree(house.data, ignore_errors=True)
        house.key_file.unlink(missing_ok=True)


def profile() -> str:
    """The profile for this run's sizes."""
    return ("peak", "short")[short(1, 0)]


async def _owed(house: House) -> None:
    """A connector that is paused: every check-in owes it a delivery, and sending them is measured elsewhere."""
    keys = Keys.open(house.key_file, house.data)
    async with await open_pool(EmbeddedPostgres(open_area(house.data)).dsn().url, high=2) as pool:
        core = Core(pool, Router(load_flows(FLOWS), {}), Catalogue.load(), hasher_of(keys))
        await operations.add_connector(
            core, keys, "bench", "ministry", "ministry", *ministry("http://127.0.0.1:9", 100)
        )
        await operations.pause(core, "bench", "ministry", Text("Đo hiệu năng", "Benchmark"))


async def _ended(load: Any, patience_s: float) -> None:
    until = asyncio.get_running_loop().time() + patience_s
    while load.alive and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.2)
    await load.stop()


def _by_family(phase: dict[str, Any]) -> str:
    return ", ".join(f"{family} {p99:.0f}" for family, (_, p99) in phase["by_family"].items())


def figures(told: dict[str, Any]) -> list[Figure]:
    """The run's result as lines of the table. A run that lost, doubled or invented anything meets nothing."""
    phases = {p["name"]: p for p in told["phases"]}
    proof, reading = told["proof"], told["reading"]
    sound = not (
        proof["lost"] or proof["doubled"] or proof["strange"] or proof["differences"] or proof["unacknowledged"]
    )
    books = (
        f"{proof['acknowledged']:,} acknowledged, {proof['stored']:,} stored, lost {proof['lost']}, doubled {proof['doubled']}, "
        f"sent again {told['repeats']}, of gates that hear nothing {proof['silent'] - proof['unheard']:,} of {proof['silent']:,} stored"
    )
    sound = sound and told["settled"] and not any(p["held_back"] for p in told["phases"])
    live, flood, back, pictures = (phases[name] for name in ("live", "flood", "reconnect", "images"))
    # Patience may end before a flood does: a calm line beside events that were never released proves nothing.
    drained = flood["released"] == flood["stored"]
    # A live second has the passages at gates that are asked too; only those that pushed can have an acknowledgement.
    rate = (live["sent"] + live["listed"]) / live["seconds"]
    memory = {name: mb for name, mb in pictures["memory_mb"].items() if name in ("bridge", "gateway", "mqtt")}
    grown = sum(late - early for _, early, late in memory.values())
    families = ", ".join(f"{count} {name}" for name, count in told["families"].items())
    return [
        Figure(path=f"city of {told['gates']:,} gates, {rate:,.0f} check-ins/s live, p99 from passage to device ack", unit="ms",
               value=live["p99_ms"], target="60 s at ≤ 100 ms, none lost", met=at_full_size(live["p99_ms"] <= 100 and sound), cpu=live["cpu"],
               note=f"p50 {live['p50_ms']} ms; p99 by family {_by_family(live)}; the generator itself, counted in: late p99 {live['late_p99_ms']} ms; "
               f"{families}; registered in {told['registered_s']} s, connected in {told['connected_s']} s; {books}"),
        Figure(path=f"city: {flood['released']:,} of {flood['stored']:,} stored events released by 300 gates at once, live p99 meanwhile", unit="ms",
               value=flood["p99_ms"], bare=live["p99_ms"], bare_is="live p99 without the flood", target="500,000 at ≤ 2× quiet",
               met=at_full_size(flood["p99_ms"] <= 2 * live["p99_ms"] and drained and sound), cpu=flood["cpu"],
               note=f"p50 {flood['p50_ms']} ms; p99 by family {_by_family(flood)}; {flood['note']}"),
        Figure(path=f"city: {back['sent']:,} gates reconnecting at once, until the last one's event is acknowledged", unit="s",
               value=back["seconds"], target="≤ 10 s", met=back["seconds"] <= 10 and back["acknowledged"] == back["sent"],
               cpu=back["cpu"], note=back["note"]),
        Figure(path="city: pictures of 1 MB at 50/s, growth of bridge, gateway and broker after the first third", unit="MB", value=grown,
               target=f"flat: ≤ {_FLAT_MB:g}", met=at_full_size(grown <= _FLAT_MB and pictures["acknowledged"] == pictures["sent"]),
               cpu=pictures["cpu"],
               note=f"{pictures['acknowledged']:,} of {pictures['sent']:,} acknowledged in {pictures['seconds']:.0f} s, p99 {pictures['p99_ms']} ms; "
               "before, first third, after: " + ", ".join(f"{n} {' → '.join(f'{mb:.0f}' for mb in seen)}" for n, seen in memory.items())),
        Figure(path=f"city: {reading['gates']} gates that push nothing and are asked, age of the oldest passage when it was stored", unit="s",
               value=proof["listed_oldest_s"], target="each stored once", met=bool(proof["listed"]) and sound,
               note=f"p50 {proof['listed_p50_s']} s; {proof['listed']:,} passages listed; the last ones read {reading['waited_s']} s "
               "after the end; each asked 10 s after it was read, a few at a time by one worker"),
    ]  # fmt: skip
