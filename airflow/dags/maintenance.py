"""The DAG `maintenance`: every night, the coming days' partitions and the checks that all is accounted for and unaltered.

Cheap, and safe at any time. It must never repair a difference: it fails, and people look.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from _hub_control import TASK_DEFAULTS, HubControl
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

with DAG(
    dag_id="maintenance",
    description="Phân vùng và đối soát hằng đêm / Nightly partitions and accounting",
    # 00:10 in Vietnam: the hub's partitions are days of UTC, made two weeks ahead, so the hour does not matter.
    schedule="10 17 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    default_args=TASK_DEFAULTS,
    tags=["lien-thong", "maintenance"],
) as maintenance:

    @task(execution_timeout=timedelta(minutes=10))
    def partitions() -> dict[str, Any]:
        """Make the days ahead; rows that no day was made for are an alarm."""
        found = HubControl.connect().partitions()
        if found["stray"]:
            raise AirflowFailException(f"{found['stray']} rows stand in DEFAULT partitions")
        return found

    @task(execution_timeout=timedelta(minutes=30))
    def accounting() -> dict[str, Any]:
        """The accounting identity must hold."""
        found = HubControl.connect().reconcile()
        if not found["balanced"]:
            raise AirflowFailException(f"does not add up: {found['differences']}")
        return found["account"]

    @task(execution_timeout=timedelta(minutes=30))
    def seals() -> list[int]:
        """No sealed entry of the journal may have changed. Two days: each seal is looked at twice, whatever hour it was made."""
        broken: list[int] = HubControl.connect().verify_seals(days=2)["broken"]
        if broken:
            raise AirflowFailException(f"seals that no longer hold: {broken}")
        return broken

    partitions()
    accounting()
    seals()
