"""The real DAG in a real Airflow leads a recovery; with Airflow gone in the middle, the ticker takes it to the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from hub.api import control, problems
from hub.api.context import Probe
from hub.embedded.airflow import Control, EmbeddedAirflow
from hub.embedded.airflow_client import AirflowClient, AirflowRefused, AirflowUnavailable
from hub.embedded.postgres import Dsn
from hub.embedded.process import free_port
from hub.embedded.supervisor import Supervisor
from hub.kernel.ledger import recovery
from hub.kernel.ports import Text
from hub.keys import Keys
from hub.settings import Settings
from hub.worker.recovery import Pace, RecoveryLoop
from tests.scenario.recovery.conftest import served

ROOT = Path(__file__).parents[3]


async def until(check: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.1)


class Counterparty:
    """Whether it is up, and how many it was sent."""

    def __init__(self, b: Any) -> None:
        self.b = b
        self.up = True
        self.probes = 0
        self.tried: list[int] = []

    async def probe(self, _name: str) -> Probe:
        self.probes += 1
        return Probe(ok=self.up, ms=1.0, detail=Text("thử", "probe"))

    async def work(self) -> None:
        while True:
            if n := await self.b.work(up=self.up):
                self.tried.append(n)
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _gateway(b: Any, keys: Keys, probe: Any) -> Any:
    app = FastAPI()
    problems.install(app)
    app.include_router(control.router)
    app.state.hub = SimpleNamespace(core=b.core, keys=keys, probe=probe, settings=Settings())
    async with served(app) as port:
        yield port


@pytest.mark.timeout(300)
def test_airflow_leads_and_the_ticker_takes_over(bench: Any, airflow_database: Dsn, keys: Keys, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench() as b, Supervisor(tmp_path / "data") as supervisor:
            there = Counterparty(b)
            async with _gateway(b, keys, there.probe) as port:
                airflow = EmbeddedAirflow(
                    tmp_path / "data" / "airflow", dags=ROOT / "airflow" / "dags", plugins=ROOT / "airflow" / "plugins",
                    database=airflow_database, keys=keys, port=free_port(),
                    control=Control("127.0.0.1", port, control.control_token(keys)), parallelism=4,
                )  # fmt: skip
                await airflow.run(supervisor)
                async with AirflowClient(airflow.link, timeout_s=30) as client:
                    await _known(client)
                    stop = asyncio.Event()
                    pace = Pace(tick_s=0.1, grace_s=8.0, canary_first_s=0.1, canary_longest_s=0.2)
                    tasks = [
                        asyncio.create_task(there.work()),
                        asyncio.create_task(RecoveryLoop(b.core, client, Settings(), pace=pace).run(stop)),
                    ]
                    try:
                        await _airflow_leads(b, client, there)
                        await _ticker_takes_over(b, supervisor, there)
                    finally:
                        stop.set()
                        await tasks[1]
                        tasks[0].cancel()
                        await asyncio.gather(*tasks, return_exceptions=True)

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

    await until(known, 90)


async def _state(b: Any) -> recovery.Recovery:
    found = await recovery.find(b.core, "portal")
    assert found is not None
    return found


async def _airflow_leads(b: Any, client: AirflowClient, there: Counterparty) -> None:
    await b.wait(45)
    began = time.monotonic()
    await recovery.open_recovery(b.core, "portal", "HTTP 503")

    async def idle() -> bool:
        return (await _state(b)).state == "idle"

    await until(idle, 60)
    print(f"Airflow recovered 45 deliveries in {time.monotonic() - began:.1f} s")
    assert await b.delivered() == 45
    assert there.probes >= 1 and there.tried[0] == 1
    actors = await b.sql("SELECT array_agg(DISTINCT actor) FROM journal WHERE kind = 'recovery_released'")
    # Nearly always the run the hub asked for; a sweep that falls into these seconds may come first.
    assert [a for a in actors if not a.startswith("airflow:")] == []

    async def done() -> bool:
        runs = await client.runs(dag_id="redeliver")
        return any(r["dag_run_id"] == "redeliver__portal__1" and r["state"] == "success" for r in runs)

    await until(done, 30)


async def _ticker_takes_over(b: Any, supervisor: Supervisor, there: Counterparty) -> None:
    there.up = False
    await b.wait(30)
    await recovery.open_recovery(b.core, "portal", "HTTP 503")

    async def led_by(prefix: str) -> bool:
        return ((await _state(b)).owner or "").startswith(prefix)

    await until(lambda: led_by("airflow:"), 30)
    assert await b.states() == {4: 30}, "not reachable: nothing is released"
    await asyncio.gather(*(supervisor.stop(n) for n in supervisor.status()["children"] if n.startswith("airflow-")))
    if not await led_by("ticker:"):
        await b.sql("UPDATE recoveries SET until = now()")  # the lease's last seconds, spared
    await until(lambda: led_by("ticker:"), 30)
    there.up = True

    async def idle() -> bool:
        return (await _state(b)).state == "idle"

    await until(idle, 30)
    assert await b.delivered() == 75 and await b.states() == {}
