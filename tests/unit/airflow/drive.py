"""Loads the DAGs and runs them in this process: one request a line on stdin, one answer a line on stdout (after MARK).

Apart from pytest's process, because Airflow reads its environment once, when it is first imported; and one process for
all tests, because that takes seconds.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

DAGS = Path(__file__).parents[3] / "airflow" / "dags"
MARK = "answer: "


@cache
def _bag() -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(dag_folder=str(DAGS), bundle_path=DAGS, bundle_name="dags-folder")


def listing() -> dict[str, Any]:
    from airflow.serialization.serialized_objects import DagSerialization

    bag = _bag()
    return {
        "errors": {str(k): str(v) for k, v in bag.import_errors.items()},
        "dags": {name: DagSerialization.to_dict(dag)["dag"]["dag_id"] for name, dag in bag.dags.items()},
        "tasks": {name: sorted(dag.task_ids) for name, dag in bag.dags.items()},
        "policies": {
            name: sorted({type(t.retry_policy).__name__ for t in dag.tasks}) for name, dag in bag.dags.items()
        },
        "deadlines": {
            name: sorted((d.interval.total_seconds(), d.callback.path) for d in dag.deadline or [])
            for name, dag in bag.dags.items()
        },
        "modules": sorted(
            m for m in sys.modules if m.split(".")[0] in ("hub", "adapters", "connectors", "iot", "mappings")
        ),
    }


def run(dag_id: str, conf: dict[str, Any], short: dict[str, Any], control: str) -> dict[str, Any]:
    os.environ["AIRFLOW_CONN_HUB_CONTROL"] = control
    dag = _bag().dags[dag_id]
    dag.deadline = None  # dag.test() knows no serialised one
    for task in dag.tasks:
        task.retries = 0  # dag.test() really sleeps the delays
        source = sys.modules[getattr(task, "python_callable", task.__class__).__module__]
        for name, value in short.items():
            if hasattr(source, name):
                setattr(source, name, value)
    found = dag.test(run_conf=conf)
    return {
        "state": str(found.state),
        "tasks": {f"{t.task_id}[{t.map_index}]": str(t.state) for t in found.get_task_instances()},
    }


def initdb() -> dict[str, Any]:
    from airflow.utils.db import initdb

    initdb()
    return {}


if __name__ == "__main__":
    verbs = {"listing": listing, "run": run, "initdb": initdb}
    for line in sys.stdin:
        verb, *given = json.loads(line)
        print("\n" + MARK + json.dumps(verbs[verb](*given)), flush=True)  # type: ignore[operator]
