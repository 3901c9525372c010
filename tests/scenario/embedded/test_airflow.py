"""Embedded Airflow, for real: healthy, runs a DAG that reads the hub's connection, triggered once per run id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.embedded.airflow import Control, EmbeddedAirflow, Link
from hub.embedded.airflow_client import AirflowClient, AirflowRefused, AirflowUnavailable
from hub.embedded.area import open_area
from hub.embedded.postgres import AIRFLOW, AIRFLOW_DATABASE, EmbeddedPostgres
from hub.embedded.process import free_port, session_members
from hub.embedded.supervisor import Supervisor
from hub.keys import Keys

DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def trivial():
    @task
    def read():
        from airflow.sdk import Connection
        found = Connection.get("hub_control")
        assert (found.host, found.port, found.password) == ("127.0.0.1", 1234, "control-token")
    read()

trivial()
"""


async def until(check: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.2)


@pytest.mark.timeout(240)
def test_airflow_gets_healthy_and_runs_a_dag(data_dir: Path, tmp_path: Path) -> None:
    for name in ("dags", "plugins"):
        (tmp_path / name).mkdir()
    (tmp_path / "dags" / "trivial.py").write_text(DAG)
    sessions: list[int] = []

    async def run() -> None:
        postgres = EmbeddedPostgres(open_area(data_dir), shared_buffers_mb=64)
        postgres.prepare()
        async with Supervisor(data_dir) as supervisor:
            await supervisor.add(postgres.spec(), wait=True)
            await postgres.create()
            airflow = EmbeddedAirflow(
                data_dir / "airflow",
                dags=tmp_path / "dags",
                plugins=tmp_path / "plugins",
                database=postgres.dsn(AIRFLOW_DATABASE, AIRFLOW),
                keys=Keys(bytes(range(32))),
                port=free_port(),
                control=Control("127.0.0.1", 1234, "control-token"),
                parallelism=2,
            )
            async with AirflowClient(airflow.link) as client:
                with pytest.raises(AirflowUnavailable):
                    await client.health()
            await airflow.run(supervisor)
            assert supervisor.status()["notes"]["airflow"]["phase"] == "started"
            assert (data_dir / "airflow" / "passwords.json").stat().st_mode & 0o777 == 0o600
            assert await airflow._migrated()
            await supervisor.wait_ready("airflow-api-server")
            # A busy machine answers late; what is tested is that it answers.
            async with AirflowClient(airflow.link, timeout_s=30) as client:

                async def healthy() -> bool:
                    return set((await client.health()).values()) == {"healthy"}

                async def known() -> bool:
                    return [dag["dag_id"] for dag in await client.dags()] == ["trivial"]

                async def done() -> bool:
                    return {run["state"] for run in await client.runs()} <= {"success", "failed"}

                await until(healthy, 60)
                await until(known, 60)
                when = datetime.now(UTC)
                assert await client.trigger("trivial", "recovery-7", {"epoch": 7}, when) == "created"
                assert await client.trigger("trivial", "recovery-7", {"epoch": 7}) == "exists"
                assert await client.trigger("trivial", "recovery-8", {"epoch": 8}, when) == "created"
                with pytest.raises(AirflowRefused, match="404"):
                    await client.trigger("missing", "x", {})
                await until(done, 60)
                found = {run["dag_run_id"]: (run["state"], run["conf"]) for run in await client.runs()}
                assert found == {"recovery-7": ("success", {"epoch": 7}), "recovery-8": ("success", {"epoch": 8})}
            async with AirflowClient(Link(airflow.link.url, "hub", "wrong")) as stranger:
                with pytest.raises(AirflowRefused, match="401"):
                    await stranger.runs()
            sessions.extend(pid for name in supervisor.status()["children"] if (pid := supervisor.pid(name)))

    asyncio.run(run())
    assert len(sessions) == 5
    assert not any(session_members(pid) for pid in sessions)
