"""The DAG `redeliver`: lead the recovery of connectors whose deliveries wait. Probe, canary, ramp, drain, reconcile.

The hub starts a run for each recovery it opens (run id `redeliver__<connector>__<epoch>`), and a run every five minutes
sweeps all that are open. It leads by lease and sends nothing: the hub's workers do. Every task may be repeated. Where the
counterparty is closed by its calendar or its quota of the day is used up, the run waits deferred, holding neither a
worker's slot nor the lease; where that comes about while it drains, it ends, and a sweep takes the recovery up later. It must
never import the hub, nor go on after a 409: then another leads, or the recovery is over, and the run's part ends as skipped.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from _hub_control import LEASE_S, TASK_DEFAULTS, ControlRefused, HubControl, polls, within
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG, BaseOperator, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

log = logging.getLogger("airflow.task")

PROBE_FOR_S = 120.0
CANARY_FOR_S = 120.0
RAMP_FOR_S = 600.0
DRAIN_FOR_S = 4 * 3600.0
FINISH_FOR_S = 120.0
LATE_AFTER = timedelta(hours=2)
"""A run that still leads so long after it was queued is told of; how long one may take at all, its tasks' own times say."""
OPENING_FOR = timedelta(hours=12)
"""A run waits for an opening at most this far ahead; beyond, the sweep that comes after it takes the recovery up."""
CANARY_PAUSES_S = (2.0, 10.0)
PROBE_PAUSES_S = (1.0, 8.0)
RAMP_FIRST, RAMP_LAST = 10, 320
AT_ONCE = 4
"""Mapped tasks of one kind that run at the same time, over all runs: they must leave room for other DAGs."""

_ANSWERED = ("delivered", "parked", "dead")
_FAILED = ("waiting", "uncertain")


def _owner() -> str:
    return f"airflow:{get_current_context()['dag_run'].run_id}"


class _Lead:
    """The lease of one connector's recovery, as this run holds it."""

    def __init__(self, target: dict[str, Any]) -> None:
        self.connector: str = target["connector"]
        self.epoch: int = target["epoch"]
        self.before: str | None = target.get("before")
        self.owner = _owner()
        self.hub = HubControl.connect()
        self.step = 0
        self.now: str | None = None
        self.since: str | None = None
        self.last = 0
        self.most = RAMP_LAST

    def renew(self) -> None:
        """Extend the lease. `ControlRefused` when another leads or the recovery is over."""
        held = self.hub.lead(self.connector, self.epoch, self.owner)
        self.step, self.now, self.most = held["step"], held["now"], held["most"]
        self.since = self.since or self.now

    def go_on(self) -> None:
        """`renew` in the middle of a recovery. Where it is over, or another leads it by now, this run's part ends without an alarm:
        so it is after Airflow was away for long."""
        try:
            self.renew()
        except ControlRefused as refused:
            if refused.code not in ("stale_epoch", "not_leader"):
                raise
            raise AirflowSkipException(f"{self.connector}: {refused}") from refused

    def release(self, count: int) -> list[int]:
        """Release the next step. An answer that was lost is found out by the step's number, never released twice."""
        done = self.hub.release(self.connector, self.epoch, self.owner, self.step + 1, count, self.before)
        self.step, self.since, self.last = done["step"], done["at"], done["count"]
        return list(done["deliveries"])

    def progress(self, **query: Any) -> dict[str, Any]:
        """Counts since the last release."""
        return self.hub.progress(self.connector, self.epoch, since=self.since, **query)

    def give_up(self, why: str) -> None:
        """Let the hub's ticker stand in, and end this run for the connector with an alarm."""
        self.hub.hand_over(self.connector, self.epoch, self.owner)
        raise AirflowFailException(f"{self.connector}: {why}")

    def leave_if_closed(self) -> None:
        """End this run's part, without an alarm, when nothing can be sent before the next opening."""
        seen = self.hub.opening(self.connector, self.epoch)
        if not seen["open"]:
            self.hub.hand_over(self.connector, self.epoch, self.owner)
            raise AirflowSkipException(f"{self.connector}: closed until {seen['opens_at']}; a sweep takes it up then")

    def target(self) -> dict[str, Any]:
        """What the next task needs."""
        return {"connector": self.connector, "epoch": self.epoch, "before": self.before}


class UntilOpen(BaseOperator):
    """Passes its target on when the counterparty is open by its calendar and quota; until then it is deferred."""

    template_fields = ("target",)

    def __init__(self, *, target: Any, **common: Any) -> None:
        super().__init__(**common)
        self.target = target

    def execute(self, context: Any, event: Any = None) -> dict[str, Any]:
        """Also where the trigger resumes it: the calendar may have been changed meanwhile."""
        lead = _Lead(self.target)
        try:
            seen = lead.hub.opening(lead.connector, lead.epoch)
            if seen["open"]:
                lead.renew()
                return lead.target()
            lead.hub.hand_over(lead.connector, lead.epoch, lead.owner)
        except ControlRefused as refused:
            raise AirflowSkipException(str(refused)) from refused
        log.info("%s: closed until %s", lead.connector, seen["opens_at"])
        at = datetime.fromisoformat(seen["opens_at"]) if seen["opens_at"] else None
        if at is None or at - datetime.now(UTC) > OPENING_FOR:
            raise AirflowSkipException(f"{lead.connector}: closed until {seen['opens_at']}; a sweep takes it up then")
        # A second later: what the hub calls open must not be a moment away.
        self.defer(trigger=DateTimeTrigger(at.astimezone(UTC) + timedelta(seconds=1)), method_name="execute")
        raise AssertionError("unreachable")


with DAG(
    dag_id="redeliver",
    description="Khôi phục việc gửi tới các hệ thống / Recover deliveries to counterparties",
    schedule="*/5 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=16,
    dagrun_timeout=OPENING_FOR + timedelta(hours=6),
    deadline=within(LATE_AFTER),
    default_args=TASK_DEFAULTS,
    tags=["lien-thong", "recovery"],
) as redeliver:

    @task
    def connectors() -> list[dict[str, Any]]:
        """The recoveries this run is to lead: the one it was started for, else all that nobody but a ticker leads."""
        conf = get_current_context()["dag_run"].conf or {}
        mine = _owner()
        found = []
        for row in HubControl.connect().recoveries():
            if row["connector_state"] != "active":
                continue
            if conf.get("connector") is not None:
                if row["connector"] != conf["connector"] or row["epoch"] != conf.get("epoch", row["epoch"]):
                    continue
            elif row["owner"] is not None and row["owner"] != mine and not row["owner"].startswith("ticker:"):
                continue
            elif not row.get("open", True):
                continue  # the run that was started for it waits, or the first sweep after the opening leads it
            found.append({"connector": row["connector"], "epoch": row["epoch"]})
        return found

    @task(max_active_tis_per_dag=AT_ONCE, execution_timeout=timedelta(minutes=5))
    def probe(target: dict[str, Any]) -> dict[str, Any]:
        """Take the lease and wait until the counterparty can be reached and lets us in. One that is closed is not called."""
        lead = _Lead(target)
        detail = ""
        for _ in polls(PROBE_FOR_S, *PROBE_PAUSES_S):
            try:
                lead.renew()
            except ControlRefused as refused:
                # Another run leads it, or it ended meanwhile: nothing to do, and nothing wrong.
                raise AirflowSkipException(str(refused)) from refused
            if not lead.hub.opening(lead.connector, lead.epoch)["open"]:
                return lead.target()
            seen = lead.hub.probe(lead.connector)
            if seen["ok"]:
                return lead.target()
            detail = f"{seen['detail']['vi']} / {seen['detail']['en']}"
            log.info("%s: %s", lead.connector, detail)
        lead.give_up(f"not reachable for {PROBE_FOR_S:g} s: {detail}")
        raise AssertionError("unreachable")

    @task(max_active_tis_per_dag=AT_ONCE, execution_timeout=timedelta(minutes=15))
    def canary(target: dict[str, Any]) -> dict[str, Any]:
        """Release one, and another after a pause, until the counterparty answers one."""
        lead = _Lead(target)
        for _ in polls(CANARY_FOR_S * 3, *CANARY_PAUSES_S):
            lead.go_on()
            lead.before = lead.now
            released = lead.release(1)
            if not released:
                if lead.progress()["waiting"] == 0:
                    return lead.target()
                continue
            fate = _fate(lead, released[0])
            if fate in _ANSWERED:
                lead.before = lead.since
                return lead.target()
            log.info("%s: canary %d: %s", lead.connector, released[0], fate)
        lead.give_up("no canary was answered")
        raise AssertionError("unreachable")

    def _fate(lead: _Lead, delivery: int) -> str:
        fate = "ready"
        for _ in polls(CANARY_FOR_S):
            lead.go_on()
            fate = lead.progress(canary=delivery, brief="true")["canary"] or "gone"
            if fate not in ("ready", "sending"):
                break
            if fate == "ready":
                lead.leave_if_closed()
        return fate

    @task(max_active_tis_per_dag=AT_ONCE, execution_timeout=timedelta(minutes=15))
    def ramp(target: dict[str, Any]) -> dict[str, Any]:
        """Release more and more, as long as all goes well."""
        lead = _Lead(target)
        _release_all(lead, RAMP_FIRST, RAMP_FOR_S, until_full=True)
        return lead.target()

    @task(max_active_tis_per_dag=AT_ONCE, execution_timeout=timedelta(seconds=DRAIN_FOR_S + 300))
    def drain(target: dict[str, Any]) -> dict[str, Any]:
        """Release until nothing that waited for the outage is left."""
        lead = _Lead(target)
        _release_all(lead, RAMP_LAST, DRAIN_FOR_S, until_full=False)
        return lead.target()

    def _release_all(lead: _Lead, size: int, for_s: float, *, until_full: bool) -> None:
        """Release steps that double while little fails and halve when more than a tenth does; ends when there is nothing left.

        The hub's queue is kept filled but short: the next step follows when half of the last has been taken up, and the
        largest is some seconds of the counterparty's quota, as the hub says.
        """
        for _ in polls(for_s):
            lead.go_on()
            most = RAMP_LAST if until_full else lead.most
            seen = lead.progress(brief="true")
            if lead.last and seen["failed"] >= lead.last:
                lead.give_up(f"all of step {lead.step} failed")
            if seen["queued"] > lead.last // 2:
                lead.leave_if_closed()
                continue
            if lead.last:
                size = max(1, size // 2) if seen["failed"] * 10 > lead.last else min(most, size * 2)
            if until_full and size >= most:
                return
            lead.release(size)
            if not lead.last and not lead.progress(brief="true")["queued"]:
                return
        if not until_full:
            lead.give_up(f"not drained within {for_s:g} s")

    @task(max_active_tis_per_dag=AT_ONCE, execution_timeout=timedelta(minutes=5))
    def reconcile(target: dict[str, Any]) -> dict[str, Any]:
        """Close the recovery and say what became of it; the run's result is what an operator reads."""
        lead = _Lead(target)
        for _ in polls(FINISH_FOR_S):
            try:
                lead.renew()
            except ControlRefused as refused:
                if refused.code != "stale_epoch":
                    raise
            done = lead.hub.finish(lead.connector, lead.epoch, lead.owner)
            if done["done"]:
                # Asked afterwards, so that what the last step delivered is counted.
                seen = lead.hub.progress(lead.connector, lead.epoch, delivered="true")
                log.info("%s: recovered: %s", lead.connector, seen)
                return {"connector": lead.connector, "epoch": lead.epoch, **seen}
            log.info("%s: %s / %s", lead.connector, done["reason"]["vi"], done["reason"]["en"])
            lead.release(RAMP_FIRST)
        lead.give_up("still something due")
        raise AssertionError("unreachable")

    @task_group
    def recover(target: Any) -> None:
        """One connector's recovery."""
        opened = UntilOpen(task_id="opening", target=probe(target), execution_timeout=timedelta(minutes=2))
        reconcile(drain(ramp(canary(opened.output))))

    recover.expand(target=connectors())

assert 2 * max(*CANARY_PAUSES_S) < LEASE_S, "a lease must outlast the longest pause between two renewals"
