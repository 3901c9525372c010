"""Named points at transaction boundaries where a test may kill, stop or delay the process. Off, they cost one call.

Set by the environment `LIEN_THONG_FAILPOINTS`, e.g. `tx1.after=kill@0.01;tx4.inside=stop:3@1`, with a chance after `@`. It must
never change what the hub does when the variable is not set.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

POINTS = (
    "tx1.before", "tx1.inside", "tx1.after", "ack.before", "ack.after",
    "tx2.before", "tx2.inside", "tx2.after", "tx3.before", "tx3.inside", "tx3.after", "intent.inside", "intent.after", "send.before", "send.after",
    "tx4.before", "tx4.inside", "tx4.after", "settle.before", "settle.after", "carry.inside",
    "pull.inside", "pull.after", "verification.inside", "verification.after", "rejudge.inside",
    "pickup.committed", "pickup.chunk",
)  # fmt: skip


def _parse(text: str) -> dict[str, tuple[str, float, float]]:
    points: dict[str, tuple[str, float, float]] = {}
    for part in filter(None, text.split(";")):
        name, _, action = part.partition("=")
        if name not in POINTS:
            raise ValueError(f"no failpoint {name!r}")
        verb, _, chance = action.partition("@")
        verb, _, amount = verb.partition(":")
        points[name] = (verb, float(amount or 0), float(chance or 1))
    return points


def _armed(points: dict[str, tuple[str, float, float]], seed: str | None) -> Callable[[str], None]:
    dice = random.Random(seed)  # noqa: S311 - a test's dice

    def reach(name: str) -> None:
        found = points.get(name)
        if found is None or dice.random() >= found[2]:
            return
        verb, amount, _ = found
        if verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif verb == "stop":
            time.sleep(amount)
        elif verb == "fail":
            raise ConnectionError(f"failpoint {name}")

    return reach


def _off(name: str) -> None:
    return None


reach: Callable[[str], None] = (
    _armed(_parse(os.environ["LIEN_THONG_FAILPOINTS"]), os.environ.get("LIEN_THONG_FAILPOINT_SEED"))
    if os.environ.get("LIEN_THONG_FAILPOINTS")
    else _off
)
"""Call at a boundary. Replaced at import by a no-op unless failpoints are set."""
