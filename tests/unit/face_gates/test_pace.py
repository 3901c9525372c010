"""Two seconds between commands to one gate that bring pictures by address, one between others: by a clock of the test's own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from connectors.transports import mqtt_answers
from connectors.transports.mqtt_answers import Answers, Wanted, wanted
from hub.kernel.ports import Call
from tests.unit.face_gates.test_batches import gate, people

ANSWERED_S = 0.3


def test_commands_to_a_gate_keep_the_dialects_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [1000.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(mqtt_answers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(mqtt_answers, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))

    def want(call: Call) -> Wanted:
        found = wanted(call.headers)
        assert found is not None
        return found

    (many,) = gate().render(people(3))
    (one,) = gate().render(people(1, first=10))
    plain = gate().render(people(2, picture=False, first=20))
    (other,) = gate().render(people(1, device="F2", first=30))
    assert {c.path for c in (many, one, *plain)} == {many.path} != {other.path}

    async def go() -> list[float]:
        answers, sent = Answers(), list[float]()
        for call in (many, one, other, *plain, many):
            async with answers.turn(call.path, want(call)):
                sent.append(now[0])
                now[0] += ANSWERED_S
        return sent

    sent = asyncio.run(go())
    after = [round(at - sent[0], 3) for at in sent]
    # By address: two seconds after the answer, for its own gate alone (the other's command went while it waited).
    assert after == [0.0, 2.3, 2.6, 4.6, 5.9, 7.2]
    assert [round(s, 3) for s in slept] == [2.0, 1.7, 1.0, 1.0]
