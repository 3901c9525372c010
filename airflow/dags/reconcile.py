"""The DAG `reconcile`: each day what the hub has against what counterparties and schools have, down to the record.

The hub gathers, compares and keeps what differs; with the param `repair` it also queues exactly what its plan shows. The result
stands in the log. It must never hold a record or a key.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from _hub_control import TASK_DEFAULTS, HubControl, carried_on, ended, within
from airflow.sdk import DAG, Param, get_current_context, task

log = logging.getLogger("airflow.task")

GATHER_FOR_S = 3 * 3600.0

with DAG(
    dag_id="reconcile",
    description="Đối soát ba bên: trường, trục, Bộ / Three-way reconciliation: school, hub, Ministry",
    # 03:30 in Vietnam, after the nightly comparison.
    schedule="30 20 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    # 07:30 in Vietnam.
    deadline=within(timedelta(hours=4)),
    default_args=TASK_DEFAULTS,
    params={
        "connector": Param("", type="string", description="Chỉ kết nối này / this connector alone"),
        "school": Param("", type="string", description="Chỉ trường này / this school alone"),
        "repair": Param(False, type="boolean", description="Gửi phần khác biệt / queue the difference"),
    },
    tags=["lien-thong", "reconcile"],
) as reconcile:

    @task(execution_timeout=timedelta(minutes=5))
    def begin() -> list[dict[str, Any]]:
        """A run for each connector and record type, under a key of this DAG run's: repeated, the same ones."""
        context = get_current_context()
        params, hub = dict(context["params"]), HubControl.connect()
        begun = []
        for item in hub.get("/reconciliations/wanted")["items"]:
            if params["connector"] in ("", item["connector"]):
                key = f"{str(context['dag_run'].run_id)[:200]}:{item['connector']}:{item['type']}"
                run = hub.post("/reconciliations", {**item, "key": key, "school": params["school"] or None})
                begun.append({**item, "run": run["id"]})
        return begun

    @task(max_active_tis_per_dag=2, execution_timeout=timedelta(seconds=GATHER_FOR_S + 600))
    def gather(order: dict[str, Any]) -> dict[str, Any]:
        """To the end of both sides; what was found."""
        hub, run, name = HubControl.connect(), order["run"], f"{order['connector']} {order['type']}"

        def go_on() -> dict[str, Any]:
            return hub.post(f"/reconciliations/{run}/gather", {"for_s": 20.0}, timeout_s=900.0)

        carried_on(go_on, lambda said: said["state"] != "gathering", GATHER_FOR_S, name)
        found = hub.get(f"/reconciliations/{run}")["result"]
        log.info("%s: %s", name, found)
        return {**order, "plan": found["plan"], "differences": found["differences"]}

    @task(max_active_tis_per_dag=1, execution_timeout=timedelta(hours=2))
    def repair(found: dict[str, Any]) -> dict[str, Any]:
        """Queue what the plan showed, if asked to. A retry goes on; what was queued is not queued twice."""
        hub, total = HubControl.connect(), {"queued": 0, "on_their_way": 0}
        if not get_current_context()["params"]["repair"]:
            log.info("%s %s: %d to be sent; not asked to", found["connector"], found["type"], found["plan"])
            return total
        while True:
            done = hub.post(f"/reconciliations/{found['run']}/repair", {"planned": found["plan"]}, timeout_s=900.0)
            for name in total:
                total[name] += done[name]
            log.info("%s %s: %s", found["connector"], found["type"], done)
            if not done["left"]:
                return total

    repair.expand(found=gather.expand(order=begin())) >> ended.override(trigger_rule="none_failed")()
