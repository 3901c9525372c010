"""Topics that brought pictures are cleared at the broker now and then, and no other topic is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.kernel.ports import LEFT_OUT
from hub.worker import gate_retained
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.gate_retained import Pictured
from iot.face_mqtt.decode import FAMILY as FACE
from iot.native.decode import FAMILY as NATIVE
from tests.unit.iot.rig import IMAGE, Delivered, Rig, face, hasher, native, play


def clearing(cleared: list[str], clear_s: float) -> Rig:
    rig = Rig()
    rig.bridge = Bridge(
        rig.transport, rig.ledger.accept, {"face_mqtt": FACE, "native": NATIVE}, rig.load, hasher, rig.touch,
        BridgeOptions(linger_s=0.001, backoff_s=0.01, refresh_gap_s=0.0, clear_s=clear_s), clear=cleared.append,
    )  # fmt: skip
    return rig


def test_a_topic_with_pictures_is_cleared_once_however_many_came() -> None:
    cleared: list[str] = []

    async def scenario(rig: Rig) -> None:
        rig.send(
            *(face(n, n) for n in range(1, 9)),
            native(9, 9),
            Delivered("campus/v1/31000102/N1/state", {"state": "birth"}, 1, 10),
        )
        await rig.until(lambda: len(rig.transport.pubacks) == 10)
        assert cleared == [], "not on the way to an acknowledgement"
        await rig.until(lambda: bool(cleared))
        await asyncio.sleep(0.3)

    play(scenario, lambda: clearing(cleared, 0.25))
    assert cleared == ["mqtt/face/F1/Rec"]


@pytest.mark.parametrize(
    ("properties", "owed"),
    [
        ({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, False),
        ({"firmware": "1.2", "place": "cổng A"}, False),
        ({"traceparent": IMAGE}, True),
        ({"firmware": "1.2", "pic": IMAGE}, True),
        ({IMAGE: ""}, True),
        ({LEFT_OUT: ""}, True),
    ],
)
def test_a_picture_in_a_user_property_is_not_left_at_the_broker(properties: dict[str, str], owed: bool) -> None:
    cleared: list[str] = []

    async def scenario(rig: Rig) -> None:
        for sent in (native(1, 1), Delivered("campus/v1/31000102/N1/state", {"state": "birth", "bd": 1}, 1, 2)):
            sent.properties = properties
            rig.send(sent)
        await rig.until(lambda: len(rig.transport.pubacks) == 2)
        await asyncio.sleep(0.05)

    play(scenario, lambda: clearing(cleared, 0.01))
    state = "campus/v1/31000102/N1/state"
    event = state.replace("state", "evt")
    assert set(cleared) == ({state, event} if owed else set())


def test_nothing_is_owed_before_the_commit() -> None:
    cleared: list[str] = []

    async def scenario(rig: Rig) -> None:
        rig.ledger.faults = [ConnectionError("down")] * 4
        rig.send(face(1, 1))
        await rig.until(lambda: rig.ledger.calls >= 3)
        assert cleared == [] and rig.ledger.stored == [], "the broker's copy may be the only one"
        await rig.until(lambda: cleared == ["mqtt/face/F1/Rec"])

    assert len(play(scenario, lambda: clearing(cleared, 0.01)).ledger.stored) == 1


def test_a_state_with_a_picture_is_not_left_at_the_broker() -> None:
    cleared: list[str] = []

    async def scenario(rig: Rig) -> None:
        said = {"state": "birth", "bd": 1, "extra": "/9j/" + "A" * 4000}
        rig.send(Delivered("campus/v1/31000102/N1/state", said, 1, 1))
        await rig.until(lambda: bool(cleared))

    play(scenario, lambda: clearing(cleared, 0.01))
    assert set(cleared) == {"campus/v1/31000102/N1/state"}


def test_a_gate_that_is_back_before_the_broker_is_keeps_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_retained, "_LOOK_S", 0.01)
    where = ["A", "B", "A"]
    looks = 0
    cleared: set[str] = set()

    def schools() -> dict[str, str]:
        nonlocal looks
        looks += 1
        return {"N1": where[min(looks, len(where)) - 1]}

    def clear(topic: str) -> bool:
        if looks < len(where):
            return False  # the broker is away
        cleared.add(topic)
        return True

    async def go() -> None:
        task = asyncio.create_task(gate_retained.sweep(schools, clear))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())
    assert cleared == {"campus/v1/B/N1/state"}


def test_what_the_client_did_not_take_stays_owed() -> None:
    asked: list[str] = []

    def clear(topic: str) -> Any:
        asked.append(topic)
        return len(asked) > 2

    async def go() -> None:
        pictured = Pictured()
        pictured.saw("a")
        task = asyncio.create_task(pictured.keep_clearing(clear, 0.01))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())
    assert asked == ["a", "a", "a"]
