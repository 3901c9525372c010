"""The last resort of a process that was told to end: whatever holds it, it is gone in time.

One concern: that time. It ends the process as a kill would, which everything in the hub survives, and tells where each task waited. It must
never be begun by anything but the order to end. (`faulthandler` can end a process late as well, but shows its threads alone, and what
holds one here is a task.)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger("hub.ending")


def gone_within(seconds: float) -> None:
    """End this process in so many seconds, if it has not ended by then: a thread of its own sees to it, so that neither a task
    that waits for good nor a loop that stands still can hold it. Call it within the running loop."""
    loop = asyncio.get_running_loop()
    last = threading.Timer(seconds, _end, (loop, seconds))
    last.daemon = True
    last.start()


def _end(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    with contextlib.suppress(Exception):  # looked at from beside the loop: what is told may be gone the next moment
        for task in asyncio.all_tasks(loop):
            log.error(
                "%.1f s after it was to end %s still waited in %s", seconds, task.get_name(), " > ".join(_within(task))
            )
    logging.shutdown()
    os._exit(1)


def _within(task: asyncio.Task[Any]) -> Iterator[str]:
    """Where a task waits, from its outermost call to its innermost: a task's own stack has the first alone."""
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = next((f for name in ("cr_frame", "gi_frame", "ag_frame") if (f := getattr(awaited, name, None))), None)
        if frame is None:
            yield repr(awaited)[:200]
        else:
            yield f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
        awaited = next(
            (a for name in ("cr_await", "gi_yieldfrom", "ag_await") if (a := getattr(awaited, name, None))), None
        )
