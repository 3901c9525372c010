"""What an answer's date tells of a gate's clock, and what it must not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from hub.kernel.ports import Reply
from hub.worker import list_clocks
from hub.worker.list_clocks import offset_told

AT = datetime(2026, 11, 23, 0, 10, 0, 400_000, tzinfo=UTC)


def told(
    ahead_s: float, *, family: str = "dahua", known: float | None = None, ms: float = 20.0, **headers: str
) -> float | None:
    shown = AT - timedelta(milliseconds=ms / 2) + timedelta(seconds=ahead_s)
    entry = {"family": family, "profile": "", "zone": "Asia/Ho_Chi_Minh", "offset_s": known}
    date = {"date": format_datetime(shown, usegmt=True), **headers}
    return offset_told(entry, Reply(status=200, body=b"", headers=date, elapsed_ms=ms), AT)


@pytest.mark.parametrize("ahead", [7200.0, -90.0, 5.0, -86_000.0, 365 * 86_400.0])
@pytest.mark.parametrize("family", ["dahua", "hikvision"])
def test_a_wrong_clock_is_told_to_the_second(family: str, ahead: float) -> None:
    offset = told(ahead, family=family)
    assert offset is not None and abs(offset - ahead) <= 1.0


def test_a_right_clock_is_known_to_be_right_and_then_no_news() -> None:
    assert told(0.3) == 0.0 and told(-1.2) == 0.0
    assert told(0.3, known=0.0) is None and told(91.0, known=90.2) is None
    assert told(0.0, known=7200.0) == 0.0, "it was set"
    assert told(1.5, known=-4.0) is not None


def test_what_tells_nothing() -> None:
    assert told(7 * 3600.0 + 4) is None, "local time called universal, perhaps"
    assert told(-7 * 3600.0) is not None
    assert told(600.0, ms=30_000) is None, "an answer that took longer than it tells"
    assert told(600.0, family="hanet") is None, "a cloud's clock is not the camera's"
    for broken in ("", "yesterday", "Mon, 99 Nov 2026 00:00:00 GMT", "\0", "Mon, 23 Nov 99999 00:00:00 GMT"):
        assert told(600.0, date=broken) is None


def test_a_profile_may_say_that_something_else_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(settings={"answers_date": False, "zone": "Asia/Ho_Chi_Minh"})
    every = SimpleNamespace(get=lambda name: other)
    monkeypatch.setattr(list_clocks, "_PROFILES", {"dahua": every})
    assert told(600.0) is None
