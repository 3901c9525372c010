"""The DAG `catalogues`: pulls what counterparties only list: procedures, agencies, fields, questions.

The hub pulls, stores each page with its cursor, and says what changed. A list that shrank by much waits for a person.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from _hub_control import TASK_DEFAULTS, HubControl, carried_on
from airflow.sdk import DAG, get_current_context, task

PULL_FOR_S = 3600.0
PAUSE_S = 5.0

with DAG(
    dag_id="catalogues",
    description="Kéo danh mục và câu hỏi từ các hệ thống / Pull catalogues and questions",
    # Every quarter of an hour the hub is asked what is due: each list has an interval of its own in its adapter's manifest.
    schedule="*/15 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    default_args=TASK_DEFAULTS,
    tags=["lien-thong", "pull"],
) as catalogues:

    @task(execution_timeout=timedelta(minutes=2))
    def due() -> list[dict[str, Any]]:
        """Lists whose time has come; with `all` in the run's conf every list."""
        conf = get_current_context()["dag_run"].conf or {}
        items = HubControl.connect().get("/pulls")["items"]
        return [{"connector": i["connector"], "what": i["what"]} for i in items if i["due"] or conf.get("all")]

    @task(max_active_tis_per_dag=3, execution_timeout=timedelta(seconds=PULL_FOR_S + 300))
    def pull(order: dict[str, Any]) -> dict[str, Any]:
        """One list to its end. The run's id is the key: a retry goes on, and one that is done answers as it did."""
        hub, name = HubControl.connect(), f"{order['connector']} {order['what']}"
        key = str(get_current_context()["dag_run"].run_id)[:200]

        def go_on() -> dict[str, Any]:
            return hub.post(f"/connectors/{order['connector']}/pull/{order['what']}", {"key": key}, timeout_s=90.0)

        seen = carried_on(go_on, lambda said: bool(said["done"]), PULL_FOR_S, name, PAUSE_S)
        return {**order, "records": seen["records"], "changes": seen["changes"]}

    pull.expand(order=due())
