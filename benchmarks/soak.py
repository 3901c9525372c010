"""The soak's load: single pushes at a steady rate for as long as is asked, never the same fact twice, in flat memory.

One concern: sending, and telling second by second how long the answers took. As a process: `python -m benchmarks.soak
'<job>'` with `url`, `headers`, `template` (a body with `%(n)08d` and `%(v)d` in it), `rate`, `seconds`, `connections`, `learners`; one JSON line out.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.rig import percentile
from benchmarks.wire import Line

_STALL_S = 0.25
_KEPT = 2_000_000


class Clock:
    """Answer times: a histogram in steps of 0.1 ms for the whole, and for every second its slowest."""

    def __init__(self) -> None:
        self._steps: Counter[int] = Counter()
        self.done = 0
        self.slowest: dict[int, float] = {}
        self.waiting: Counter[int] = Counter()

    def note(self, due: float, second: int) -> None:
        """One answer to a request that was due then."""
        took = time.perf_counter() - due
        self._steps[min(_KEPT, int(took * 10_000))] += 1
        self.done += 1
        if took > self.slowest.get(second, 0.0):
            self.slowest[second] = took
        if took > _STALL_S:
            self.waiting[second] += 1

    def percentile_ms(self, share: float) -> float:
        """The answer time that `share` of the requests stayed below."""
        left = self.done * share
        for step in sorted(self._steps):
            left -= self._steps[step]
            if left <= 0:
                return (step + 1) / 10
        return 0.0


async def soak(job: dict[str, Any]) -> dict[str, Any]:
    """Keep the rate whatever the answers do; times count from when a request should have left."""
    url = urlsplit(job["url"])
    head = f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n" + "".join(
        f"{k}: {v}\r\n" for k, v in job["headers"].items()
    )
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Line, url.hostname, url.port) for _ in range(job["connections"])]
    free: asyncio.Queue[Line] = asyncio.Queue()
    for _, line in made:
        free.put_nowait(line)
    template, learners = job["template"], job["learners"]
    clock = Clock()
    statuses: Counter[int] = Counter()
    running: set[asyncio.Task[None]] = set()
    began = time.time()
    started = time.perf_counter()

    async def one(n: int, due: float) -> None:
        line = await free.get()
        body = (template % {"n": n % learners, "v": n // learners}).encode()
        try:
            statuses[await line.send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)] += 1
            clock.note(due, int(due - started))
        except ConnectionError:
            # The gateway closed it: another one, and the push counts as unanswered.
            statuses[0] += 1
            _, line = await loop.create_connection(Line, url.hostname, url.port)
        free.put_nowait(line)

    for n in range(int(job["rate"] * job["seconds"])):
        due = started + n / job["rate"]
        while (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(one(n, due))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running, timeout=30)
    wall = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    slow = sorted(clock.slowest.values())
    return {
        "done": clock.done, "per_s": clock.done / wall, "statuses": dict(statuses), "p50_ms": clock.percentile_ms(0.5),
        "p99_ms": clock.percentile_ms(0.99), "p999_ms": clock.percentile_ms(0.999), "max_ms": 1000 * (slow[-1] if slow else 0.0),
        "median_slowest_ms": 1000 * percentile(slow, 0.5), "began": began,
        "stalls": [{"at_s": s, "slowest_ms": round(1000 * clock.slowest[s]), "waited": n} for s, n in sorted(clock.waiting.items())],
        "cpu": round((used.ru_utime + used.ru_stime) / wall, 2),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(uvloop.run(soak(json.loads(sys.argv[1])))), flush=True)
