"""What an unknown id may mean, and where devices put a name."""

from __future__ import annotations

import pytest

from hub.kernel.ledger.persons import Suggestion, name_in, suggest

ROSTER = [
    ("3112340017", "Lê Văn Tám"),
    ("3112340018", "Nguyễn Thị Ánh"),
    ("3112340099", "Nguyễn Thị Anh"),
    ("77", "Vũ Đỗ"),
]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"info": {"persionName": " Le  Van Tam "}}', "Le Van Tam"),
        (b'{"a": [{"AccessControllerEvent": {"name": "B"}}]}', "B"),
        (b'{"personName": ""}', None),
        (b'{"personName": 7, "x": {"name": "C"}}', "C"),
        (b"7\t2026-11-23 07:00:00\t0", None),
        (b"[" * 5000, None),
        (b"", None),
        (None, None),
    ],
)
def test_the_name_a_device_sent(body: bytes | None, name: str | None) -> None:
    assert name_in(body) == name


def test_code_name_and_code_ending() -> None:
    assert suggest("77", None, ROSTER) == [Suggestion("77", "Vũ Đỗ", "code", 1.0)]
    assert [(s.learner, s.why) for s in suggest("00017", "LE VAN TAM", ROSTER)] == [("3112340017", "name")]
    assert [(s.learner, s.why) for s in suggest("0018", None, ROSTER)] == []
    assert [(s.learner, s.why) for s in suggest("340018", None, ROSTER)] == [("3112340018", "code_like")]
    assert [(s.learner, s.why) for s in suggest("5", "Do Vu", ROSTER)] == [("77", "name")]


def test_two_of_one_name_are_both_shown_and_neither_is_sure() -> None:
    found = suggest("5", "nguyen thi anh", ROSTER)
    assert {s.learner for s in found} == {"3112340018", "3112340099"}
    assert all(s.score < 0.5 for s in found)
