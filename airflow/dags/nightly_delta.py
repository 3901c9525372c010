"""The DAG `nightly_delta`: each night every record is compared with what the counterparty was last given.

The hub compares and queues exactly the differences; a page gone over twice queues nothing twice. It must never hold a
record, nor decide what differs.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from _hub_control import TASK_DEFAULTS, HubControl, ended, within
from airflow.sdk import DAG, get_current_context, task
from airflow.timetables.interval import CronDataIntervalTimetable

log = logging.getLogger("airflow.task")

_COUNTS = ("compared", "unchanged", "queued", "on_their_way", "unmapped", "expired")

with DAG(
    dag_id="nightly_delta",
    description="So với bản đối tác đang giữ, gửi phần khác / Compare with what counterparties hold, send the difference",
    # 01:30 in Vietnam. An interval each: a backfill of past nights is a run for each, and each finds what differs now.
    schedule=CronDataIntervalTimetable("30 18 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=5),
    # Before people come to work, and before `reconcile` has much to say about it.
    deadline=within(timedelta(hours=4)),
    default_args=TASK_DEFAULTS,
    tags=["lien-thong", "delta"],
) as nightly_delta:

    @task(execution_timeout=timedelta(minutes=2))
    def connectors() -> list[str]:
        """Connectors whose flows send only changes; with `connector` in the run's conf that one alone."""
        conf = get_current_context()["dag_run"].conf or {}
        found = [str(c) for c in HubControl.connect().get("/comparisons")["items"]]
        return [c for c in found if conf.get("connector") in (None, c)]

    @task(max_active_tis_per_dag=2, execution_timeout=timedelta(hours=4))
    def compare(connector: str) -> dict[str, Any]:
        """Page by page to the end. A retry begins anew, which finds less to do and queues nothing twice."""
        hub, after, total = HubControl.connect(), None, dict.fromkeys(_COUNTS, 0)
        while True:
            page = hub.post(f"/connectors/{connector}/compare", {"after": after}, timeout_s=300.0)
            for name in _COUNTS:
                total[name] += page.get(name) or 0
            after = page["next"]
            log.info("%s: %s", connector, total)
            if after is None:
                return {"connector": connector, **total}

    compare.expand(connector=connectors()) >> ended.override(trigger_rule="none_failed")()
