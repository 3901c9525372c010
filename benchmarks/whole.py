"""The hub as a whole, as `hub run` starts it: time to the first accepted message, memory, and whether memory grows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec

from benchmarks import fill
from benchmarks.delivery import counterparty, ministry
from benchmarks.rig import API_KEY, Figure, Meter, Proc, Rig, short, until
from hub.embedded.area import open_area, remove_area
from hub.embedded.postgres import EmbeddedPostgres
from hub.embedded.process import free_port
from hub.embedded.supervisor import read_status
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import operations, parties
from hub.kernel.ledger.core import Core
from hub.kernel.router import Router, load_flows
from hub.kernel.store.db import open_pool
from hub.keys import Keys
from hub.wiring import FLOWS, hasher_of
from mappings.engine import Catalogue

_HUB = ("gateway", "bridge", "worker-1")
_RATE = 1_000
_GATES, _CHECKINS = 100, 200
"""Gates that pass check-ins through the bridge beside the pushes, and how many a second: an idle bridge is no bridge under load."""
_FLAT_MB_H = 20.0
"""What growth may be at most, two standard errors above the slope: a noisy soak shows nothing, and does not pass for flat."""


_LIVE = re.compile(r"^live:.*?([\d,]+)/([\d,]+) \(([\d,]+)/s\)", re.M)


class House:
    """A hub of its own in a data folder of its own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.data = rig.data.with_name(rig.data.name + "-whole")
        self.key_file = rig.data.with_name(rig.data.name + "-whole.key")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> Proc:
        """`hub run` without Airflow, which nothing waits for."""
        env = self.rig.env(
            LT_DATA_DIR=str(self.data), LT_MASTER_KEY_FILE=str(self.key_file), LT_HTTP__PORT=str(self.port)
        )
        env.pop("LT_REDIS_URL", None)
        return self.rig.process("hub", ["-m", "hub.cli", "run"], env)

    async def prepare(self, connector: tuple[dict[str, Any], dict[str, str]]) -> None:
        """A school, a client and a connector, as an administrator makes them."""
        from benchmarks.rig import SCHOOL
        from hub.api.auth import secret_digest

        keys = Keys.open(self.key_file, self.data)
        async with await open_pool(EmbeddedPostgres(open_area(self.data)).dsn().url, high=2) as pool:
            core = Core(pool, Router(load_flows(FLOWS), {}), Catalogue.load(), hasher_of(keys))
            digest = secret_digest(keys, API_KEY)
            await parties.add_client(core, "bench", "bench", "Đo hiệu năng", digest, digest, EVERYWHERE, ["push"])
            await operations.add_connector(core, keys, "bench", "ministry", "ministry", *connector)
            school = {"data": {"school_code": SCHOOL, "name": "Trường mẫu", "ward": "10507", "level": "03"}}
            await pool.execute(
                "INSERT INTO schools (code, name, ward, level) VALUES ($1, $2, '10507', '03')",
                SCHOOL,
                school["data"]["name"],
            )

    async def first_accepted(self, process: Proc, number: int, patience_s: float = 60.0) -> float:
        """Push one learner until it is accepted."""
        body = msgspec.json.encode(fill.learner(number, "10"))
        headers = {"Content-Type": "application/json", "X-API-Key": API_KEY}
        ends = time.monotonic() + patience_s
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < ends and process.alive:
                try:
                    async with session.post(f"{self.url}/v1/messages/learner", data=body, headers=headers) as reply:
                        if reply.status == 202:
                            return time.monotonic()
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise RuntimeError(process.log.read_text(errors="replace")[-1500:])

    async def healthy(self, process: Proc, patience_s: float = 60.0) -> float:
        """Wait for the gateway."""
        ends = time.monotonic() + patience_s
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < ends and process.alive:
                try:
                    async with session.get(f"{self.url}/healthz") as reply:
                        if reply.status == 200:
                            return time.monotonic()
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise RuntimeError(process.log.read_text(errors="replace")[-1500:])

    async def delivered(self) -> int:
        """Learners' deliveries the ledger has closed as delivered."""
        connection = await asyncpg.connect(EmbeddedPostgres(open_area(self.data)).dsn().url)
        try:
            return int(
                await connection.fetchval(
                    "SELECT count(*) FROM hub.deliveries_closed WHERE state = 7 AND flow = 'learners-to-ministry'"
                )
            )
        finally:
            await connection.close()

    def pids(self) -> dict[str, int]:
        """The hub's own processes by name."""
        found = read_status(self.data)
        children = found.get("children", found) if isinstance(found, dict) else {}
        return {name: int(c["pid"]) for name, c in children.items() if isinstance(c, dict) and c.get("pid")}


def memory_mb(pids: dict[str, int]) -> dict[str, tuple[float, float]]:
    """Resident and proportional size of each of the hub's processes. Shared libraries count whole in the first, by
    share in the second."""
    found = {}
    for name in _HUB:
        with contextlib.suppress(OSError, KeyError):
            sizes = dict(
                line.split()[:2] for line in Path(f"/proc/{pids[name]}/smaps_rollup").read_text().splitlines()[1:]
            )
            found[name] = (int(sizes["Rss:"]) * 1024 / 1e6, int(sizes["Pss:"]) * 1024 / 1e6)
    return found


def slope_per_h(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """Least squares over (seconds, MB): growth in MB an hour, and its standard error, which says whether it is any."""
    n = len(samples)
    mx, my = sum(x for x, _ in samples) / n, sum(y for _, y in samples) / n
    below = sum((x - mx) ** 2 for x, _ in samples)
    if n < 3 or not below:
        return 0.0, 0.0
    slope = sum((x - mx) * (y - my) for x, y in samples) / below
    rest = sum((y - my - slope * (x - mx)) ** 2 for x, y in samples)
    return slope * 3600, math.sqrt(rest / (n - 2) / below) * 3600


def warm_s(seconds: float) -> float:
    """How much of a soak is left out before memory is watched: a third of it, a minute at least where it is long enough.
    By then caches, pools and heaps have the size they keep."""
    return max(seconds / 3, min(60.0, seconds / 2))


def flat(growth: float, error: float) -> bool:
    """Whether memory (MB an hour, with the standard error of the slope) has been shown not to grow."""
    return growth + 2 * error < _FLAT_MB_H


async def measure(rig: Rig) -> list[Figure]:
    """First start, second start, memory under load."""
    house = House(rig)
    other, url = await counterparty(rig, "ministry")
    try:
        began = time.monotonic()
        process = house.start()
        ready = await house.healthy(process) - began
        await house.prepare(ministry(url, 100))
        # What an administrator needs for the first client and school is nobody's start.
        prepared = time.monotonic()
        first = ready + await house.first_accepted(process, 1) - prepared
        await process.stop(30)
        began = time.monotonic()
        process = house.start()
        again = await house.first_accepted(process, 0) - began
        try:
            return [
                Figure(path="start on existing data to first accepted message", unit="s", value=again, target="≤ 5 s", met=again <= 5),
                Figure(path="very first start, which makes the database, to first accepted message", unit="s", value=first,
                       target="≤ 5 s", met=first <= 5,
                       note=f"the gateway answers after {ready:.1f} s; making the first client and school is not counted"),
                *await _soak(rig, house, other),
            ]  # fmt: skip
        finally:
            await process.stop(30)
    finally:
        await other.stop()
        remove_area(house.data)
        shutil.rmtree(house.data, ignore_errors=True)
        house.key_file.unlink(missing_ok=True)


async def _soak(rig: Rig, house: House, other: Proc) -> list[Figure]:
    """Push and deliver at a steady rate while gates pass check-ins; what memory does once caches and pools have filled."""
    seconds = int(os.environ.get("SOAK_SECONDS") or short(180, 3600))
    body = fill.learner(12_345_678, "11", full_name="Nguyễn Văn Mẫu VVV")
    template = (
        msgspec.json.encode(body).decode().replace("%", "%%").replace("12345678", "%(n)08d").replace("VVV", "%(v)d")
    )
    job = {"url": f"{house.url}/v1/messages/learner", "template": template, "rate": _RATE, "seconds": seconds, "connections": 64, "learners": 50_000,
           "headers": {"Content-Type": "application/json", "X-API-Key": API_KEY}}  # fmt: skip
    await asyncio.sleep(2.0)
    pids = house.pids()
    idle = memory_mb(pids)
    gates = await _gates(rig, house, seconds)
    before = await house.delivered()
    meter = Meter(
        **{name: pids[name] for name in (*_HUB, "postgres") if name in pids}, counterparty=other.pid, gates=gates.pid
    )
    load = rig.process("soak", ["-m", "benchmarks.soak", json.dumps(job)], rig.env())
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in idle}
    peak: dict[str, tuple[float, float]] = {}
    started = time.monotonic()
    while load.alive and time.monotonic() - started < seconds + 60:
        at = time.monotonic() - started
        for name, (rss, pss) in memory_mb(pids).items():
            samples[name].append((at, pss))
            peak[name] = max(peak.get(name, (0.0, 0.0)), (rss, pss))
        await asyncio.sleep(1.0)
    cpu = meter.stop()
    told = await load.line()
    delivered = await house.delivered() - before
    passed = await _passed(gates)
    warm = warm_s(seconds)
    settled = {name: [s for s in found if warm <= s[0] <= seconds] for name, found in samples.items()}
    slopes = {name: slope_per_h(found) for name, found in settled.items()}
    growth, error = sum(s for s, _ in slopes.values()), math.hypot(*(e for _, e in slopes.values()))
    resident, shared = sum(r for r, _ in peak.values()), sum(p for _, p in peak.values())
    stalls = ", ".join(f"{s['slowest_ms']} ms at {s['at_s']} s" for s in told["stalls"][:5])
    return [
        Figure(path="resident memory: gateway + bridge + one worker, highest under load", unit="MB", value=resident, target="≤ 300 MB", met=resident <= 300,
               note=f"{_RATE:,} pushes/s delivered beside {passed}; "
               + ", ".join(f"{n} {r:.0f}" for n, (r, _) in peak.items())
               + f"; shared pages by share (PSS) {shared:.0f}; before any load {sum(r for r, _ in idle.values()):.0f}"),
        Figure(path=f"soak: {_RATE:,}/s pushed and delivered for {seconds} s, growth of memory", unit="MB/h", value=growth,
               target=f"flat: slope + 2 errors < {_FLAT_MB_H:.0f}", met=None if seconds < 600 else flat(growth, error), cpu=cpu | {"load": told["cpu"]},
               note=f"± {error:.0f}, the first {warm:.0f} s left out; "
               + ", ".join(f"{n} {s:+.0f} ± {e:.0f}" for n, (s, e) in slopes.items())
               + f"; {told['per_s']:.0f}/s answered, {delivered:,} of {told['done']:,} delivered by the end; beside {passed}"),
        Figure(path=f"soak: answer to a push at {_RATE:,}/s, p99", unit="ms", value=told["p99_ms"], target="", cpu={"load": told["cpu"]},
               note=f"p50 {told['p50_ms']:.1f}, p99.9 {told['p999_ms']:.0f}, slowest {told['max_ms']:.0f}; "
               + (f"{len(told['stalls'])} seconds with an answer slower than 250 ms: {stalls}" if stalls else "no answer slower than 250 ms")),
    ]  # fmt: skip


async def _gates(rig: Rig, house: House, seconds: float) -> Proc:
    """Gates of all families passing check-ins from now on, for as long as the soak lasts; returned once they are connected."""
    env = rig.env(LT_DATA_DIR=str(house.data), LT_MASTER_KEY_FILE=str(house.key_file))
    env.pop("LT_REDIS_URL", None)
    options = {"--count": _GATES, "--profile": "calm", "--rate": _CHECKINS, "--seconds": seconds}
    argv = [text for name, value in options.items() for text in (name, str(value))]
    load = rig.process("gates", ["-m", "hub.cli", "simulate", "gates", *argv], env)

    async def connected() -> bool:
        if not load.alive:
            raise RuntimeError(load.log.read_text(errors="replace")[-1500:])
        return "MQTT gates connected" in load.log.read_text(errors="replace")

    await until(connected, 60)
    return load


async def _passed(gates: Proc) -> str:
    """What the gates told of their passages. Raises TimeoutError, or RuntimeError when they told nothing."""

    async def ended() -> bool:
        return not gates.alive

    await until(ended, 120)
    text = gates.log.read_text(errors="replace")
    found = _LIVE.search(text)
    if found is None:
        raise RuntimeError(text[-1500:])
    return f"{found[1]} of {found[2]} check-ins of {_GATES} gates, {found[3]}/s"
