"""What a trace notes of a gate's events, at the bridge and at the door: facts of the sending, nothing of a picture or a person."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from hub.api import device_registry
from hub.api.devices import FAMILIES, Door
from hub.kernel.intake import Accepted
from iot.web import Ask
from tests.unit.iot.rig import GATES, IMAGE, Rig, face, play
from tests.unit.iot_http.test_door import KEYS, Registry, hasher, row

AT = datetime(2026, 11, 20, 0, 0, 5, tzinfo=UTC)
FORBIDDEN = ("data:image", IMAGE[30:90], "MARK", "HS0001", "biometric")


def test_the_bridge_notes_the_sending_and_nothing_of_the_picture() -> None:
    lines: list[Any] = []

    async def scenario(rig: Rig) -> None:
        rig.send(face(1, 1), face(1, 2), face(2, 3, device="F2"))
        await rig.until(lambda: len(rig.transport.pubacks) == 3)
        await rig.until(lambda: sum(len(n.get("F1", {}).get("trace", ())) for n in rig.told) >= 2)
        lines.extend(line for told in rig.told for line in told.get("F1", {}).get("trace", ()))
        assert not any("trace" in told.get("F2", {}) for told in rig.told), "nobody looks at that one"

    gates = {**GATES, "F1": {**GATES["F1"], "trace": 7}, "F2": GATES["F1"]}
    play(scenario, lambda: Rig(gates))
    assert [(number, what["outcome"], what["removed"]) for number, _, what in lines] == [
        (7, "stored", 1),
        (7, "duplicate", 1),
    ]
    assert lines[0][2]["topic"] == "mqtt/face/F1/Rec" and not any(word in repr(lines) for word in FORBIDDEN)


def test_the_door_notes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(row("H1", "hikvision", "two", trace=9), row("Z1", "zkteco", "one"))
    monkeypatch.setattr(device_registry.parties, "devices", registry.devices)
    event = {
        "eventType": "AccessControllerEvent", "dateTime": "2026-11-20T07:00:02+07:00", "picture": IMAGE,
        "AccessControllerEvent": {"majorEventType": 5, "subEventType": 75, "employeeNoString": "HS0001", "serialNo": 7},
    }  # fmt: skip
    noted: list[tuple[str, dict[str, Any]]] = []

    async def go() -> None:
        door = Door(
            SimpleNamespace(
                core=SimpleNamespace(hasher=hasher, moment=lambda: datetime.now(UTC)), keys=KEYS, redis=None
            ),
            None,
        )  # type: ignore[arg-type]
        await door.gates.fresh()
        monkeypatch.setattr(door.gates, "trace", lambda device, _at, **what: noted.append((device, what)))
        family = FAMILIES["hikvision"]
        opener = door.gates.entry("H1", "hikvision")
        assert opener is not None and set(door.gates.traced) == {"H1"}
        prepared = door.prepare(family, Ask(method="POST", path="hikvision"), orjson.dumps(event), AT, opener)
        for item, arrival in prepared.pairs:
            for duplicate in (False, True):
                door._note(family, prepared.device, item, AT, arrival, Accepted(message=1, duplicate=duplicate))

    asyncio.run(go())
    assert [(device, what["outcome"], what["removed"]) for device, what in noted] == [
        ("H1", "stored", 1),
        ("H1", "duplicate", 1),
    ]
    assert not any(word in repr(noted) for word in FORBIDDEN)
