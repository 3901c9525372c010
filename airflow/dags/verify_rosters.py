"""The DAG `verify_rosters`: schools whose learners were not checked against the population database for long.

It opens verifications and watches them; the hub asks, within the quota, each question logged before it is put. Purpose
and officer are the params', where given, else those of the hub's settings; where neither names them the run is skipped
with the hub's sentence. It must never make up a purpose.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from _hub_control import TASK_DEFAULTS, ControlRefused, HubControl, polls
from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

log = logging.getLogger("airflow.task")

WATCH_FOR_S = 4 * 3600.0
PAUSE_S = 15.0

with DAG(
    dag_id="verify_rosters",
    description="Xác minh định kỳ học sinh với CSDL dân cư / Verify rosters with the population database",
    # Saturdays, 20:00 in Vietnam: the quota is nobody else's then.
    schedule="0 13 * * 6",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    default_args=TASK_DEFAULTS,
    params={
        "purpose": Param(
            "",
            type="string",
            description="Mục đích, ghi vào nhật ký tra cứu; trống: theo cấu hình / goes into the look-up log; empty: as set",
        ),
        "officer": Param(
            "",
            type="string",
            description="Mã cán bộ chịu trách nhiệm; trống: theo cấu hình / the responsible officer; empty: as set",
        ),
        "kind": Param("look_up", type="string"),
        "older_than_days": Param(180, type="integer", minimum=1),
        "most": Param(20, type="integer", minimum=1, maximum=200),
    },
    tags=["lien-thong", "population"],
) as verify_rosters:

    @task(execution_timeout=timedelta(minutes=10))
    def open_due() -> list[int]:
        """Open what is due. Repeated, it opens only what is due still."""
        params = dict(get_current_context()["params"])
        try:
            return list(HubControl.connect().post("/verifications/due", params, timeout_s=300.0)["opened"])
        except ControlRefused as refused:
            if refused.code != "not_set":
                raise
            raise AirflowSkipException(str(refused)) from refused

    @task(execution_timeout=timedelta(seconds=WATCH_FOR_S + 300))
    def watch(opened: list[int]) -> dict[str, Any]:
        """Wait until all have ended; what has not by then goes on in the hub."""
        hub, left = HubControl.connect(), list(opened)
        for _ in polls(WATCH_FOR_S, PAUSE_S):
            left = [v for v in left if hub.get(f"/verifications/{v}")["state"] == "open"]
            log.info("%d of %d verifications are open", len(left), len(opened))
            if not left:
                break
        return {"opened": len(opened), "ended": len(opened) - len(left)}

    watch(open_due())
