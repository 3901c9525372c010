"""The hub as a whole, as `hub run` starts it: time to the first accepted message, memory, and whether memory grows."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil

from benchmarks import fill
from benchmarks.delivery import counterparty, ministry
from benchmarks.rig import API_KEY, Figure, Meter, Proc, Rig, short
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
        until = time.monotonic() + patience_s
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until and process.alive:
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
        until = time.monotonic() + patience_s
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until and process.alive:
                try:
                    async with session.get(f"{self.url}/healthz") as reply:
                        if reply.status == 200:
                            return time.monotonic()
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise RuntimeError(process.log.read_text(errors="replace")[-1500:])

    def pids(self) -> dict[str, int]:
        """The hub's own processes by name."""
        found = read_status(self.data)
        children = found.get("children", found) if isinstance(found, dict) else {}
        return {name: int(c["pid"]) for name, c in children.items() if isinstance(c, dict) and c.get("pid")}


def _resident_mb(pids: dict[str, int]) -> dict[str, float]:
    return {name: psutil.Process(pids[name]).memory_info().rss / 1e6 for name in _HUB if name in pids}


def slope_mb_per_h(samples: list[tuple[float, float]]) -> float:
    """Least squares over (seconds, MB)."""
    n = len(samples)
    mx, my = sum(x for x, _ in samples) / n, sum(y for _, y in samples) / n
    above = sum((x - mx) * (y - my) for x, y in samples)
    below = sum((x - mx) ** 2 for x, _ in samples)
    return above / below * 3600 if below else 0.0


async def measure(rig: Rig) -> list[Figure]:
    """First start, second start, memory under load."""
    house = House(rig)
    other, url = await counterparty(rig, "ministry")
    try:
        began = time.monotonic()
        process = house.start()
        first = await house.healthy(process) - began
        await house.prepare(ministry(url, 100))
        await process.stop(30)
        began = time.monotonic()
        process = house.start()
        again = await house.first_accepted(process, 0) - began
        try:
            return [
                Figure(path="start to first accepted message", unit="s", value=again, target="≤ 5 s", met=again <= 5,
                       note=f"the very first start, which makes the database, answers after {first:.1f} s"),
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
    seconds = short(45, 3600)
    rate = 1_000
    path: Path = rig.logs / "soak"
    path.write_bytes(
        b"\n".join(
            msgspec.json.encode(fill.learner(i % 100_000, "11", full_name=f"Nguyễn Văn Mẫu {'ABCDEFGH'[i % 8]}"))
            for i in range(120_000)
        )
    )
    await asyncio.sleep(2.0)
    pids = house.pids()
    job = {"kind": "open", "url": f"{house.url}/v1/messages/learner", "bodies": str(path), "rate": rate, "seconds": seconds, "connections": 64,
           "headers": {"Content-Type": "application/json", "X-API-Key": API_KEY}}  # fmt: skip
    meter = Meter(**{name: pids[name] for name in (*_HUB, "postgres") if name in pids}, counterparty=other.pid)
    load = rig.process("wire", ["-m", "benchmarks.wire", json.dumps(job)], rig.env())
    samples: list[tuple[float, float]] = []
    started = time.monotonic()
    while load.alive and time.monotonic() - started < seconds + 60:
        samples.append((time.monotonic() - started, sum(_resident_mb(pids).values())))
        await asyncio.sleep(0.5)
    cpu = meter.stop()
    told = await load.line()
    each = _resident_mb(pids)
    total = sum(each.values())
    settled = [s for s in samples if s[0] > seconds * 0.4]
    slope = slope_mb_per_h(settled)
    grown = settled[-1][1] - settled[0][1]
    return [
        Figure(path="resident memory: gateway + bridge + one worker, under load", unit="MB", value=total, target="≤ 300 MB", met=total <= 300,
               note=", ".join(f"{n} {v:.0f}" for n, v in each.items())),
        Figure(path=f"soak: {rate:,}/s pushed and delivered for {seconds} s, growth of memory", unit="MB/h", value=slope, target="flat",
               met=None if seconds < 600 else abs(slope) < 10, cpu=cpu | {"load": told["cpu"]},
               note=f"{grown:+.1f} MB over the last {settled[-1][0] - settled[0][0]:.0f} s; {told['per_s']:.0f}/s answered, p99 {told['p99_ms']:.0f} ms"),
    ]  # fmt: skip
