"""A backlog drained at the counterparty's quota: never above it in the counterparty's own seconds, and close below it."""

from __future__ import annotations

import asyncio
from statistics import mean

from benchmarks import fill
from benchmarks.delivery import books, counterparty, ministry
from benchmarks.rig import Figure, Meter, Rig, at_full_size, short

QUOTA = 2_000


async def measure(rig: Rig) -> list[Figure]:
    """Calls per second, one record each, as the counterparty counted them; the first and the last second are not whole.
    The target is five minutes of a million: a short run shows a miss, never a hit."""
    await rig.redis()
    seconds = short(10, 300)
    figures = []
    for quota, workers in ((500, 1), (QUOTA, 1), (QUOTA, 2)):
        other, url = await counterparty(rig, "ministry")
        async with rig.stage() as stage:
            number = await stage.connector("ministry", *ministry(url, 1, concurrency=32, per_second=quota))
            # Enough that it never runs dry; a million where the time allows it.
            await fill.ready(
                stage, number, "learners-to-ministry", short(quota * (seconds + 8), max(quota * (seconds + 8), 1_000_000)), "60"
            )  # fmt: skip
            await books(url)
            running = [rig.process("worker", ["-m", "hub.cli", "worker"], stage.env()) for _ in range(workers)]
            # Two workers share a quota fairly once each has asked a few times.
            await asyncio.sleep(3.0 if workers == 1 else 6.0)
            await books(url)
            names = {"worker" if workers == 1 else f"worker {n}": w.pid for n, w in enumerate(running, 1)}
            meter = Meter(**names, postgres=rig.postgres_pid, counterparty=other.pid)
            await asyncio.sleep(seconds + 1)
            cpu = meter.stop()
            seen = await books(url)
            for worker in running:
                await worker.stop()
            whole = [n for _, n in sorted((int(s), n) for s, n in seen["per_second"].items())][1:-1]
            figures.append(
                Figure(
                    path=f"drain at quota {quota:,}/s, one record a call" + (", two workers" if workers == 2 else ""), unit="calls/s", value=mean(whole),
                    bare=float(quota), bare_is=f"the quota; highest second {max(whole):,}, lowest {min(whole):,}, {len(whole)} seconds",
                    target="never above; ≥ 0.98 over five minutes", met=at_full_size(max(whole) <= quota and mean(whole) >= 0.98 * quota), cpu=cpu,
                )
            )  # fmt: skip
        await other.stop()
    return figures
