"""A durable job that makes one HTTP call, with its state recorded: the hub's delivery beside procrastinate's job.

Both work off a filled queue in the same PostgreSQL (fsync and synchronous_commit on), one process each, towards the same
counterparty, with the same bytes. As a process, `python -m benchmarks.jobs '<job>'` is procrastinate's worker.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any

import aiohttp
import asyncpg
import procrastinate
import psycopg
import uvloop

from benchmarks import fill
from benchmarks.delivery import bodies, books, counterparty, ministry, worked_off
from benchmarks.rig import Figure, Meter, Proc, Rig, Stage, short, until
from hub.embedded.postgres import ADMIN, OWNER

_CONCURRENCIES = (8, 16, 32)
"""The best of these is taken for procrastinate."""
_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Authorization": "Bearer bench-token",
    "Accept": "application/json",
}


class Application:
    """A procrastinate application with one task: POST the body it was deferred with, succeed on HTTP 200."""

    def __init__(self, dsn: str, url: str, connections: int) -> None:
        connector = procrastinate.PsycopgConnector(conninfo=dsn, min_size=connections, max_size=connections)
        self.app = procrastinate.App(connector=connector)
        self.http: aiohttp.ClientSession | None = None

        @self.app.task(name="call", queue="calls")
        async def call(body: str) -> None:
            assert self.http is not None
            async with self.http.post(url, data=body.encode(), headers=_HEADERS) as reply:
                await reply.read()
                reply.raise_for_status()

        self.call = call

    async def work(self, concurrency: int) -> None:
        """Work until terminated, as its documentation would have it: `concurrency` jobs at once on one loop, done jobs kept."""
        sockets = aiohttp.TCPConnector(limit=concurrency)
        async with (
            aiohttp.ClientSession(connector=sockets, cookie_jar=aiohttp.DummyCookieJar()) as self.http,
            self.app.open_async(),
        ):
            await self.app.run_worker_async(
                queues=["calls"], concurrency=concurrency, fetch_job_polling_interval=0.2, delete_jobs="never"
            )


async def _theirs(
    rig: Rig, url: str, payloads: list[str], count: int, concurrency: int, other: Proc
) -> tuple[float, dict[str, float]]:
    """Jobs per second of procrastinate in a fresh database: from the first call seen to the last job's last event."""
    admin = await asyncpg.connect(rig.postgres.dsn("postgres", ADMIN).url)
    name = "lt_bench_jobs"
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    dsn = rig.postgres.dsn(name, OWNER).url
    target = f"{url}/api/v1/hocsinh/batch"
    made = Application(dsn, target, 4)
    async with made.app.open_async():
        await made.app.schema_manager.apply_schema_async()
        for start in range(0, count, 1_000):
            await made.call.batch_defer_async(
                *({"body": payloads[n % len(payloads)]} for n in range(start, min(count, start + 1_000)))
            )
    await admin.execute("CHECKPOINT")
    await books(url)
    job = {"dsn": dsn, "url": target, "concurrency": concurrency}
    look = await asyncpg.connect(dsn)
    worker = rig.process("jobs", ["-m", "benchmarks.jobs", json.dumps(job)], rig.env())
    try:
        done_jobs = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"

        async def begun() -> bool:
            return int(await look.fetchval(done_jobs)) > 0 or not worker.alive

        await until(begun, 30, 0.02)
        meter = Meter(procrastinate=worker.pid, postgres=rig.postgres_pid, counterparty=other.pid)

        async def done() -> bool:
            if not worker.alive:
                raise RuntimeError(worker.log.read_text(errors="replace")[-1500:])
            return int(await look.fetchval(done_jobs)) >= count

        await until(done, 120, 0.1)
        cpu = meter.stop()
        seen = await books(url)
        last = await look.fetchval("SELECT extract(epoch FROM max(at))::float8 FROM procrastinate_events")
        assert seen["records"] == count, f"{seen['records']} calls seen for {count}"
        return count / (last - seen["first"]), cpu
    finally:
        await worker.stop()
        await look.close()
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


async def _ours(
    stage: Stage, number: int, url: str, count: int, mark: str, other: Proc
) -> tuple[float, dict[str, float]]:
    await fill.ready(stage, number, "learners-to-ministry", count, mark)
    return await worked_off(stage, url, count, other)


async def measure(rig: Rig) -> list[Figure]:
    """In turns; procrastinate with each concurrency once, then its best again."""
    await rig.redis()
    count, rounds = short(4_000, 20_000), short(2, 3)
    other, url = await counterparty(rig, "ministry")
    async with rig.stage() as stage:
        number = await stage.connector("ministry", *ministry(url, 1))
        await _ours(stage, number, url, 500, "79", other)
        payloads = [
            b.replace(b"\x1f", b"\n").decode() for b in (await bodies(stage, rig.logs)).read_bytes().split(b"\n") if b
        ]
        tried = {c: (await _theirs(rig, url, payloads, short(1_500, 4_000), c, other))[0] for c in _CONCURRENCIES}
        best = max(tried, key=lambda c: tried[c])
        mine: list[float] = []
        yours: list[float] = []
        cpu: dict[str, float] = {}
        for n in range(rounds):
            rate, used = await _ours(stage, number, url, count, f"{80 + n}", other)
            mine.append(rate)
            cpu |= used
            rate, used = await _theirs(rig, url, payloads, count, best, other)
            yours.append(rate)
            cpu["procrastinate"] = used["procrastinate"]
            cpu["postgres for it"] = used["postgres"]
    await other.stop()
    value, bare = statistics.median(mine), statistics.median(yours)
    told = ", ".join(f"{c}: {r:,.0f}/s" for c, r in tried.items())
    return [
        Figure(
            path="durable job to HTTP, state recorded", unit="jobs/s", value=value, bare=bare,
            bare_is=f"procrastinate {procrastinate.__version__}, one worker process, uvloop, aiohttp, concurrency {best}", target="≥ 2×",
            met=value / bare >= 2, cpu=cpu,
            note=f"psycopg ({psycopg.pq.__impl__}); by concurrency {told}",
        )
    ]  # fmt: skip


async def _worker(job: dict[str, Any]) -> None:
    await Application(job["dsn"], job["url"], 4).work(job["concurrency"])


if __name__ == "__main__":
    uvloop.run(_worker(json.loads(sys.argv[1])))
