"""A run past its deadline is told of as the hub's alarm: once, for what it leads, and over when that is over."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI

from hub.api import control_schedules, problems
from hub.api.control import control_token
from hub.kernel.ledger import alarms, recovery, schedules
from hub.keys import Keys

KEYS = Keys(bytes(range(32)))
DEADLINE = "2026-03-02T00:30:00+00:00"


def _client(core: Any) -> httpx.AsyncClient:
    app = FastAPI()
    problems.install(app)
    app.include_router(control_schedules.router)
    app.state.hub = SimpleNamespace(core=core, keys=KEYS)
    headers = {"Authorization": f"Bearer {control_token(KEYS)}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub/control/v1", headers=headers)


async def _standing(b: Any) -> list[tuple[str, str]]:
    return [(a["kind"], a["subject"]) for a in await alarms.recent(b.core) if a["ended_at"] is None]


def test_a_late_leader_is_an_alarm_of_its_recovery_until_that_is_over(bench: Any) -> None:
    async def run() -> None:
        async with bench() as b, _client(b.core) as client:
            await b.sql("DELETE FROM alarms")

            async def late(name: str) -> list[str]:
                word = {"schedule": "redeliver", "run": name, "deadline": DEADLINE}
                reply = await client.post("/schedules/late", json=word)
                assert reply.status_code == 200, reply.text
                return list(reply.json()["late"])

            await recovery.open_recovery(b.core, "portal", "HTTP 503")
            assert await late("redeliver__portal__1") == [], "it leads nothing: it waits, or another leads"
            await recovery.lead(b.core, "portal", "airflow:redeliver__portal__1", 1, 30.0)
            assert await late("another") == []
            assert await late("redeliver__portal__1") == ["portal"] == await late("redeliver__portal__1")
            assert await _standing(b) == [("recovery_late", "portal")]
            assert "07:30 02/03/2026" in str(await b.sql("SELECT text FROM alarms"))
            await schedules.settle(b.core)
            assert await _standing(b) == [("recovery_late", "portal")]
            assert (await recovery.finish(b.core, "portal", "airflow:redeliver__portal__1", 1)).done
            await schedules.settle(b.core)
            await schedules.settle(b.core)
            assert await _standing(b) == []
            said = await b.sql("SELECT array_agg(kind ORDER BY at) FROM journal WHERE data->>'alarm' = 'recovery_late'")
            assert said == ["alarm_started", "alarm_ended"]

    asyncio.run(run())


def test_a_late_schedule_is_an_alarm_until_a_run_of_it_ends(bench: Any) -> None:
    async def run() -> None:
        async with bench() as b, _client(b.core) as client:
            await b.sql("DELETE FROM alarms")
            for name in ("nightly_delta", "reconcile", "reconcile"):
                word = {"schedule": name, "run": f"scheduled__{DEADLINE}", "deadline": DEADLINE}
                assert (await client.post("/schedules/late", json=word)).json() == {"late": [name]}
            assert sorted(await _standing(b)) == [("schedule_late", "nightly_delta"), ("schedule_late", "reconcile")]
            await schedules.settle(b.core)
            for _ in range(2):
                assert (await client.post("/schedules/ended", json={"schedule": "reconcile"})).status_code == 200
            assert await _standing(b) == [("schedule_late", "nightly_delta")]
            wrong = {"schedule": "reconcile", "run": "r", "deadline": "2026-03-02T00:30:00"}
            for body in (wrong, {"schedule": "a b", "run": "r", "deadline": DEADLINE}, {"schedule": "x"}):
                assert (await client.post("/schedules/late", json=body)).status_code == 422

    asyncio.run(run())
