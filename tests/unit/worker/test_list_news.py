"""What a page of a list says of its gates: when they were there, how busy they were; a time nobody can believe says neither."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.kernel.intake import Accepted, Arrival, Source
from hub.kernel.ports import Reject, Text
from hub.worker.list_news import news_of
from iot.hanet.decode import PROFILES, seen

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
CAMERA = {
    "id": "C1",
    "family": "hanet",
    "profile": "",
    "school": "31000101",
    "entrance": "x",
    "direction": "in",
    "zone": "",
}


def told(times: list[datetime], *, itself: bool = False, duplicate: bool = False, **more: Any) -> dict[str, Any]:
    """What a page of such passages of C1 says, C1 itself being asked; `trace`, `invalid`, and `known` of its entry."""
    entry = {**CAMERA, "trace": more.get("trace"), **more.get("known", {})}
    invalid = (
        Reject(pointer="", code="unreadable", message=Text("không đọc được", "unreadable"))
        if more.get("invalid")
        else None
    )
    items, arrivals = [], []
    for n, at in enumerate(times):
        said = {"aliasid": f"HS{n}", "time": int(at.timestamp() * 1000)}
        items.append(("C1", seen(str(n), said, NOW, entry, PROFILES.get(None).settings, listed=True)))
        arrivals.append(
            Arrival(source=Source("device", "C1"), type="x", body=b"", content_type="x", digest=b"", invalid=invalid)
        )
    answers = [Accepted(message=n, duplicate=duplicate) for n in range(len(times))]
    return news_of(
        "C1", items, arrivals, answers, {"C1": entry}, NOW, listed=len(times), itself=itself, offset_s=None
    ).get("C1", {})


def test_a_camera_was_there_when_it_saw_somebody_however_long_ago() -> None:
    last_year = NOW - timedelta(days=200)
    found = told([last_year, last_year - timedelta(hours=1)])
    assert (found["seen"], found["happened"], found["events"]) == (last_year, last_year, 2)
    assert not found["noise"], "too long ago to be a habit"
    found = told([last_year, NOW - timedelta(hours=1)])
    assert found["seen"] == NOW - timedelta(hours=1) and sum(found["noise"].values()) == 1


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize(
    ("times", "more"),
    [
        ([datetime(2000, 1, 1, tzinfo=UTC)], {}),
        ([NOW + timedelta(hours=2)], {}),
        ([NOW - timedelta(hours=1)], {"invalid": True}),
        ([NOW - timedelta(hours=1)], {"duplicate": True}),
        ([], {}),
    ],
)
def test_what_cannot_be_believed_is_no_sign_of_life(times: list[datetime], more: dict[str, Any], itself: bool) -> None:
    found = told(times, itself=itself, trace=7, **more)
    assert found["happened"] is None and not found.get("noise")
    assert found["trace"][-1][2]["kind"] == "list"
    if itself:
        assert "seen" not in found and found["state"] == "online", "it answered: now"
    else:
        assert found["seen"] is None and "state" not in found, "the vendor's cloud answered"
