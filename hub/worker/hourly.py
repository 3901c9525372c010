"""What a worker does every hour: partitions, retention, expiry, forgetting. Each step by itself.

One concern: that a step which fails keeps no other from its turn, is tried again soon, and is told: in the log, and as an
alarm where it goes on failing. Several workers may do the same at the same time. It must never decide what is kept or for
how long: the settings and the ledger do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.kernel.ledger import alarms, evidence, files, lookups, quotas, rejudge, upkeep, verifications
from hub.kernel.ledger.core import CLASSES, TRANSIENT, Core
from hub.kernel.ports import Text
from hub.settings import Settings

log = logging.getLogger("hub.worker")

KIND = "upkeep"
HOUR_S, AGAIN_S = 3600.0, 300.0
_TOLD_AFTER = 2
"""Failures in a row before a person is told: one may be a passing fault of the database."""

Step = tuple[str, Callable[[], Awaitable[Any]]]


class Steps:
    """Steps by name, each with a time of its own: an hour after it was done, some minutes after it failed."""

    def __init__(self, core: Core, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic) -> None:
        self._core = core
        self._steps = steps
        self._clock = clock
        self._due: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        self._told: frozenset[str] | None = None

    async def work(self) -> None:
        """Do what is due. Raises only where the alarm itself cannot be said, after every step had its turn."""
        for name, step in self._steps:
            if self._clock() < self._due.get(name, float("-inf")):
                continue
            try:
                await step()
            except TRANSIENT as error:
                self._missed(name)
                log.warning("upkeep: %s waits for the database: %s: %s", name, type(error).__name__, error)
            except Exception:
                self._missed(name)
                log.exception("upkeep: %s failed", name)
            else:
                self._failed.pop(name, None)
                self._due[name] = self._clock() + HOUR_S
        await self._tell()

    def _missed(self, name: str) -> None:
        self._failed[name] = self._failed.get(name, 0) + 1
        self._due[name] = self._clock() + AGAIN_S

    async def _tell(self) -> None:
        """Say what goes on failing here: again and again while it does, since another worker whose steps succeed takes it back;
        that all is well once. A process that has just begun and failed knows nothing better than what stands."""
        failing = frozenset(name for name, times in self._failed.items() if times >= _TOLD_AFTER)
        if self._told is None and self._failed and not failing:
            return
        if failing or failing != self._told:
            await alarms.report(self._core, KIND, [_alarm(name) for name in sorted(failing)])
            self._told = failing


def _alarm(name: str) -> alarms.Alarm:
    text = Text(
        f"Việc bảo trì hằng giờ “{name}” thất bại nhiều lần liên tiếp; nhật ký của tiến trình worker nói vì sao.",
        f"The hourly upkeep “{name}” has failed several times in a row; the worker's log says why.",
    )
    return alarms.Alarm(KIND, name, text)


class Hourly:
    """The steps themselves, over one ledger and one set of settings."""

    def __init__(self, core: Core, settings: Settings) -> None:
        self._core = core
        self._settings = settings
        kept = settings.retention
        by_class = {"short": kept.short_days, "standard": kept.standard_days, "long": kept.long_days}
        self._work = Steps(
            core,
            [
                ("partitions", self._partitions),
                ("anchor", self._anchor),
                ("orphans", self._orphans),
                *((f"drop_{name}", self._drop(CLASSES[name], days)) for name, days in by_class.items()),
                *((f"bodies_{name}", self._expire(CLASSES[name])) for name in by_class),
                ("keys", lambda: upkeep.forget_keys(core, settings.intake.key_days)),
                ("quotas", lambda: quotas.forget(core)),
                ("passages", lambda: rejudge.forget(core, datetime.now(UTC) - timedelta(days=kept.short_days))),
                ("conversations", lambda: lookups.tidy(core)),
                ("verifications", lambda: verifications.forget(core, kept.long_days)),
                ("files", lambda: files.forget(core, settings.files.unlinked_days, kept.long_days)),
            ],
        )

    async def work(self) -> None:
        """Do what is due; to be called every minute or so."""
        await self._work.work()

    async def _partitions(self) -> None:
        made, strays = await upkeep.make_partitions(self._core, self._settings.retention.ahead_days)
        if made:
            log.info("made %d partitions", made)
        stray = Text(
            f"{strays} dòng nằm trong phân vùng mặc định: phân vùng theo ngày không có kịp.",
            f"{strays} rows stand in DEFAULT partitions: the days' partitions were not there in time.",
        )
        await alarms.report(self._core, "partitions", [alarms.Alarm("partitions", "default", stray)] if strays else [])

    async def _anchor(self) -> None:
        anchor = await evidence.anchor(self._core)
        if anchor is not None:
            # The log is one more place outside the database that keeps it.
            log.warning("anchor of %s: seal %d, chain %s", anchor["day"], anchor["seal"], anchor["chain"].hex())

    async def _orphans(self) -> None:
        orphans = await upkeep.promote_orphans(self._core)
        if orphans:
            log.error("%d held deliveries had nothing before them and were promoted", orphans)

    def _drop(self, number: int, days: int) -> Callable[[], Awaitable[None]]:
        async def drop() -> None:
            today = await upkeep.today(self._core)
            dropped = await upkeep.drop_partitions(self._core, number, today - timedelta(days=days))
            if dropped:
                log.info("dropped %d partitions of class %d older than %d days", len(dropped), number, days)

        return drop

    def _expire(self, number: int) -> Callable[[], Awaitable[None]]:
        async def expire() -> None:
            gone = await upkeep.expire_bodies(self._core, number, self._settings.retention.body_days)
            if gone:
                log.info("%d bodies of class %d have gone", gone, number)

        return expire
