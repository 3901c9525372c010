"""The last resort of a process that was told to end: whatever holds it, it is gone in time.

One concern: that time. It ends the process as a kill would, which everything in the hub survives, and tells what held it. It must
never be begun by anything but the order to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import threading

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
            stack = io.StringIO()
            task.print_stack(file=stack)
            log.error("%.1f s after it was to end there still waited %s", seconds, stack.getvalue())
    logging.shutdown()
    os._exit(1)
