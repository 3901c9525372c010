"""A process of the hub whose clock is wrong: `python -m tests.chaos.skewed <seconds> <command>`.

One concern: shifting what the process takes for the time of day (`time.time`, `datetime.now` and their kin); time that is measured,
not read, goes on as ever. It must never be used for anything but the tests beside it.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import time_machine

if __name__ == "__main__":
    shifted = time_machine.travel(datetime.now(UTC) + timedelta(seconds=float(sys.argv[1])), tick=True)
    shifted.start()
    from hub.cli import main

    sys.argv = ["hub", *sys.argv[2:]]
    main()
