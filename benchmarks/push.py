"""REST intake by a real gateway process: single pushes against one INSERT and commit a request, and one bulk body."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from benchmarks import bare, fill
from benchmarks.delivery import ministry
from benchmarks.rig import API_KEY, Figure, Meter, Proc, Rig, Stage, alternate, at_full_size, short
from hub.embedded.process import free_port

CONNECTIONS = 32
_STORED = "SELECT count(*) FROM records WHERE message > $1"
_HEAD = {"Content-Type": "application/json", "X-API-Key": API_KEY}


async def gateway(stage: Stage) -> tuple[Proc, str]:
    """The hub's gateway with the bare route beside its own; its process and address."""
    port = free_port()
    process = stage.rig.process("gateway", ["-m", "benchmarks.server"], stage.env(LT_HTTP__PORT=str(port)))
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            try:
                async with session.get(f"{url}/healthz") as reply:
                    if reply.status == 200:
                        return process, url
            except aiohttp.ClientError:
                pass
            if not process.alive:
                break
            await asyncio.sleep(0.05)
    raise RuntimeError(process.log.read_text(errors="replace")[-1500:])


def _file(rig: Rig, name: str, items: list[dict[str, Any]]) -> Path:
    path = rig.logs / name
    with path.open("wb") as file:
        file.write(b"\n".join(msgspec.json.encode(i) for i in items))
        # Now, and not half a minute later, in the middle of what is measured: tens of megabytes hold up every commit.
        os.fsync(file.fileno())
    return path


async def measure(rig: Rig) -> list[Figure]:
    """Throughput of single pushes, their tail at 500 a second, and the bulk body."""
    await rig.redis()
    async with rig.stage() as stage:
        await bare.prepare(stage)
        await stage.owner.execute(
            "GRANT USAGE ON SCHEMA bare TO hub_app; GRANT ALL ON ALL TABLES IN SCHEMA bare TO hub_app"
        )
        await stage.connector("ministry", *ministry("http://127.0.0.1:9", 100))
        await stage.client()
        process, url = await gateway(stage)
        try:
            return [*await _single(rig, stage, process, url), await _bulk(rig, stage, process, url)]
        finally:
            await process.stop()


async def _single(rig: Rig, stage: Stage, process: Proc, url: str) -> list[Figure]:
    seconds = short(2, 8)
    shares: dict[str, float] = {}

    async def drive(
        path: str, name: str, n: int, kind: str = "closed", **more: Any
    ) -> tuple[dict[str, Any], dict[str, float]]:
        items = [fill.learner(i, f"{n}{name}") for i in range(short(20_000, 100_000) if kind == "closed" else 10_000)]
        bodies = str(_file(rig, f"push-{name}-{n}", items))
        job = {
            "kind": kind,
            "url": url + path,
            "bodies": bodies,
            "headers": _HEAD,
            "connections": CONNECTIONS,
            "seconds": seconds,
        }
        meter = Meter(gateway=process.pid, postgres=rig.postgres_pid)
        told = await rig.child("wire", job | more)
        used = meter.stop(told["wall_s"]) | {"load": told["cpu"]}
        assert set(told["statuses"]) == {"202"}, told["statuses"]
        return told, used

    await drive("/v1/messages/learner", "w", 1, seconds=1)

    async def limit(n: int) -> float:
        return float((await drive("/bare", "b", n))[0]["per_s"])

    async def ours(n: int) -> float:
        told, used = await drive("/v1/messages/learner", "p", n)
        shares.update(used)
        return float(told["per_s"])

    value, floor = await alternate(5, ours, limit)
    # What a quarter of a million pushes left to be written is written half a minute later: that is the burst's tail, not this one's.
    await rig.checkpoint()
    calm, calm_used = await drive("/v1/messages/learner", "q", 5, "open", rate=500, connections=64)
    return [
        Figure(path="REST single push, durable", unit="pushes/s", value=value, bare=floor, bare_is="same server, one INSERT + commit a request, nothing else",
               target="≥ 1.0", met=value / floor >= 1.0, cpu=shares),
        Figure(path="REST single push at 500/s, p99", unit="ms", value=calm["p99_ms"], target="≤ 25 ms", met=calm["p99_ms"] <= 25,
               cpu=calm_used, note=f"p50 {calm['p50_ms']:.1f} ms; {calm['per_s']:.0f}/s answered"),
    ]  # fmt: skip


async def _bulk(rig: Rig, stage: Stage, process: Proc, url: str) -> Figure:
    count = short(20_000, 100_000)
    chunk = 500
    cpu: dict[str, float] = {}
    since = {"id": 0}

    async def ours(n: int) -> float:
        lines = (msgspec.json.encode(fill.learner(i, f"9{n}")) for i in range(count))
        body = rig.logs / f"bulk-{n}"
        body.write_bytes(b"\x1f".join(lines))
        since["id"] = await stage.value("SELECT coalesce(max(id), 0) FROM messages")
        meter = Meter(gateway=process.pid, postgres=rig.postgres_pid)
        headers = {"Content-Type": "application/x-ndjson", "X-API-Key": API_KEY, "Idempotency-Key": f"bulk-{n}"}
        job = {
            "kind": "closed", "url": f"{url}/v1/messages/learner", "bodies": str(body), "headers": headers, "connections": 1, "count": 1,
        }  # fmt: skip
        told = await rig.child("wire", job, patience_s=300)
        cpu.update(meter.stop(told["wall_s"]) | {"load": told["cpu"]})
        stored = await stage.value(_STORED, since["id"])
        assert set(told["statuses"]) == {"202"} and stored == count, (told["statuses"], stored)
        return count / float(told["wall_s"])

    async def limit(n: int) -> float:
        batches = await bare.written(stage, since["id"], 1)
        lines = [msgspec.json.encode(fill.learner(i, f"9{n}")) for i in range(count)]
        started = time.perf_counter()
        for first in range(0, count, chunk):
            for line in lines[first : first + chunk]:
                msgspec.json.decode(line)
        decoding = time.perf_counter() - started
        return count / (decoding + await bare.copy(stage, batches, 1))

    value, floor = await alternate(short(4, 3), ours, limit)
    return Figure(
        path=f"bulk push of {count:,} learners: validated, standardised, routed, durable", unit="learners/s", value=value, bare=floor,
        bare_is="decode + COPY of the same rows, one lane", target="≥ 0.35; ≥ 8,000/s", met=at_full_size(value / floor >= 0.35 and value >= 8000), cpu=cpu,
    )  # fmt: skip
