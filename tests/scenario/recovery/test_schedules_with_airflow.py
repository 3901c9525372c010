"""The schedules' DAGs in a real Airflow against a real hub: each does its work, past nights are made up for, and Airflow killed
in the middle of a reconciliation loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from adapters.population.people import Person
from adapters.twin import Fault
from hub.api import comparison, control, control_filings, control_reconcile, control_schedules, problems, verify
from hub.embedded.airflow import Control
from hub.embedded.airflow_client import AirflowClient, AirflowRefused, AirflowUnavailable
from hub.embedded.postgres import Dsn
from hub.embedded.process import free_port, kill_session
from hub.embedded.supervisor import Supervisor
from hub.keys import Keys
from hub.verification_settings import Verification
from hub.worker import reconciling
from tests.scenario.dispatch.conftest import filing, learner, stage
from tests.scenario.recovery.conftest import QuickToNotice, served

__all__ = ["stage"]

ROOT = Path(__file__).parents[3]
NAMED = ("nightly_delta", "catalogues", "verify_rosters", "deadline_watch", "reconcile")
PEOPLE = [Person(number=f"0312140{n:05}", name=f"Nguyễn Văn Thử {n}", birth="20140305", sex="1") for n in range(3)]
_PATIENCE_S = 240.0
"""A busy machine takes a minute for what a free one does in ten seconds."""
PATIENT = {"timeouts": {"connect_s": 1.0, "read_s": 20.0}}


class NotBeforeTold(QuickToNotice):
    """Runs no DAG before it is told to."""

    def env(self, inherited: Any = None) -> dict[str, str]:
        return super().env(inherited) | {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}


@pytest.fixture
def only_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    """One record type is compared: a run of the DAG is three tasks then, not thirteen."""
    monkeypatch.setattr(reconciling, "listed_types", lambda core, row: ["learner"] if row["name"] == "ministry" else [])


@contextlib.asynccontextmanager
async def _gateway(s: Any, keys: Keys) -> AsyncIterator[tuple[int, Any]]:
    app = FastAPI()
    problems.install(app)
    for part in (control, comparison, control_filings, control_schedules, control_reconcile):
        app.include_router(part.router)
    app.include_router(verify.control)
    app.state.hub = SimpleNamespace(core=s.core, keys=keys, probe=None, settings=s.house.settings)
    async with served(app) as port:
        yield port, app.state.hub


class Schedules:
    """The DAGs, started and waited for."""

    def __init__(self, s: Any, client: AirflowClient) -> None:
        self.s, self.client = s, client

    async def states(self, dag: str) -> dict[str, str]:
        try:
            return {r["dag_run_id"]: str(r["state"]) for r in await self.client.runs(dag_id=dag)}
        except (AirflowUnavailable, AirflowRefused):
            return {}

    async def known(self) -> None:
        """Until every DAG is known and switched on, and the runs Airflow then makes up for by itself are over."""

        async def known() -> bool:
            try:
                return {d["dag_id"] for d in await self.client.dags()} >= set(NAMED)
            except (AirflowUnavailable, AirflowRefused):
                return False

        async def over() -> bool:
            states = [await self.states(dag) for dag in NAMED]
            assert "failed" not in {state for one in states for state in one.values()}, states
            return all(one and set(one.values()) == {"success"} for one in states)

        await self.s.until(known, _PATIENCE_S)
        for dag in NAMED:
            await self.client._call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
        await self.s.until(over, _PATIENCE_S)

    async def run(self, dag: str, name: str, **conf: Any) -> None:
        assert await self.client.trigger(dag, name, conf) == "created"
        await self.ended(dag, name)

    async def ended(self, dag: str, *names: str, seconds: float = _PATIENCE_S) -> None:
        async def over() -> bool:
            states = await self.states(dag)
            assert "failed" not in {states.get(name) for name in names}, states
            return all(states.get(name) == "success" for name in names)

        await self.s.until(over, seconds)


@pytest.mark.timeout(900)
def test_every_schedule_through_real_processes(
    stage: Any, airflow_database: Dsn, keys: Keys, tmp_path: Path, only_learners: None
) -> None:
    async def go() -> None:
        async with stage() as s, Supervisor(tmp_path / "airflow") as supervisor:
            ministry, portal = await s.ministry(PATIENT), await s.portal()
            portal.lists["procedures"] = [{"MATTHC": "1.000001", "TENTTHC": "Chuyển trường", "MALINHVUC": "GDTrH"}]
            roster = [
                learner(f"310000000{n}", full_name=p.name, personal_number=p.number) for n, p in enumerate(PEOPLE)
            ]
            await s.push("learner", *roster)
            await s.push("filing", filing(due_at="2026-01-05T17:00:00+07:00"))
            await s.work()
            await s.settled(delivered=4)
            population = await s.population(PEOPLE)
            await s.led.rows("UPDATE given SET content = ''::bytea WHERE type = 'learner' AND key = '3100000000'")
            async with _gateway(s, keys) as (port, hub):
                airflow = NotBeforeTold(
                    supervisor.data_dir / "airflow", dags=ROOT / "airflow" / "dags", plugins=ROOT / "airflow" / "plugins",
                    database=airflow_database, keys=keys, port=free_port(),
                    control=Control("127.0.0.1", port, control.control_token(keys)), parallelism=4,
                )  # fmt: skip
                began = time.monotonic()
                await airflow.run(supervisor)
                async with AirflowClient(airflow.link, timeout_s=30) as client:
                    dags = Schedules(s, client)
                    await dags.known()
                    print(f"Airflow is there and its first runs are over after {time.monotonic() - began:.0f} s")
                    await s.settled(delivered=5)
                    told = ministry.summary()
                    assert told["effects"] + told["repeats"] == 4, "exactly the one that differed went again"
                    await _each_does_its_work(s, hub, dags, population)
                    await _past_nights_are_made_up_for(s, dags)
                    await _killed_in_the_middle_of_a_reconciliation(s, dags, ministry, supervisor)

    asyncio.run(go())


def _lost(ministry: Any, key: str) -> None:
    del ministry._held["hocsinh", key]
    ministry._holdings.rows["hocsinh"].pop(key)
    ministry._holdings._order.clear()


async def _each_does_its_work(s: Any, hub: Any, dags: Schedules, population: Any) -> None:
    assert population.books.effects == [], "with nothing set, no run of the schedule's looked anybody up"
    asked = Verification(purpose="Kiểm tra đầu năm học", officer="cb.gddt.07")
    hub.settings = hub.settings.model_copy(update={"verification": asked})
    await asyncio.gather(dags.run("catalogues", "lists", all=True), dags.run("verify_rosters", "rosters"))
    await s.settled(delivered=8)  # three looked up
    assert await s.led.value("SELECT count(*) FROM records WHERE key LIKE 'public_service/procedure/%'") == 1
    assert await s.led.value("SELECT count(*) FROM alarms WHERE kind = 'filing_overdue' AND ended_at IS NULL") == 1
    assert {e.content["officer"] for e in population.books.effects} == {"cb.gddt.07"}
    assert await s.led.value("SELECT count(*) FROM verifications WHERE state <> 'open'") == 1


async def _past_nights_are_made_up_for(s: Any, dags: Schedules) -> None:
    """Nights nobody was there for: a run each, one after the other, and a difference is queued once over all of them."""
    await s.led.rows("UPDATE given SET content = ''::bytea WHERE type = 'learner' AND key = '3100000002'")
    nights = {"from_date": "2026-03-01T00:00:00Z", "to_date": "2026-03-02T23:59:00Z", "max_active_runs": 1}
    order = {"dag_id": "nightly_delta", **nights, "run_backwards": False, "dag_run_conf": {}}
    await dags.client._call("POST", "/api/v2/backfills", order | {"reprocess_behavior": "none"})

    async def over() -> bool:
        states = {k: v for k, v in (await dags.states("nightly_delta")).items() if k.startswith("backfill__")}
        assert "failed" not in states.values(), states
        return len(states) == 2 and set(states.values()) == {"success"}

    await s.until(over, _PATIENCE_S)
    await s.settled(delivered=9)


async def _killed_in_the_middle_of_a_reconciliation(
    s: Any, dags: Schedules, ministry: Any, supervisor: Supervisor
) -> None:
    _lost(ministry, "3100000001")
    before, runs = ministry.requests, await s.led.value("SELECT count(*) FROM reconciliations")
    ministry.set_fault(Fault(kind="slow", match="danhsach", delay_s=4.0))
    order = {"connector": "ministry", "repair": True}
    assert await dags.client.trigger("reconcile", "broken-off", order) == "created"
    await s.until(lambda: ministry.requests > before, _PATIENCE_S)
    for name, child in supervisor.status()["children"].items():
        if name.startswith("airflow-") and child["pid"]:
            kill_session(child["pid"])
    assert await s.led.value("SELECT count(*) FROM reconciliations WHERE state = 'gathering'") > 0
    assert (await s.states()) == {"delivered": 9}, "half gathered, nothing of it is queued"

    ministry.set_fault(Fault(kind="none"))
    await s.push("learner", learner("3100000009"))
    await s.until(lambda: ("hocsinh", "3100000009") in ministry._held, 10)  # without Airflow the hub goes on

    began = time.monotonic()
    await dags.ended("reconcile", "broken-off")
    print(f"the run broken off ended {time.monotonic() - began:.0f} s after Airflow was killed")
    assert ("hocsinh", "3100000001") in ministry._held
    listed = await s.led.value("SELECT count(*) - $1 FROM reconciliations", runs)
    assert listed == await s.led.value("SELECT count(*) FROM reconciliations WHERE key LIKE 'broken-off:%'"), (
        "each once"
    )
    assert await s.led.value("SELECT count(*) FROM reconciliations WHERE state = 'gathering'") == 0
    told = ministry.summary()
    assert {d["key"] for d in told["doubles"]} <= {"3100000001"}, "nobody went twice but whom the Ministry had lost"
    assert told["order_violations"] == []
