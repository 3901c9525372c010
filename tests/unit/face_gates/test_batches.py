"""Commands about people keep a gate's limits: what is more is split, nobody is left out and nobody is told twice."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from adapters.face_gates.adapter import FaceGates
from adapters.face_gates.simulator import PROFILE
from hub.kernel.ports import Outgoing

AT = datetime(2026, 11, 20, tzinfo=UTC)


def people(
    count: int, *, event: Any = "NEW", device: str = "F1", first: int = 0, picture: bool = True
) -> list[Outgoing]:
    return [
        Outgoing(
            delivery=first + n, record=first + n, type="gate_person", key=f"{device}/HS{n:05d}", event=event, version=1, updated_at=AT,
            school=None, body={"device": device, "person_code": f"HS{n:05d}"},
            mapped={"customId": f"HS{n:05d}", "name": "Mẫu", **({"picURI": f"https://x.example/{n}.jpg"} if picture else {})},
        )
        for n in range(count)
    ]  # fmt: skip


def told(calls: list[Any], operator: str) -> list[int]:
    """How many people each command of a kind carries, by its content; checks that the count it names is the same."""
    sizes = []
    for call in calls:
        message = orjson.loads(call.body)
        if message["operator"] == operator:
            info = message["info"]
            sizes.append(len(info if isinstance(info, list) else info["customId"]))
            assert message["PersonNum"] == sizes[-1] == len(call.deliveries)
    return sizes


def gate(**settings: bool) -> FaceGates:
    return FaceGates({"allow_photo_url": True, "drain_first": False, **settings}, PROFILE)


def test_the_limits_are_those_of_the_dialect() -> None:
    assert (PROFILE["add_max"], PROFILE["delete_max"]) == (1_000, 200)


@pytest.mark.parametrize(("count", "sizes"), [(1_000, [1_000]), (1_002, [1_000, 2]), (2_500, [1_000, 1_000, 500])])
def test_more_people_than_a_command_takes_go_in_several(count: int, sizes: list[int]) -> None:
    calls = gate().render(people(count))
    assert told(calls, "AddPersons") == sizes and len(calls) == len(sizes)
    assert Counter(d for call in calls for d in call.deliveries) == Counter(range(count))


def test_one_that_is_left_over_goes_alone() -> None:
    calls = gate().render(people(1_001))
    assert told(calls, "AddPersons") == [1_000]
    assert [orjson.loads(call.body)["operator"] for call in calls] == ["AddPersons", "EditPerson"]
    assert calls[1].deliveries == (1_000,)


@pytest.mark.parametrize(("count", "sizes"), [(200, [200]), (201, [200, 1]), (450, [200, 200, 50])])
def test_more_deletions_than_a_command_takes_go_in_several(count: int, sizes: list[int]) -> None:
    calls = gate().render(people(count, event="CANCEL"))
    assert told(calls, "DeletePersons") == sizes
    assert Counter(d for call in calls for d in call.deliveries) == Counter(range(count))


def test_a_gate_that_is_asked_first_is_asked_once_for_all_who_leave() -> None:
    calls = gate(drain_first=True).render(people(450, event="CANCEL"))
    assert [len(call.deliveries) for call in calls] == [450]


def test_each_gate_has_a_limit_of_its_own() -> None:
    calls = gate().render([*people(700), *people(700, device="F2", first=700)])
    assert told(calls, "AddPersons") == [700, 700]
