"""Times, ages, sizes and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.console import times

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def test_local_clock() -> None:
    assert times.clock(NOW) == "22/11/2026 12:00:00"


@pytest.mark.parametrize(
    ("seconds", "vi", "en"),
    [
        (0, "0 giây", "0 s"),
        (59, "59 giây", "59 s"),
        (60, "1 phút", "1 min"),
        (3600 * 2 + 300, "2 giờ 5 phút", "2 h 5 min"),
        (86400 * 12, "12 ngày", "12 d"),
        (-3, "0 giây", "0 s"),
    ],
)
def test_spans(seconds: float, vi: str, en: str) -> None:
    assert (times.span(seconds, "vi"), times.span(seconds, "en")) == (vi, en)


def test_ages_look_both_ways() -> None:
    assert times.age(NOW - timedelta(minutes=3), NOW, "vi") == "3 phút trước"
    assert times.age(NOW + timedelta(minutes=3), NOW, "en") == "in 3 min"
    assert times.age(NOW, NOW, "en") == "just now"


def test_numbers_and_sizes() -> None:
    assert times.number(1234567, "vi") == "1.234.567" and times.number(0.5, "vi") == "0,5"
    assert times.size(1536, "en") == "1.5 KB" and times.size(10, "vi") == "10 B"


def test_form_times_are_local() -> None:
    assert times.parse_local("2026-11-22T12:00") == NOW
    assert times.parse_local("nonsense") is None
