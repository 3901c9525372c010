"""The real DAG in a real Airflow leads a recovery: through a closed window, past its deadline, killed in the middle of a drain and
back again; and with Airflow gone for good, the ticker takes it to the end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from hub.api import control, control_schedules, problems
from hub.api.context import Probe
from hub.embedded.airflow import Control
from hub.embedded.airflow_client import AirflowClient, AirflowRefused, AirflowUnavailable
from hub.embedded.postgres import Dsn
from hub.embedded.process import free_port, kill_session
from hub.embedded.supervisor import Supervisor
from hub.kernel.ledger import recovery, schedules
from hub.kernel.ports import Text
from hub.keys import Keys
from hub.settings import Settings
from hub.worker.recovery import Pace, RecoveryLoop
from tests.scenario.recovery.conftest import QuickToNotice, served

ROOT = Path(__file__).parents[3]
_PATIENCE_S = 150.0
"""A busy machine takes a minute for what a free one does in ten seconds."""
_LATE_S = 25
"""The runs' deadline here: past the time in which one begins to lead, short of what a test may take."""


async def until(check: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.1)


class Counterparty:
    """Whether it is up, and how many it was sent."""

    def __init__(self, b: Any) -> None:
        self.b = b
        self.up = True
        self.takes: int | None = None
        """From so many released in this recovery on it takes nothing more, as one whose quota is used up; None: all."""
        self.step: int | None = None
        """The same from a step of so many on."""
        self.late: dict[str, list[str]] = {}
        """Runs whose missed deadline the hub was told of, and what for."""
        self.probes = 0
        self.tried: list[int] = []

    async def probe(self, _name: str) -> Probe:
        self.probes += 1
        return Probe(ok=self.up, ms=1.0, detail=Text("thử", "probe"))

    async def _held(self) -> bool:
        seen = "SELECT coalesce(max((data->>'count')::int), 0) FROM journal WHERE kind = 'recovery_released'"
        takes, step = self.takes, self.step  # set meanwhile by who awaits them
        if takes is not None and await self.b.sql("SELECT released FROM recoveries") >= takes:
            return True
        return step is not None and await self.b.sql(seen) >= step

    async def work(self) -> None:
        while True:
            if not await self._held() and (n := await self.b.work(up=self.up)):
                self.tried.append(n)
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _gateway(b: Any, keys: Keys, there: Counterparty) -> Any:
    app = FastAPI()
    problems.install(app)
    app.include_router(control.router)

    # Of the schedules' calls this one alone: the connector's system here is none there is.
    @app.post("/control/v1/schedules/late", dependencies=[Depends(control.require_control)])
    async def late(body: control_schedules._Late) -> dict[str, Any]:
        there.late[body.run] = await schedules.late(b.core, body.schedule, body.run, body.deadline, leads=True)
        return {"late": there.late[body.run]}

    app.state.hub = SimpleNamespace(core=b.core, keys=keys, probe=there.probe, settings=Settings())
    async with served(app) as port:
        yield port


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    """The DAGs as they are, but for the deadline of `redeliver`, which comes in seconds."""
    folder = shutil.copytree(ROOT / "airflow" / "dags", tmp_path / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "redeliver.py").read_text()
    short = text.replace("LATE_AFTER = timedelta(hours=2)", f"LATE_AFTER = timedelta(seconds={_LATE_S})")
    assert short != text
    (folder / "redeliver.py").write_text(short)
    return folder


@pytest.mark.timeout(600)
def test_airflow_leads_and_the_ticker_takes_over(
    bench: Any, airflow_database: Dsn, keys: Keys, tmp_path: Path, dags: Path
) -> None:
    async def run() -> None:
        async with bench() as b, Supervisor(tmp_path / "data") as supervisor:
            there = Counterparty(b)
            async with _gateway(b, keys, there) as port:
                airflow = QuickToNotice(
                    tmp_path / "data" / "airflow", dags=dags, plugins=ROOT / "airflow" / "plugins",
                    database=airflow_database, keys=keys, port=free_port(),
                    control=Control("127.0.0.1", port, control.control_token(keys)), parallelism=4,
                )  # fmt: skip
                await airflow.run(supervisor)
                async with AirflowClient(airflow.link, timeout_s=30) as client:
                    await _known(client)
                    stop = asyncio.Event()
                    # Long: a busy machine must not let the ticker in before Airflow. Where it is to stand in, `_alone` spares the wait.
                    pace = Pace(tick_s=0.1, grace_s=600.0, canary_first_s=0.1, canary_longest_s=0.2)
                    tasks = [
                        asyncio.create_task(there.work()),
                        asyncio.create_task(RecoveryLoop(b.core, client, Settings(), pace=pace).run(stop)),
                    ]
                    try:
                        took = await _airflow_leads(b, client, there)
                        await _a_closed_window_is_waited_for(b, client, there, max(20.0, 2 * took))
                        await _killed_in_the_middle_of_a_drain(b, client, there, supervisor, airflow)
                        await _ticker_takes_over(b, supervisor, there)
                    finally:
                        died = tasks[0].done()
                        stop.set()
                        await tasks[1]
                        tasks[0].cancel()
                        await asyncio.gather(*tasks, return_exceptions=True)
                        assert not died, "the counterparty's side of the test has failed"

    asyncio.run(run())


async def _known(client: AirflowClient) -> None:
    """Until the DAGs are known and the sweep that is due at the start is over."""

    async def known() -> bool:
        try:
            first = await client.runs(dag_id="redeliver")
            return any(r["state"] == "success" for r in first) and "maintenance" in {
                d["dag_id"] for d in await client.dags()
            }
        except (AirflowUnavailable, AirflowRefused):
            return False

    await until(known, _PATIENCE_S)


async def _state(b: Any) -> recovery.Recovery:
    found = await recovery.find(b.core, "portal")
    assert found is not None
    return found


async def _ended(client: AirflowClient, epoch: int) -> None:
    """Until the run of that epoch has ended, and well."""

    async def done() -> bool:
        try:
            runs = {r["dag_run_id"]: r["state"] for r in await client.runs(dag_id="redeliver")}
        except (AirflowUnavailable, AirflowRefused):
            return False
        assert runs.get(f"redeliver__portal__{epoch}") != "failed", runs
        return runs.get(f"redeliver__portal__{epoch}") == "success"

    await until(done, _PATIENCE_S)


async def _over(b: Any) -> bool:
    return (await _state(b)).state == "idle"


async def _led_by(b: Any, prefix: str) -> bool:
    return ((await _state(b)).owner or "").startswith(prefix)


async def _airflow_leads(b: Any, client: AirflowClient, there: Counterparty) -> float:
    await b.wait(45)
    began = time.monotonic()
    await recovery.open_recovery(b.core, "portal", "HTTP 503")
    await until(lambda: _over(b), _PATIENCE_S)
    took = time.monotonic() - began
    print(f"Airflow recovered 45 deliveries in {took:.1f} s")
    assert await b.delivered() == 45
    assert there.probes >= 1 and there.tried[0] == 1
    actors = await b.sql("SELECT array_agg(DISTINCT actor) FROM journal WHERE kind = 'recovery_released'")
    # Nearly always the run the hub asked for; a sweep that falls into these seconds may come first.
    assert [a for a in actors if not a.startswith("airflow:")] == []
    await _ended(client, 1)
    return took


async def _task(client: AirflowClient, epoch: int, name: str) -> str | None:
    """State of a mapped task of the recovery's run; None before there is one."""
    try:
        found = await client._call("GET", f"/api/v2/dags/redeliver/dagRuns/redeliver__portal__{epoch}/taskInstances")
    except (AirflowUnavailable, AirflowRefused):
        return None
    return next(
        (t["state"] for t in found["task_instances"] if t["task_id"] == f"recover.{name}" and t["map_index"] >= 0), None
    )


async def _a_closed_window_is_waited_for(b: Any, client: AirflowClient, there: Counterparty, for_s: float) -> None:
    """The real triggerer holds the wait and resumes it: no task's slot is taken meanwhile, and nothing is sent."""
    now = datetime.now(UTC)
    opens = now + timedelta(seconds=for_s)
    shut = {"starts": (now - timedelta(hours=1)).isoformat(), "ends": opens.isoformat()}
    await b.sql(
        "UPDATE connectors SET settings = jsonb_build_object('policy', $1::jsonb) WHERE id = 1",
        {"calendar": {"maintenance": [shut]}},
    )
    there.takes = 0
    probes = there.probes
    await b.wait(5)
    await recovery.open_recovery(b.core, "portal", "HTTP 503")

    async def deferred() -> bool:
        return await _task(client, 2, "opening") == "deferred"

    await until(deferred, for_s)
    assert not await _led_by(b, "airflow:") and there.probes == probes, "one that is closed is not called"
    await asyncio.sleep(max(0.0, (opens - datetime.now(UTC)).total_seconds()))
    assert await b.delivered() == 45
    there.takes = None
    await until(lambda: _over(b), _PATIENCE_S)
    assert await b.delivered() == 50
    await _ended(client, 2)
    assert await _task(client, 2, "opening") == "success"


async def _killed_in_the_middle_of_a_drain(
    b: Any, client: AirflowClient, there: Counterparty, supervisor: Supervisor, airflow: QuickToNotice
) -> None:
    """Its deadline passes while it leads; then every process of Airflow's is killed with a part released. The ticker goes on, and
    Airflow, back again, takes the same run to its end. Each is sent once."""
    count, first = 2_000, 320
    before, tried = await b.delivered(), sum(there.tried)
    there.step = first  # what the drain releases first is not taken up: a ramp's steps are smaller
    await schedules.settle(b.core)
    await b.wait(count)
    await recovery.open_recovery(b.core, "portal", "HTTP 503")

    async def draining() -> bool:
        return (
            await _task(client, 3, "drain") == "running"
            and await b.sql("SELECT max((data->>'count')::int) FROM journal WHERE kind = 'recovery_released'") >= first
        )

    async def told() -> bool:
        return "redeliver__portal__3" in there.late

    await until(draining, _PATIENCE_S)
    await until(told, _PATIENCE_S)
    assert await _led_by(b, "airflow:")
    led = await b.sql(
        "SELECT min(at) - (SELECT opened_at FROM recoveries) FROM journal WHERE kind = 'recovery_led' AND data->>'epoch' = '3'"
    )
    # Else the machine is so busy that the deadline came first: nothing was led then.
    if led < timedelta(seconds=_LATE_S - 5):
        assert there.late["redeliver__portal__3"] == ["portal"] and await _alarm(b) == 1

    began = time.monotonic()
    for name, child in supervisor.status()["children"].items():
        if name.startswith("airflow-") and child["pid"]:
            kill_session(child["pid"])
    await asyncio.gather(*(supervisor.stop(n) for n in supervisor.status()["children"] if n.startswith("airflow-")))
    states, released, sent = await b.states(), (await _state(b)).released, await b.delivered() - before
    assert states == {2: released - sent, 4: count - released}, "killed with a part released, and a part of that sent"

    await _alone(b)
    there.takes, there.step = released + 8, None
    await until(lambda: _led_by(b, "ticker:"), 30)

    async def goes_on() -> bool:
        return (await _state(b)).released > released and await b.delivered() > before + sent

    await until(goes_on, 30)
    assert not await _over(b)

    await airflow.run(supervisor)
    await until(lambda: _led_by(b, "airflow:"), _PATIENCE_S)
    there.takes = None
    await until(lambda: _over(b), _PATIENCE_S)
    await _ended(client, 3)
    print(f"the recovery broken off ended {time.monotonic() - began:.0f} s after Airflow was killed")
    assert await b.states() == {} and await b.delivered() == before + count
    assert sum(there.tried) - tried == count, "nothing was sent twice"
    await schedules.settle(b.core)
    assert await _alarm(b) == 0


async def _alone(b: Any) -> None:
    """As if nobody had led for an hour: the lease's last seconds and the ticker's patience, spared."""
    await b.sql("UPDATE recoveries SET until = now() - interval '1 hour'")


async def _alarm(b: Any) -> int:
    return int(await b.sql("SELECT count(*) FROM alarms WHERE kind = 'recovery_late' AND ended_at IS NULL"))


async def _ticker_takes_over(b: Any, supervisor: Supervisor, there: Counterparty) -> None:
    before = await b.delivered()
    there.up = False
    await b.wait(30)
    await recovery.open_recovery(b.core, "portal", "HTTP 503")
    await until(lambda: _led_by(b, "airflow:"), _PATIENCE_S)
    assert await b.states() == {4: 30}, "not reachable: nothing is released"
    await asyncio.gather(*(supervisor.stop(n) for n in supervisor.status()["children"] if n.startswith("airflow-")))
    if not await _led_by(b, "ticker:"):
        await _alone(b)
    await until(lambda: _led_by(b, "ticker:"), 30)
    there.up = True
    await until(lambda: _over(b), 60)
    assert await b.delivered() == before + 30 and await b.states() == {}
