"""Every order of the console and of the control API says whether it asks why: a new one has to decide."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.requests import Request

import hub.console
from hub.api import comparison, control, control_filings, control_reconcile, control_schedules, gate_control
from hub.api.problems import Problem
from hub.console.guard import keep, reason
from hub.console.kept import Sent, kept
from hub.console.render import _environment, _Helpers, respond

REASON = {
    "/calendar/days/{number}/remove", "/calendar/sessions", "/codes/approve", "/connectors/new", "/connectors/{name}/edit",
    "/connectors/{name}/pause", "/connectors/{name}/resume", "/connectors/{name}/shares/resume", "/deliveries/{delivery}/cancel",
    "/filings/inbox/{entry}", "/filings/portal/callback/{connector}", "/filings/portal/callback/{connector}/end",
    "/gates/{gate}/code", "/gates/{gate}/move", "/gates/{gate}/pictures/keep", "/gates/{gate}/replace", "/gates/{gate}/revoke",
    "/gates/{gate}/rotate", "/gates/{gate}/trace", "/parked/send-anyway", "/parked/{task}/resolve", "/people/link",
    "/people/links/{number}/undo", "/people/namespace", "/people/offset", "/records/{record}/correct/send", "/reconcile/{given}/repair",
    "/replay", "/users", "/users/{name}/block", "/users/{name}/password", "/verify/{verification}/cancel",
}  # fmt: skip
"""What changes something for others: a sentence, journaled."""
PURPOSE = {
    "/calls/{call}/unmask", "/gates/{gate}/pictures/{picture}", "/messages/{message}/unmask", "/people/show", "/receipts/export",
    "/records/{record}/correct", "/records/{record}/evidence", "/records/{record}/unmask", "/verify",
}  # fmt: skip
"""What shows, takes out or looks up personal fields: the same sentence, journaled before anything is shown."""
AT_TIMES = {
    "/filings/portal/pull/{connector}/{what}": "a schedule does the same by itself; with a reason where it takes what is gone as gone",
}
NONE = {
    "/login": "nothing of others changes",
    "/logout": "nothing of others changes",
    "/password": "one's own",
    "/calendar/days": "the title says why, to everybody who sees the day",
    "/connectors/{name}/probe": "connects and sends nothing that counts",
    "/gates/{gate}/trace/stop": "ends what ends by itself within a quarter of an hour",
    "/receipts/upload": "the file is the school's own push, with a receipt; it replaces nothing that its next push would not",
    "/reconcile": "compares, and changes nothing",
    "/reconcile/{given}/gather": "compares, and changes nothing",
    "/twins/{name}/fault": "a simulator alone is touched, and the fault ends by itself",
    "/verify/{verification}/sheet": "what for was stated when the verification began, and stands in it; the taking is journaled",
}
CONTROL = {
    "PUT /control/v1/gates/{device}/list": "reason",
    "DELETE /control/v1/gates/{device}/list": "reason",
    "POST /control/v1/connectors/{name}/pull/{what}": "reason with accept_removals: else a schedule's",
    "POST /control/v1/gates/{device}/catch-up": "what comes is recognised: asking twice changes nothing",
    "POST /control/v1/connectors/{connector}/compare": "a schedule's: its run says why",
    "POST /control/v1/filings/deadlines": "a schedule's",
    "POST /control/v1/maintenance/partitions": "a schedule's",
    "POST /control/v1/reconcile": "a schedule's: counts",
    "POST /control/v1/schedules/ended": "a schedule tells what became of itself",
    "POST /control/v1/schedules/late": "a schedule's: looks for what is late, and alarms",
    "POST /control/v1/seals/verify": "a schedule's: reads",
    "POST /control/v1/reconciliations": "a schedule's: compares",
    "POST /control/v1/reconciliations/{number}/gather": "a schedule's: compares",
    "POST /control/v1/reconciliations/{number}/repair": "a schedule's: it is switched on by a setting that says so",
    "POST /control/v1/recoveries/{connector}/finish": "a leader's, under its lease and epoch",
    "POST /control/v1/recoveries/{connector}/hand-over": "a leader's, under its lease and epoch",
    "POST /control/v1/recoveries/{connector}/lead": "a leader's, under its lease and epoch",
    "POST /control/v1/recoveries/{connector}/probe": "a leader's: sends nothing that counts",
    "POST /control/v1/recoveries/{connector}/release": "a leader's, under its lease and epoch",
}


def _orders(router: APIRouter) -> set[tuple[str, str]]:
    return {
        (method, route.path)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods - {"GET", "HEAD"}
    }


def test_every_order_of_the_console_decides_whether_it_asks_why() -> None:
    found = _orders(hub.console.router)
    assert {m for m, _ in found} == {"POST"}
    decided = [*REASON, *PURPOSE, *AT_TIMES, *NONE]
    assert len(decided) == len(set(decided)), "one answer each"
    assert {p for _, p in found} == set(decided)


def test_every_order_of_the_control_api_decides_too() -> None:
    routers = (control, control_filings, control_reconcile, control_schedules, comparison, gate_control)
    found = {f"{method} {path}" for one in routers for method, path in _orders(one.router)}
    assert found == set(CONTROL)


def _request(path: str) -> Request:
    return Request({"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"", "state": {}})


def _sent(request: Request) -> Sent:
    found: Sent = request.state.sent
    return found


@pytest.mark.parametrize(
    "typed",
    ["", "   ", "ngắn", "x" * 251, "Sửa cho em 079204001234", "data:image/jpeg;base64," + "/9j/4AAQSkZJRgABAQ" * 12],
)
def test_what_is_no_sentence_is_none_and_is_kept(typed: str) -> None:
    request = _request("/connectors/a/pause")
    assert reason(request, FormData([("csrf", "t"), ("reason", typed), ("more", "điều khác")]), "reason") is None
    sent = _sent(request)
    assert sent.wrong and sent.path == "/connectors/a/pause" and set(sent.values) == {"reason", "more"}
    assert sent.values["more"] == "điều khác" and "/9j/" not in sent.values["reason"]
    assert "/9j/" in typed or sent.values["reason"] == typed.strip()


def test_a_sentence_is_as_it_is_journaled() -> None:
    request = _request("/connectors/a/pause")
    assert reason(request, FormData([("why", "  Bảo\u200b trì \n đêm nay ")])) == "Bảo trì đêm nay"
    assert not _sent(request).wrong


def test_only_the_form_that_was_sent_is_filled() -> None:
    sent = Sent(path="/people/link", values={"local": "7", "why": "x", "empty": ""}, wrong=True)
    mine = kept(sent, 1, "/people/link", {"local": 7})
    assert (mine.typed, mine.wrong, mine.get("why"), mine.get("empty", "y"), mine.get("box", "on")) == (
        True,
        True,
        "x",
        "",
        "",
    )
    for other in (
        kept(sent, 2, "/people/link", {"local": "8"}),
        kept(sent, 3, "/people/offset", {}),
        kept(None, 4, "/people/link", {}),
    ):
        assert (other.typed, other.wrong, other.get("why"), other.get("why", "có")) == (False, False, "", "có")
    assert kept(None, 1, "/gates/cổng 1/code", {}).action == "/gates/c%E1%BB%95ng%201/code"


@pytest.mark.parametrize(
    ("lang", "told"), [("vi", "Hãy viết một câu từ 8 đến 250 ký tự"), ("en", "Write a sentence of 8 to 250 characters")]
)
def test_the_field_says_what_is_wanted_and_what_was_wrong(lang: str, told: str) -> None:
    page = _environment().from_string(
        '{% import "_parts.html" as parts with context %}{% set k = kept("/x") %}{{ parts.why(k) }}'
    )

    def shown(sent: Sent | None) -> str:
        helpers = _Helpers(lang, sent)  # type: ignore[arg-type]
        names = {name: getattr(helpers, name) for name in dir(helpers) if not name.startswith("_")}
        return str(page.render(names | {"visitor": None}))

    fresh = shown(None)
    assert 'minlength="8" maxlength="250"' in fresh and "8–250" in fresh and told not in fresh
    again = shown(Sent(path="/x", values={"why": '"><b>'}, wrong=True))
    assert told in again and 'aria-invalid="true"' in again and "&#34;&gt;&lt;b&gt;" in again


def test_an_order_without_a_reason_answers_422_and_a_done_one_forgets_what_was_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def render(request: Any, template: str, lang: Any, sent: Any, **context: Any) -> str:
        seen.append(sent)
        return ""

    monkeypatch.setattr("hub.console.render.render", render)
    request = _request("/x")
    reason(request, FormData([("why", "ngắn")]))
    assert respond(request, "error.html").status_code == 422
    keep(request, FormData([("why", "đủ dài rồi")]))
    assert respond(request, "error.html").status_code == 200
    assert respond(request, "error.html", status=409).status_code == 409
    assert [s is not None for s in seen] == [True, False, True]


def test_a_page_that_has_the_form_no_more_still_says_what_was_wrong() -> None:
    page = _environment().from_string(
        '{% extends "base.html" %}{% block main %}{% set k = kept("/x") %}{{ parts.why(k) }}{% endblock %}'
    )

    def shown(path: str) -> str:
        helpers = _Helpers("en", Sent(path=path, values={"why": "short"}, wrong=True))
        names = {name: getattr(helpers, name) for name in dir(helpers) if not name.startswith("_")}
        more = {
            "request": _request(path),
            "path": path,
            "visitor": None,
            "link": None,
            "tongue": "vi",
            "tongues": {"vi": "Tiếng Việt"},
        }
        return str(page.render(names | more))

    here, gone = shown("/x"), shown("/y")
    assert here.count("Write a sentence") == gone.count("Write a sentence") == 1
    assert '<p class="field-error"' in here and '<p class="flash bad"' in gone and 'value="short"' not in gone


@pytest.mark.parametrize("why", ["", "ngắn", "x" * 251])
def test_who_changes_how_a_gate_is_read_says_why_to_the_control_api(why: str) -> None:
    with pytest.raises(Problem) as refused:
        gate_control._reason(why)
    assert refused.value.status == 422 and "8" in refused.value.detail.vi and "reason" in refused.value.detail.en
    assert gate_control._reason(" Lắp cổng mới  ở trường ") == "Lắp cổng mới ở trường"
