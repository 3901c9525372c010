"""A day's quota that is used up closes a recovery until the next day; a recovery that takes too long raises one alarm."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI

from hub.api import problems
from hub.api.control import control_token, router
from hub.kernel.ledger import alarms, quotas, recovery
from hub.keys import Keys
from hub.worker import recovery_watch

KEYS = Keys(bytes(range(32)))
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


class _Hub:
    keys = KEYS

    def __init__(self, core: Any) -> None:
        self.core = core


def _client(core: Any) -> httpx.AsyncClient:
    app = FastAPI()
    problems.install(app)
    app.include_router(router)
    app.state.hub = _Hub(core)
    headers = {"Authorization": f"Bearer {control_token(KEYS)}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub/control/v1", headers=headers)


async def _policy(bench: Any, policy: dict[str, Any]) -> None:
    await bench.sql("UPDATE connectors SET settings = jsonb_build_object('policy', $1::jsonb) WHERE id = 1", policy)


def test_a_used_up_day_closes_until_the_next_and_the_calendar_still_counts(bench: Any) -> None:
    async def run() -> None:
        async with bench() as b, _client(b.core) as client:
            await recovery.open_recovery(b.core, "portal", "HTTP 503")
            await b.sql("INSERT INTO quotas (connector) VALUES (1) ON CONFLICT DO NOTHING")
            await _policy(b, {"quota": {"per_day": 3}})

            async def told() -> tuple[bool, datetime | None]:
                row = (await client.get("/recoveries/portal")).json()["recovery"]
                (listed,) = (await client.get("/recoveries")).json()["items"]
                assert (row["open"], row["opens_at"]) == (listed["open"], listed["opens_at"])
                return row["open"], datetime.fromisoformat(row["opens_at"]) if row["opens_at"] else None

            assert await told() == (True, None)
            ask = quotas.Ask(per_second=None, per_day=3)
            assert (await quotas.renew(b.core, 1, ask, 2)).calls == 2
            assert await told() == (True, None)
            assert (await quotas.renew(b.core, 1, ask, 2)).calls == 1
            opened, at = await told()
            midnight = datetime.combine(datetime.now(ZONE).date() + timedelta(days=1), datetime.min.time(), ZONE)
            assert (opened, at) == (False, midnight)
            # Anew at midnight, and yet not before the counterparty opens.
            await _policy(b, {"quota": {"per_day": 3}, "calendar": {"hours": ["07:30-17:00"]}})
            assert await told() == (False, midnight + timedelta(hours=7, minutes=30))
            # Yesterday's calls do not count.
            await _policy(b, {"quota": {"per_day": 3}})
            await b.sql("UPDATE quotas SET day = day - 1 WHERE connector = 1")
            assert await told() == (True, None)

    asyncio.run(run())


def test_a_recovery_that_lasts_too_long_is_said_once_and_its_end_too(bench: Any) -> None:
    async def run() -> None:
        async with bench() as b:
            await b.sql("DELETE FROM alarms")
            now, limit = datetime.now(UTC), 4 * 3600.0
            await recovery.open_recovery(b.core, "portal", "HTTP 503")
            assert await recovery_watch.watch(b.core, limit, now) == (0, 0)
            await b.sql("UPDATE recoveries SET opened_at = $1::timestamptz - interval '5 hours'", now)
            assert await recovery_watch.watch(b.core, limit, now) == (1, 0)
            assert await recovery_watch.watch(b.core, limit, now) == (0, 0)
            assert [(a["kind"], a["subject"]) for a in await alarms.recent(b.core)] == [("recovery", "portal")]
            # Another judge's alarms are its own: what `watch` of alarms does not find does not end this one.
            await alarms.watch(b.core, 1e9)
            assert (await alarms.recent(b.core))[0]["ended_at"] is None
            # Hours in which the counterparty was closed are nobody's fault.
            shut = {"starts": (now - timedelta(hours=3)).isoformat(), "ends": (now - timedelta(hours=1)).isoformat()}
            await _policy(b, {"calendar": {"maintenance": [shut]}})
            assert await recovery_watch.watch(b.core, limit, now) == (0, 1)
            await _policy(b, {})
            assert await recovery_watch.watch(b.core, limit, now) == (1, 0)
            await recovery.lead(b.core, "portal", "airflow:r", 1, 30.0)
            assert (await recovery.finish(b.core, "portal", "airflow:r", 1)).done
            assert await recovery_watch.watch(b.core, limit, now) == (0, 1)

    asyncio.run(run())
