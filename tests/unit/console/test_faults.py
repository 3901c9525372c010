"""Refused items as rows and columns; the breaker's word out of whatever lies in Redis; replay orders out of chunks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.console.faults import Fault, faults_of
from hub.console.pages.replay import orders_of
from hub.console.pulse import breaker_of

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def reject(pointer: str, vi: str, en: str, code: str = "format") -> dict[str, Any]:
    return {"pointer": pointer, "code": code, "key": None, "text": {"vi": vi, "en": en}}


def test_a_pointer_is_a_row_and_a_column() -> None:
    (fault,) = faults_of([reject("/14/data/birth_date", "Ngày sinh sai.", "Wrong.")])
    assert (
        fault.row == 15 and fault.column is not None and fault.column.vi == "Ngày sinh" and fault.name == "birth_date"
    )


def test_a_single_record_has_no_row_and_a_whole_item_no_column() -> None:
    single, whole, deep = faults_of(
        [reject("/data/sex", "a", "b"), reject("/3", "a", "b"), reject("/4/data/parents/0/phone", "a", "b")]
    )
    assert (single.row, single.name) == (None, "sex") and (whole.row, whole.column) == (4, None)
    assert (deep.row, deep.name) == (5, "parents/1/phone")


def test_several_faults_of_one_item_are_told_one_by_one_in_row_order() -> None:
    vi = "/7/data/birth_date: Ngày sinh phải là ngày có thật; hãy sửa.; /7/data/sex: Giới tính còn thiếu."
    en = "/7/data/birth_date: Date of birth must be a real day; correct it.; /7/data/sex: Sex is missing."
    found = faults_of([reject("/7", vi, en, "several_faults"), reject("/1/data/sex", "a", "b")])
    assert [(f.row, f.name) for f in found] == [(2, "sex"), (8, "birth_date"), (8, "sex")]
    assert found[1].text.vi == "Ngày sinh phải là ngày có thật; hãy sửa." and found[2].text.en == "Sex is missing."


@given(st.text(max_size=40), st.text(max_size=80), st.text(max_size=80))
def test_no_reject_is_too_odd_to_be_shown(pointer: str, vi: str, en: str) -> None:
    found = faults_of([reject(pointer, vi, en, "several_faults")])
    assert found and all(isinstance(f, Fault) for f in found)


@pytest.mark.parametrize(
    ("known", "word"),
    [
        ({"state": "open", "until": 200.0}, "open"),
        ({"state": "open", "until": 50}, "half_open"),
        ({"state": "closed", "epoch": 4}, "closed"),
        ({"state": "unknown"}, None),
        ({"state": "open", "until": "later"}, None),
        ({"state": "open", "until": [1]}, None),
        ([1], None),
        (7, None),
    ],
)
def test_the_breakers_word(known: Any, word: str | None) -> None:
    assert breaker_of(json.dumps(known).encode(), 100.0) == word


def test_what_is_no_json_is_no_news() -> None:
    assert [breaker_of(raw, 100.0) for raw in (None, b"", b"{half", b"\xff\xfe")] == [None] * 4


def line(minutes: float, actor: str = "an", why: str = "x", **more: Any) -> dict[str, Any]:
    plain = {
        "at": NOW - timedelta(minutes=minutes),
        "actor": actor,
        "mode": "as_sent",
        "why": why,
        "asked": 500,
        "open": 0,
    }
    return plain | {"delivered": 0, "dead": 0, "cancelled": 0, "last_at": None} | more


def test_an_order_written_in_chunks_is_one_order() -> None:
    lines = [
        line(0, open=200, delivered=290, dead=10, last_at=NOW),
        line(0.1, open=0, delivered=499, cancelled=1),
        line(3, actor="bình", asked=1, open=1),
        line(60),
    ]
    first, other, old = orders_of(lines, 60)
    assert (first.asked, first.queued, first.done, first.open) == (1000, 1000, 800, 200)
    assert (first.delivered, first.dead, first.cancelled, first.last_at) == (789, 10, 1, NOW)
    assert (other.asked, other.queued, other.done) == (1, 1, 0) and old.actor == "an" and not old.cut
    assert orders_of(lines, 4)[-1].cut and orders_of([], 60) == []
