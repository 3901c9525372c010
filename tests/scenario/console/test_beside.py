"""What the console says of the things beside the hub: Airflow there, away or off; a stand-in broker; a page that breaks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

import connectors.settings as connector_settings
from hub.api.context import Hub, Probe
from hub.console import heard, mount
from hub.embedded.airflow_client import AirflowUnavailable
from hub.kernel.access import EVERYWHERE
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import operations, people
from hub.kernel.ledger.intake import accept
from hub.kernel.ports import Draft, Text
from hub.settings import Settings
from mappings.engine import TYPES, parse_item


class Airflow:
    """Airflow's client as far as the console knows it."""

    def __init__(self, *, away: bool = False, ill: bool = False) -> None:
        self.away, self.ill = away, ill

    async def health(self) -> dict[str, str]:
        if self.away:
            raise AirflowUnavailable("ConnectionError")
        return {"metadatabase": "healthy", "scheduler": "unhealthy" if self.ill else "healthy"}

    async def runs(self, limit: int = 50) -> list[dict[str, Any]]:
        return [
            {"dag_id": "redeliver", "dag_run_id": "redeliver__public_service__3", "state": "success",
             "start_date": "2026-11-22T05:00:00Z", "end_date": "2026-11-22T05:00:09.5Z"},
            {"dag_id": "maintenance", "dag_run_id": "scheduled__1", "state": "failed", "start_date": None, "end_date": None},
        ]  # fmt: skip

    async def dags(self, limit: int = 100) -> list[dict[str, Any]]:
        return [{"dag_id": "redeliver", "is_paused": True, "timetable_summary": "*/5 * * * *"}]


@asynccontextmanager
async def console(
    one: Any, folder: Path, airflow: Any, redis: Any = None, manifests: Any = None
) -> AsyncIterator[httpx.AsyncClient]:
    """The console alone, with an administrator signed in."""
    app = FastAPI()
    mount(app, connector_settings)

    async def probe(_name: str) -> Probe:
        return Probe(True, 1.0, Text("được", "fine"))

    app.state.hub = Hub(
        settings=Settings(data_dir=folder), keys=one.keys, core=one.core, redis=redis, manifests=manifests or {}, probe=probe, airflow=airflow,
        status_file=folder / "status.json", flows_folder=folder,
    )  # fmt: skip
    rung = one.core.on_commit

    def ring(word: str) -> None:  # as the gateway's bell
        rung(word)
        heard(app, word)

    one.core.on_commit = ring
    password = await people.add_user(one.core, "test", "an", "An", "admin", EVERYWHERE)
    token, _ = await people.sign_in(one.core, "an", password, 600)
    await one.owner.execute("UPDATE users SET must_change = false")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://hub",
        cookies={"lt_session": token, "lt_lang": "en"},
        headers={"accept": "text/html"},
    ) as client:
        yield client


def test_airflow_there(ledger, tmp_path: Path) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, Airflow(ill=True)) as client:
            text = (await client.get("/airflow")).text
            assert (
                "unhealthy" in text
                and "redeliver__public_service__3" in text
                and "9 s" in text
                and "paused" in text
                and "failed" in text
            )

    asyncio.run(run())


def test_airflow_away_and_off(ledger, tmp_path: Path) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, Airflow(away=True)) as client:
            assert "not answering" in (await client.get("/airflow")).text
            assert "not answering" in (await client.get("/")).text

    asyncio.run(run())

    async def off() -> None:
        async with ledger() as one:
            await one.owner.execute("DELETE FROM users")
            async with console(one, tmp_path, None) as client:
                assert "off" in (await client.get("/airflow")).text

    asyncio.run(off())


def test_a_stand_in_broker_is_said_on_the_overview(ledger, tmp_path: Path) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            assert "No supervisor" in (await client.get("/")).text
            notes = {"broker": {"name": "nats", "warning": {"vi": "Đang dùng thay thế", "en": "A stand-in serves"}}}
            child = {
                "state": "backoff",
                "pid": None,
                "started": None,
                "since": 1.0,
                "restarts": 3,
                "exit_code": 1,
                "error": "<b>boom</b>",
            }
            (tmp_path / "status.json").write_text(json.dumps({"pid": 1, "notes": notes, "children": {"bridge": child}}))
            await asyncio.sleep(2.1)
            text = (await client.get("/")).text
            assert "A stand-in serves" in text and "waiting to restart" in text and "&lt;b&gt;boom" in text
            (tmp_path / "status.json").write_text("{half")
            await asyncio.sleep(2.1)
            assert "No supervisor" in (await client.get("/")).text

    asyncio.run(run())


def test_of_two_who_resolve_a_task_the_later_is_not_told_that_it_was_their_doing(ledger, tmp_path: Path) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            await one.connector("ministry", "ministry")
            gone = Text("Bên nhận trả 410.", "The receiver answers 410.")
            ends = []
            for faster in (False, True):
                assert await operations.pause(one.core, "hub", "ministry", gone, "endpoint_gone")
                assert "The receiver answers 410." in (await client.get("/connectors/ministry")).text, "shown at once"
                task = await one.value("SELECT id FROM tasks WHERE state = 'open'")
                if faster:
                    await operations.resolve_task(one.core, "lan", task, "release", "they said so")
                    assert await operations.pause(one.core, "hub", "ministry", gone)
                form = {
                    "csrf": await one.value("SELECT csrf FROM sessions"),
                    "resolution": "release",
                    "note": "Họ đã mở lại",
                }
                answer = await client.post(f"/parked/{task}/resolve", data=form)
                ends.append((answer.headers["location"], await one.value("SELECT state FROM connectors")))
            assert ends == [("/parked?done=done.resumed", "active"), ("/parked?done=done.nothing", "paused")]

    asyncio.run(run())


def test_a_page_that_breaks_says_so_and_nothing_more(ledger, tmp_path: Path) -> None:
    async def run() -> None:
        async with ledger() as one, console(one, tmp_path, None) as client:
            await one.owner.execute("ALTER TABLE device_state RENAME TO gone")
            try:
                answer = await client.get("/gates")
            finally:
                await one.owner.execute("ALTER TABLE gone RENAME TO device_state")
            assert answer.status_code == 500
            assert "Something broke on our side" in answer.text and "device_state" not in answer.text
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")

    asyncio.run(run())


class Shared:
    """Redis as far as the console reads it: what the workers left of their breakers."""

    def __init__(self, **held: Any) -> None:
        self._held = {name: json.dumps(value).encode() for name, value in held.items()}

    async def mget(self, names: list[str]) -> list[bytes | None]:
        return [self._held.get(name.removeprefix("lt:breaker:")) for name in names]


def test_an_open_breaker_an_age_and_the_calls_of_the_last_seconds_are_on_the_pages(ledger: Any, tmp_path: Path) -> None:
    async def go() -> None:
        async with ledger() as led:
            number = await led.connector("ministry", "ministry", {"policy": {"quota": {"per_second": 50}}})
            await led.school("31HP0000001")
            item = {
                "learner_code": "3112345678", "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "Nam", "ethnicity": "01",
                "school_code": "31HP0000001", "class_code": "6A1", "grade": "6", "school_level": "03", "status": "studying",
            }  # fmt: skip
            draft = parse_item("learner", {"data": item}, "", datetime.now(UTC))
            assert isinstance(draft, Draft)
            led.core.catalogue.standardise_record(TYPES["learner"], draft.body, draft.updated_at.date())
            arrival = Arrival(
                source=Source("client", "test"), type="learner", body=b"{}", content_type="application/json", digest=b"d" * 32, drafts=[draft]
            )  # fmt: skip
            await accept(led.core, [arrival])
            await led.owner.execute("UPDATE deliveries SET created_at = clock_timestamp() - interval '3 hours'")
            klass = await led.value("SELECT class FROM deliveries")
            (first,) = await led.core.ids.take(led.owner, 1)
            await led.owner.execute(
                """INSERT INTO calls (id, class, connector, operation, deliveries, idempotent, method, path, headers, content_type,
                     meta, digest, mapping, at)
                   SELECT $1::bigint + n, $2::smallint, $3::smallint, 'push', '{}', true, 'POST', '/', '{}', '', '{}', '', '',
                          clock_timestamp() - interval '1 minute' * (n / 120)
                   FROM generate_series(0, 199) n""",
                first, klass, number,
            )  # fmt: skip
            shared = Shared(ministry={"state": "open", "until": time.time() + 60})
            async with console(led, tmp_path, None, shared) as client:
                for path in ("/", "/connectors/ministry"):
                    page = (await client.get(path)).text
                    assert "3 h" in page and 'value="12.0"' in page and "12 calls/s over the last 10 s" in page, path
                assert "open (not sending)" in page
            await led.owner.execute("DELETE FROM users")
            async with console(led, tmp_path, None, Shared()) as client:
                assert "no news" in (await client.get("/connectors/ministry")).text

    asyncio.run(go())
