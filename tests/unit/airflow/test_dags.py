"""The DAGs load, and do what they should against a control API, without Airflow's processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

SHORT = {"PROBE_FOR_S": 1.5, "CANARY_FOR_S": 2.0, "PROBE_PAUSES_S": (0.1, 0.2), "CANARY_PAUSES_S": (0.1, 0.2)}
CONF = {"connector": "portal", "epoch": 3}


def _states(found: dict[str, Any]) -> dict[str, str]:
    return {k.removeprefix("recover."): v.lower().removeprefix("taskinstancestate.") for k, v in found["tasks"].items()}


def test_dags_load_serialise_and_import_nothing_of_the_hub(drive: Any) -> None:
    found = drive("listing")
    assert found["errors"] == {}
    assert set(found["dags"]) == {
        "redeliver",
        "maintenance",
        "nightly_delta",
        "catalogues",
        "verify_rosters",
        "deadline_watch",
        "reconcile",
    }
    assert found["modules"] == []
    assert found["tasks"]["redeliver"] == [
        "connectors", "recover.canary", "recover.drain", "recover.opening", "recover.probe", "recover.ramp", "recover.reconcile",
    ]  # fmt: skip
    assert found["policies"]["redeliver"] == ["ExceptionRetryPolicy"]
    assert {k: v for k, v in found["deadlines"].items() if v} == {
        name: [[hours * 3600.0, "_hub_control.tell_late"]]
        for name, hours in (("redeliver", 2), ("nightly_delta", 4), ("reconcile", 4))
    }


def test_a_run_leads_from_probe_to_the_end(drive: Any, hub: Any) -> None:
    fake, control = hub
    found = drive("run", "redeliver", CONF, SHORT, control)
    assert set(_states(found).values()) == {"success"}, found
    assert fake.state == "idle" and fake.waiting == 0
    counts = [n for _step, n in fake.releases]
    assert counts[0] == 1, "a canary first"
    assert counts[1] == 10 and sum(counts) == 25
    assert [s for s, _ in fake.releases] == list(range(1, len(counts) + 1))
    assert fake.calls.index("probe") < fake.calls.index("release")


def test_a_sweep_leaves_alone_what_another_run_leads(drive: Any, hub: Any) -> None:
    fake, control = hub
    fake.owner = "airflow:another-run"
    found = drive("run", "redeliver", {}, SHORT, control)
    assert _states(found)["connectors[-1]"] == "success"
    assert fake.releases == [] and fake.owner == "airflow:another-run"


def test_a_sweep_takes_over_from_a_ticker(drive: Any, hub: Any) -> None:
    fake, control = hub
    fake.owner = "ticker:worker@1"
    drive("run", "redeliver", {}, SHORT, control)
    assert fake.state == "idle"


def test_a_stale_epoch_has_nothing_to_do(drive: Any, hub: Any) -> None:
    fake, control = hub
    found = drive("run", "redeliver", CONF | {"epoch": 2}, SHORT, control)
    assert "failed" not in _states(found).values()
    assert fake.releases == [] and fake.state == "open"


def test_an_unreachable_counterparty_is_handed_to_the_ticker_and_alarmed(drive: Any, hub: Any) -> None:
    fake, control = hub
    fake.reachable = False
    found = drive("run", "redeliver", CONF, SHORT, control)
    states = _states(found)
    assert states["probe[0]"] == "failed" and found["state"].lower().endswith("failed")
    assert fake.calls.count("probe") > 1
    assert fake.releases == [] and fake.owner is None and "hand-over" in fake.calls


def test_a_step_that_fails_whole_is_handed_over(drive: Any, hub: Any) -> None:
    fake, control = hub
    fake.takes = lambda n: n <= 1
    found = drive("run", "redeliver", CONF, SHORT, control)
    states = _states(found)
    assert states["canary[0]"] == "success" and states["ramp[0]"] == "failed"
    assert [n for _s, n in fake.releases] == [1, 10] and fake.owner is None


@pytest.mark.parametrize("meanwhile", [{"state": "idle"}, {"owner": "airflow:another-run"}])
def test_a_run_that_finds_it_over_or_led_by_another_ends_without_an_alarm(
    drive: Any, hub: Any, meanwhile: dict[str, str]
) -> None:
    """As after Airflow was away for long, in the middle of a recovery."""
    fake, control = hub

    def takes(_n: int) -> bool:
        for name, value in meanwhile.items():
            setattr(fake, name, value)
        return True

    fake.takes = takes
    found = drive("run", "redeliver", CONF, SHORT, control)
    states = _states(found)
    assert found["state"].lower().endswith("success") and "failed" not in states.values(), found
    assert "skipped" in states.values() and [n for _s, n in fake.releases] == [1]


@pytest.mark.parametrize(
    ("balanced", "stray", "broken", "ends"),
    [(True, 0, [], "success"), (False, 0, [], "failed"), (True, 2, [], "failed"), (True, 0, [7], "failed")],
)
def test_nightly_check_alarms(drive: Any, hub: Any, balanced: bool, stray: int, broken: list[int], ends: str) -> None:
    fake, control = hub
    fake.balanced, fake.stray, fake.broken_seals = balanced, stray, broken
    found = drive("run", "maintenance", {}, {}, control)
    assert found["state"].lower().endswith(ends), found


def test_the_nightly_comparison_goes_on_page_by_page_to_the_end(drive: Any, hub: Any) -> None:
    fake, control = hub
    page = {"compared": 5, "unchanged": 4, "queued": 1, "on_their_way": 0, "unmapped": 0, "expired": 0}
    fake.scheduled = {
        "/comparisons": [{"items": ["ministry", "other"]}],
        "/connectors/ministry/compare": [page | {"next": "b"}, page | {"next": "c"}, page | {"next": None}],
    }
    found = drive("run", "nightly_delta", {"connector": "ministry"}, {}, control)
    assert set(_states(found).values()) == {"success"}, found
    assert [b["after"] for p, b in fake.ordered if p.endswith("/compare")] == [None, "b", "c"]
    assert fake.told == [("ended", {"schedule": "nightly_delta"})]


def test_only_lists_that_are_due_are_pulled_each_with_the_runs_own_key(drive: Any, hub: Any) -> None:
    fake, control = hub
    going = {"records": 1, "changes": 0, "fault": None, "after_s": 0.01}
    fake.scheduled = {
        "/pulls": [
            {
                "items": [
                    {"connector": "portal", "what": w, "every_s": 900, "due": w == "questions"}
                    for w in ("agencies", "questions")
                ]
            }
        ],
        "/connectors/portal/pull/questions": [going | {"done": False}, going | {"done": True}],
    }
    found = drive("run", "catalogues", {}, {"PAUSE_S": 0.05}, control)
    assert set(_states(found).values()) == {"success"}, found
    keys = [b["key"] for p, b in fake.ordered if "/pull/" in p]
    assert len(keys) == 2 and len(set(keys)) == 1


def test_a_list_that_cannot_be_pulled_fails_its_task_alone(drive: Any, hub: Any) -> None:
    fake, control = hub
    items = [{"connector": "portal", "what": w, "every_s": 900, "due": True} for w in ("agencies", "questions")]
    answer = {"records": 0, "changes": 0, "after_s": None}
    fake.scheduled = {
        "/pulls": [{"items": items}],
        "/connectors/portal/pull/agencies": [answer | {"done": False, "fault": "credentials"}],
        "/connectors/portal/pull/questions": [answer | {"done": True, "fault": None}],
    }
    states = _states(drive("run", "catalogues", {}, {"PAUSE_S": 0.05}, control))
    assert sorted(v for k, v in states.items() if k.startswith("pull")) == ["failed", "success"]


def test_a_scheduled_run_asks_with_what_the_hub_is_set_to(drive: Any, hub: Any) -> None:
    """Params stay empty on a schedule: the hub puts its own purpose and officer there."""
    fake, control = hub
    fake.scheduled = {"/verifications/due": [{"opened": [7]}], "/verifications/7": [{"state": "done"}]}
    states = _states(drive("run", "verify_rosters", {}, {"PAUSE_S": 0.05}, control))
    assert set(states.values()) == {"success"}
    assert [(b["purpose"], b["officer"]) for p, b in fake.ordered if p == "/verifications/due"] == [("", "")]


@pytest.mark.parametrize(("code", "ends"), [("not_set", "skipped"), ("no_purpose", "failed")])
def test_nobody_is_looked_up_without_purpose_and_officer(drive: Any, hub: Any, code: str, ends: str) -> None:
    fake, control = hub
    refused = {"code": code, "texts": {"vi": "chưa đặt", "en": "nobody is looked up by schedule"}}
    fake.scheduled = {"/verifications/due": [(409 if code == "not_set" else 422, refused)]}
    states = _states(drive("run", "verify_rosters", {}, {}, control))
    assert states["open_due[-1]"] == ends and len(fake.ordered) == 1


def test_opened_verifications_are_watched_to_their_end(drive: Any, hub: Any) -> None:
    fake, control = hub
    fake.scheduled = {
        "/verifications/due": [{"opened": [7, 8]}],
        "/verifications/7": [{"state": "open"}, {"state": "done"}],
        "/verifications/8": [{"state": "done"}],
    }
    conf = {"purpose": "Rà soát hồ sơ", "officer": "cb.01"}
    found = drive("run", "verify_rosters", conf, {"PAUSE_S": 0.05}, control)
    assert set(_states(found).values()) == {"success"}, found
    assert fake.ordered[0][1]["officer"] == "cb.01" and fake.ordered[0][1]["most"] == 20


def test_dates_of_filings_are_judged_by_the_hub(drive: Any, hub: Any) -> None:
    fake, control = hub
    fake.scheduled = {"/filings/deadlines": [{"missed": 1}]}
    assert set(_states(drive("run", "deadline_watch", {}, {}, control)).values()) == {"success"}
    assert len(fake.ordered) == 1


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_run_waits_deferred_for_a_closed_counterparty_without_the_lease(drive: Any, hub: Any) -> None:
    fake, control = hub
    opens = _in(1.0)
    fake.opens_at = [opens, opens]  # asked by the probe and by the wait; open when the wait is resumed
    found = drive("run", "redeliver", CONF, SHORT, control)
    assert set(_states(found).values()) == {"success"}, found
    assert "probe" not in fake.calls, "one that is closed is not called"
    assert fake.calls.index("hand-over") < fake.calls.index("release")
    assert "lead" in fake.calls[fake.calls.index("hand-over") : fake.calls.index("release")]
    assert fake.waiting == 0


def test_who_stays_closed_for_long_is_left_to_the_sweep_after_the_opening(drive: Any, hub: Any) -> None:
    fake, control = hub
    far = _in(40 * 3600.0)
    fake.opens_at = [far] * 8
    states = _states(drive("run", "redeliver", CONF, SHORT, control))
    assert states["opening[0]"] == "skipped" and fake.releases == [] and fake.owner is None
    swept = _states(drive("run", "redeliver", {}, SHORT, control))
    assert swept["connectors[-1]"] == "success" and "probe[0]" not in swept and fake.releases == []


def test_a_quota_used_up_in_the_middle_ends_the_run_without_an_alarm(drive: Any, hub: Any) -> None:
    """What was released stays ready: the run gives the lease up and is not a failure; nothing more is released."""
    fake, control = hub
    fake.used_up_after = 11
    found = drive("run", "redeliver", CONF, SHORT, control)
    states = _states(found)
    assert states["canary[0]"] == "success" and states["ramp[0]"] == "skipped" and "failed" not in states.values(), (
        found
    )
    assert [n for _s, n in fake.releases] == [1, 10] and fake.owner is None and fake.state == "open"


FOUND = {"state": "compared", "ours": 3, "theirs": 2, "unread": 0, "fault": None, "after_s": None}


def _reconciling(fake: Any) -> None:
    wanted = [{"connector": c, "type": "learner"} for c in ("ministry", "other")]
    fake.scheduled = {
        "/reconciliations/wanted": [{"items": wanted}],
        "/reconciliations": [{"id": 5}],
        "/reconciliations/5/gather": [
            FOUND | {"state": "gathering"},
            FOUND | {"state": "gathering", "fault": {"vi": "bận", "en": "busy"}, "after_s": 0.01},
            FOUND,
        ],
        "/reconciliations/5": [{"run": {}, "result": {"plan": 1, "differences": []}}],
        "/reconciliations/5/repair": [{"queued": 1, "on_their_way": 0, "left": 0}],
    }


@pytest.mark.parametrize("repair", [False, True])
def test_a_reconciliation_gathers_to_the_end_and_repairs_when_asked_to(drive: Any, hub: Any, repair: bool) -> None:
    fake, control = hub
    _reconciling(fake)
    conf = {"connector": "ministry", "school": "31HP0123001", "repair": repair}
    found = drive("run", "reconcile", conf, {}, control)
    assert set(_states(found).values()) == {"success"}, found
    (begun,) = [b for p, b in fake.ordered if p == "/reconciliations"]
    assert begun["school"] == "31HP0123001" and begun["key"].endswith(":ministry:learner")
    assert [b for p, b in fake.ordered if p.endswith("/repair")] == ([{"planned": 1}] if repair else [])


def test_a_reconciliation_that_needs_a_person_fails_its_task(drive: Any, hub: Any) -> None:
    fake, control = hub
    _reconciling(fake)
    fake.scheduled["/reconciliations/5/gather"] = [
        FOUND | {"state": "gathering", "fault": {"vi": "khóa", "en": "locked"}}
    ]
    states = _states(drive("run", "reconcile", {"connector": "ministry"}, {}, control))
    assert states["gather[0]"] == "failed" and not any(p.endswith("/repair") for p, _ in fake.ordered)
    assert fake.told == [], "a run that failed has not come to its end"
