"""A small client of the hub's control API, for DAGs.

Standard library and `airflow.sdk` alone: a site may run Airflow on another machine, without the hub's code. It must
never import the hub, and never repeat a call by itself: Airflow's retries do, and every call may be repeated.
"""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from airflow.sdk import (
    Connection,
    DeadlineAlert,
    DeadlineReference,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    SyncCallback,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException

log = logging.getLogger("airflow.task")

CONNECTION_ID = "hub_control"
LEASE_S = 30.0
"""Long enough for Airflow to start the next task, short enough for the hub's ticker to stand in soon."""
POLL_S = 0.5
_TIMEOUT_S = 30.0
TELL_FOR_S = 600.0
"""How long a missed deadline is tried to be told of."""


class ControlRefused(Exception):
    """Trục liên thông từ chối: gọi lại cũng vô ích. / The hub refused: the same call again would be refused again."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        said = problem.get("texts") or {}
        self.status = status
        self.code = str(problem.get("code", ""))
        super().__init__(f"HTTP {status} {self.code}: {said.get('vi', '')} / {said.get('en', '')}")


class ControlUnreachable(Exception):
    """Trục liên thông chưa trả lời được. / The hub does not answer for now."""


RETRIES = 5
POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=ControlRefused, action=RetryAction.FAIL, reason="refused: another leads, or it is over"),
        RetryRule(exception=ControlUnreachable, action=RetryAction.RETRY, reason="the hub does not answer"),
        RetryRule(exception=Exception, action=RetryAction.FAIL, reason="not a passing fault"),
    ]
)
"""Fail at once on what a repeat cannot change; back off while the hub cannot be reached."""

TASK_DEFAULTS: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay": timedelta(seconds=3),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=1),
    "retry_policy": POLICY,
}


class HubControl:
    """Calls of the control API. Each raises `ControlRefused` (4xx) or `ControlUnreachable` (no answer, 5xx)."""

    def __init__(self, host: str, port: int, token: str, schema: str = "http") -> None:
        self._new = http.client.HTTPSConnection if schema == "https" else http.client.HTTPConnection
        self._host = host
        self._port = port
        self._token = token

    @classmethod
    def connect(cls) -> HubControl:
        """From Airflow's connection `hub_control`: host, port, schema (http, https), password (the token)."""
        known = Connection.get(CONNECTION_ID)
        if not known.host or not known.password:
            raise ValueError(f"connection {CONNECTION_ID} needs host and password")
        schema = known.schema or "http"
        return cls(known.host, known.port or (443 if schema == "https" else 80), known.password, schema)

    def recoveries(self) -> list[dict[str, Any]]:
        """Recoveries that are open."""
        return list(self._call("GET", "/recoveries?open=true")["items"])

    def opening(self, connector: str, epoch: int) -> dict[str, Any]:
        """By calendar and quota of the day: `{open, opens_at}`; `opens_at` None: open now, or not within its horizon."""
        row = self._call("GET", f"/recoveries/{quote(connector, safe='')}?epoch={epoch}&brief=true")["recovery"]
        return {"open": row.get("open", True), "opens_at": row.get("opens_at")}

    def progress(self, connector: str, epoch: int, **query: Any) -> dict[str, Any]:
        """Counts of a connector; see the hub for `since`, `canary`, `delivered`, `brief`."""
        wanted = urlencode({"epoch": epoch, **{k: v for k, v in query.items() if v is not None}})
        return dict(self._call("GET", f"/recoveries/{quote(connector, safe='')}?{wanted}")["progress"])

    def probe(self, connector: str) -> dict[str, Any]:
        """Whether the connector connects and authenticates: `{ok, ms, detail}`."""
        return self._act(connector, "probe", {})

    def lead(self, connector: str, epoch: int, owner: str) -> dict[str, Any]:
        """Take or extend the lease."""
        return self._act(connector, "lead", {"epoch": epoch, "owner": owner, "lease_s": LEASE_S})

    def release(
        self, connector: str, epoch: int, owner: str, step: int, count: int, before: str | None
    ) -> dict[str, Any]:
        """Release up to `count`: what is due, and what began to wait before the time `before`."""
        body = {"epoch": epoch, "owner": owner, "step": step, "count": count, "waiting_since_before": before}
        return self._act(connector, "release", body)

    def finish(self, connector: str, epoch: int, owner: str) -> dict[str, Any]:
        """Close the recovery: `{done, reason}`."""
        return self._act(connector, "finish", {"epoch": epoch, "owner": owner})

    def hand_over(self, connector: str, epoch: int, owner: str) -> None:
        """Give the lease up; the hub's ticker stands in."""
        self._act(connector, "hand-over", {"epoch": epoch, "owner": owner})

    def get(self, path: str) -> dict[str, Any]:
        """Ask for `path` below `/control/v1`."""
        return dict(self._call("GET", path))

    def post(self, path: str, body: dict[str, Any], timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
        """Have something done; each such call may be repeated."""
        return dict(self._call("POST", path, body, timeout_s=timeout_s))

    def partitions(self) -> dict[str, Any]:
        """Make the coming days' partitions: `{made, stray}`."""
        return dict(self._call("POST", "/maintenance/partitions", {}))

    def reconcile(self) -> dict[str, Any]:
        """The accounting identity: `{balanced, differences, account}`."""
        return dict(self._call("POST", "/reconcile", {}, timeout_s=900.0))

    def verify_seals(self, days: int) -> dict[str, Any]:
        """The journal's seals computed anew: `{broken}`, numbers of seals that no longer hold."""
        return dict(self._call("POST", "/seals/verify", {"days": days}, timeout_s=900.0))

    def _act(self, connector: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._call("POST", f"/recoveries/{quote(connector, safe='')}/{verb}", body))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = _TIMEOUT_S) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = self._new(self._host, self._port, timeout=timeout_s)
        try:
            connection.request(method, f"/control/v1{path}", None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise ControlUnreachable(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if reply.status >= 500 or reply.status == 429:
            raise ControlUnreachable(f"HTTP {reply.status}")
        try:
            found = json.loads(text)
        except ValueError:
            found = {}
        if reply.status >= 400:
            raise ControlRefused(reply.status, found if isinstance(found, dict) else {})
        return found


def tell_late(context: dict[str, Any]) -> None:
    """The callback of a missed deadline: the hub says it as its alarm. Tried for a while: nobody repeats a callback."""
    run = context["dag_run"]
    word = {
        "schedule": run["dag_id"],
        "run": run["dag_run_id"],
        "deadline": str(context["deadline"]["deadline_time"]).replace(" ", "T"),
    }
    hub = HubControl.connect()
    for _ in polls(TELL_FOR_S, 1.0, 15.0):
        try:
            said = hub.post("/schedules/late", word)
        except ControlUnreachable as error:
            log.warning("the hub is not told yet: %s", error)
            continue
        log.warning("%s is late: %s", word["run"], said)
        return
    raise ControlUnreachable(f"not told within {TELL_FOR_S:g} s")


def within(interval: timedelta) -> DeadlineAlert:
    """The deadline of a DAG's runs: `interval` after a run was queued, the hub is told of it (`tell_late`)."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=interval, callback=SyncCallback(tell_late)
    )


@task(task_id="ended", execution_timeout=timedelta(minutes=5))
def ended() -> None:
    """The last task of a DAG that has a deadline: tells the hub that a run of it has ended."""
    HubControl.connect().post("/schedules/ended", {"schedule": get_current_context()["dag_run"].dag_id})


def carried_on(
    step: Callable[[], dict[str, Any]],
    done: Callable[[dict[str, Any]], bool],
    for_s: float,
    what: str,
    pause_s: float = 0.0,
) -> dict[str, Any]:
    """Order `step` until it is `done`, for at most `for_s` seconds, resting as long as the hub says (`after_s`), else `pause_s`.

    Raises `AirflowFailException` for a `fault` without `after_s`, which is for a person, and when the time is over.
    """
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        seen = step()
        log.info("%s: %s", what, seen)
        if done(seen):
            return seen
        if seen["fault"] and not seen["after_s"]:
            raise AirflowFailException(f"{what}: {seen['fault']}")
        time.sleep(min(float(seen["after_s"] or pause_s), 60.0))
    raise AirflowFailException(f"{what}: not done within {for_s:g} s")


def polls(for_s: float, first_s: float | None = None, longest_s: float | None = None) -> Iterator[None]:
    """Yield now and again for at most `for_s` seconds; pauses grow from `first_s` to `longest_s` (both: `POLL_S`)."""
    pause = POLL_S if first_s is None else first_s
    longest = pause if longest_s is None else longest_s
    end = time.monotonic() + for_s
    while True:
        yield
        if time.monotonic() + pause > end:
            return
        time.sleep(pause)
        pause = min(pause * 2, longest)
