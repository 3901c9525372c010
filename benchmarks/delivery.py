"""Deliveries by a real worker process to a counterparty that answers at once, against the fastest client without a ledger.

The clock is the counterparty's and the database's: from the first call seen to the last delivery closed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from benchmarks import fill
from benchmarks.rig import Figure, Meter, Proc, Rig, Stage, alternate, short, until

CONCURRENCY = 16


def ministry(
    url: str, batch: int, *, concurrency: int = CONCURRENCY, per_second: int | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings and secrets of a connector to the Ministry's counterparty."""
    policy: dict[str, Any] = {"concurrency": concurrency, "batch_max": batch}
    if per_second:
        policy["quota"] = {"per_second": per_second}
    settings = {
        "name": "ministry", "system": "ministry", "transport": {"kind": "rest", "base_url": url}, "auth": {"scheme": "bearer"},
        "adapter": {"source": "000.00.12.H24"}, "policy": policy,
    }  # fmt: skip
    return settings, {"token": "bench-token"}


async def books(url: str) -> dict[str, Any]:
    """What a counterparty saw since it was last asked."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/_books") as reply:
        found: dict[str, Any] = await reply.json(content_type=None)
        return found


async def counterparty(rig: Rig, kind: str) -> tuple[Proc, str]:
    """Start one, and its address."""
    process = rig.process("counterparty", ["-m", "benchmarks.counterparty", f'{{"kind": "{kind}"}}'], rig.env())
    return process, (await process.line())["url"]


async def worked_off(
    stage: Stage, url: str, count: int, other: Proc, patience_s: float = 60.0, workers: int = 1
) -> tuple[float, dict[str, float]]:
    """Let workers deliver what is ready; gives deliveries per second and the shares of the processor."""
    rig = stage.rig
    await books(url)
    closed = await stage.value("SELECT count(*) FROM deliveries_closed")
    running = [rig.process("worker", ["-m", "hub.cli", "worker"], stage.env()) for _ in range(workers)]
    try:

        async def begun() -> bool:
            # Any look at the books clears them, so only the database is asked whether it has begun.
            return bool(await stage.value("SELECT 1 FROM deliveries WHERE state = 3 LIMIT 1")) or not running[0].alive

        await until(begun, 30, 0.01)
        names = {"worker" if workers == 1 else f"worker {n}": w.pid for n, w in enumerate(running, 1)}
        meter = Meter(**names, postgres=rig.postgres_pid, counterparty=other.pid)

        async def done() -> bool:
            for worker in running:
                if not worker.alive:
                    raise RuntimeError(worker.log.read_text(errors="replace")[-1500:])
            return int(await stage.value("SELECT count(*) FROM deliveries_closed")) - closed >= count

        await until(done, patience_s, 0.1)
        cpu = meter.stop()
        seen = await books(url)
        last = await stage.value("SELECT extract(epoch FROM max(closed_at))::float8 FROM deliveries_closed")
        states = await stage.owner.fetch("SELECT DISTINCT state FROM deliveries_closed")
        assert [r[0] for r in states] == [7], "every delivery is delivered"
        assert seen["records"] == count, f"{seen['records']} records seen for {count}"
        return count / (last - seen["first"]), cpu
    finally:
        for worker in running:
            await worker.stop()


async def bodies(stage: Stage, folder: Path) -> Path:
    """The very bodies the hub sent, one a line (line ends within a body stand as 0x1F)."""
    rows = await stage.owner.fetch("SELECT body FROM calls ORDER BY id DESC LIMIT 20000")
    target = folder / f"bodies-{stage.name}"
    target.write_bytes(b"\n".join(bytes(r[0]).replace(b"\n", b"\x1f") for r in rows))
    return target


async def raw(
    rig: Rig, url: str, path: Path, headers: dict[str, str], kind: str, connections: int, most: int | None = None
) -> dict[str, Any]:
    """Send the bodies with a client of `benchmarks.wire`; what it tells."""
    told = await rig.child(
        "wire",
        {"kind": kind, "url": url, "bodies": str(path), "headers": headers, "connections": connections, "count": 1, "most": most},
    )  # fmt: skip
    assert set(told["statuses"]) == {"200"}, told["statuses"]
    return told


class Clients:
    """The same bytes sent without a ledger, by every client there is: the fastest library and the hub's own are the limits,
    the hand-written one without checks stands beside them. `connections`: as many as the hub has calls under way."""

    def __init__(self, rig: Rig, batch: int, connections: int = CONCURRENCY) -> None:
        self._rig = rig
        self._batch = batch
        self._connections = connections
        self.rates: dict[str, list[float]] = {}
        self.cpu: dict[str, float] = {}

    async def limit(self, url: str, path: Path, headers: dict[str, str]) -> float:
        """One round; the library's rate in records a second."""
        for kind, most in (("library", None), ("closed", None), ("own", None), ("other", 1_000)):
            told = await raw(self._rig, url, path, headers, kind, self._connections, most)
            self.rates.setdefault(kind, []).append(told["per_s"] * self._batch)
            if kind in _NAMES:
                self.cpu[_NAMES[kind]] = told["cpu"]
        return self.rates["library"][-1]

    def _middle(self, kind: str) -> float:
        return median(self.rates[kind])

    def own(self) -> dict[str, float]:
        """The second limit, as a figure carries it: the hub's own client without a ledger."""
        return {OWN_IS: self._middle("own")}

    def met(self, value: float, share: float, also: bool = True) -> dict[str, bool]:
        """Whether `value` is at least `share` of each limit, and the `also` that belongs to the target holds."""
        limits = {"library": self._middle("library"), "own": self._middle("own")}
        return {name: also and value / limit >= share for name, limit in limits.items()}

    def said(self, value: float) -> str:
        """What stands beside the limit."""
        bare = self._middle("closed")
        return (
            f"{self._connections} calls at once on both sides; hand-written over httptools, no checks: {bare:,.0f}/s "
            f"(ratio {value / bare:.2f}); httpx: {self._middle('other'):,.0f}/s"
        )


LIMIT_IS = "aiohttp, the fastest client library found: same bytes, same concurrency, no ledger"
OWN_IS = "own client"
_NAMES = {"library": "aiohttp", "closed": "hand-written client", "own": "own client alone"}


async def measure(rig: Rig) -> list[Figure]:
    """One record a call, then a hundred, each by one worker and by two."""
    await rig.redis()
    figures = []
    for batch, count, workers in (
        (1, short(8_000, 60_000), 1), (1, short(8_000, 60_000), 2),
        (100, short(60_000, 300_000), 1), (100, short(60_000, 300_000), 2),
    ):  # fmt: skip
        other, url = await counterparty(rig, "ministry")
        async with rig.stage() as stage:
            number = await stage.connector("ministry", *ministry(url, batch))
            cpu: dict[str, float] = {}
            # Each worker has lanes of its own.
            clients = Clients(rig, batch, CONCURRENCY * workers)

            async def ours(n: int) -> float:
                await fill.ready(stage, number, "learners-to-ministry", count, f"{40 + n}")  # noqa: B023
                rate, used = await worked_off(stage, url, count, other, workers=workers)  # noqa: B023
                cpu.update(used)  # noqa: B023
                return rate

            async def limit(_n: int) -> float:
                path = await bodies(stage, rig.logs)
                headers = {
                    "Content-Type": "application/json; charset=utf-8",
                    "Authorization": "Bearer bench-token",
                    "Accept": "application/json",
                }
                return await clients.limit(f"{url}/api/v1/hocsinh/batch", path, headers)  # noqa: B023

            value, fastest = await alternate(3, ours, limit)
            met: bool | dict[str, bool]
            if batch == 1:
                target, met = "≥ 0.4; ≥ 2,000/s", clients.met(value, 0.4, value >= 2000)
            else:
                target, met = "≥ 10,000 records/s", value >= 10_000
            how = f"{'one record' if batch == 1 else f'{batch} records'} a call" + (
                ", two workers" if workers == 2 else ""
            )
            figures.append(
                Figure(
                    path=f"delivery to a 0-ms REST system, {how}", unit="records/s", value=value, bare=fastest, bare_is=LIMIT_IS, target=target,
                    met=met, also=clients.own(), cpu=cpu | clients.cpu, note=clients.said(value),
                )
            )  # fmt: skip
        await other.stop()
        await asyncio.sleep(0)
    return figures
