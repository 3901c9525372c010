"""The DAG `deadline_watch`: filings that missed their date or will miss closing time.

The hub reckons in working hours and begins and ends the alarms; a run that fails shows that there is something to see.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from _hub_control import TASK_DEFAULTS, HubControl
from airflow.sdk import DAG, task

log = logging.getLogger("airflow.task")

with DAG(
    dag_id="deadline_watch",
    description="Hồ sơ sắp trễ, đã trễ hẹn / Filings about to miss their date, or past it",
    # Every ten minutes from 07:00 to 17:50 in Vietnam.
    schedule="*/10 0-10 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=8),
    default_args=TASK_DEFAULTS,
    tags=["lien-thong", "filings"],
) as deadline_watch:

    @task(execution_timeout=timedelta(minutes=3))
    def watch() -> dict[str, Any]:
        """Judge all dates anew. Repeating it changes nothing."""
        found = HubControl.connect().post("/filings/deadlines", {})
        log.info("%s", found)
        return found

    watch()
