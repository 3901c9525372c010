"""The bridge and the registry: what is retained is refused, a flood goes behind, a revoked gate is a stranger at once."""

from __future__ import annotations

from typing import Any

from hub.worker.gate_guard import GuardOptions
from tests.unit.iot.rig import IMAGE, Delivered, Rig, face, play


def test_a_retained_copy_is_no_event() -> None:
    async def scenario(rig: Rig) -> None:
        copy: Delivered = face(1, 1)
        copy.retain = True
        rig.send(copy, face(2, 2))
        await rig.until(lambda: len(rig.transport.pubacks) == 2)

    rig = play(scenario)
    assert [a.invalid.code if a.invalid else None for a in rig.ledger.stored] == ["retained", None]
    assert len(rig.transport.device_acks) == 1


def test_a_gates_own_trace_is_kept_beside_its_message() -> None:
    good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    said = [good, "00-" + "0" * 32 + "-00f067aa0ba902b7-01", good + "\n", 7, {"a": [1]}, None]

    async def scenario(rig: Rig) -> None:
        for number, trace in enumerate(said, 1):
            event = {"id": f"N1-{number}", "seq": number, "time": 1795132802000, "person": "HS1", "traceparent": trace}
            rig.send(Delivered("campus/v1/31000102/N1/evt", event, 1, number))
        await rig.until(lambda: len(rig.transport.pubacks) == len(said))

    stored = play(scenario).ledger.stored
    assert [a.invalid for a in stored] == [None] * len(said), "one that is none costs no event"
    assert [a.attributes.get("traceparent") for a in stored] == [good] + [None] * (len(said) - 1)


def test_a_trace_may_be_a_user_property_and_the_events_own_goes_before_it() -> None:
    one, other = ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-" + end for end in ("01", "00"))
    said: list[tuple[Any, dict[str, str], str | None]] = [
        (None, {"traceparent": one}, one),
        (other, {"traceparent": one}, other),
        (one, {"traceparent": one}, one),
        ("none", {"traceparent": one}, one),
        (None, {"traceparent": one.upper()}, None),
        (None, {"traceparent": one + " "}, None),
        (None, {"traceparent": IMAGE}, None),
        (None, {"Traceparent": one, "tracestate": "a=1", IMAGE: IMAGE, "": ""}, None),
    ]

    async def scenario(rig: Rig) -> None:
        for number, (member, properties, _) in enumerate(said, 1):
            event = {"id": f"N1-{number}", "seq": number, "time": 1795132802000, "person": "HS1", "traceparent": member}
            sent = Delivered("campus/v1/31000102/N1/evt", event, 1, number)
            sent.properties = properties
            rig.send(sent)
        await rig.until(lambda: len(rig.transport.pubacks) == len(said))

    stored = play(scenario).ledger.stored
    assert [a.attributes.get("traceparent") for a in stored] == [trace for _, _, trace in said]
    assert all(set(a.attributes) <= {"topic", "family", "traceparent"} for a in stored), "nothing else of them is kept"
    assert "MARK" not in repr([a.attributes for a in stored]) and IMAGE[30:90] not in repr(stored)


def test_a_terminal_of_another_family_may_send_what_properties_it_likes() -> None:
    async def scenario(rig: Rig) -> None:
        sent = face(1, 1)
        sent.properties = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "pic": IMAGE}
        rig.send(sent)
        await rig.until(lambda: rig.transport.pubacks == [1])
        assert not sent.properties, "nothing of them waits with it"

    (stored,) = play(scenario).ledger.stored
    assert set(stored.attributes) == {"topic", "family"} and stored.invalid is None


def test_a_flood_is_stored_behind() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(*(face(i, i) for i in range(1, 301)))
        await rig.until(lambda: len(rig.transport.pubacks) == 300)
        assert rig.bridge.guard.standing()["gate_flood"] == ["F1"]

    rig = play(scenario)
    assert len(rig.ledger.stored) == 300 and len(rig.transport.device_acks) == 300


def test_a_flood_of_what_is_no_event_counts_too() -> None:
    """Strangers seen are stored nowhere: each is acknowledged as ever, and the gate's events go behind those of others."""

    def rig() -> Rig:
        return Rig(guard=GuardOptions(chatter_per_s=1, chatter_burst=20))

    async def scenario(made: Rig) -> None:
        seen = {"operator": "StrSnapPush", "info": {"SnapID": 7}}
        made.send(*(Delivered("mqtt/face/F1/Snap", seen, 1, n) for n in range(1, 41)))
        await made.until(lambda: len(made.transport.pubacks) == 40)
        assert made.bridge.guard.standing()["gate_flood"] == ["F1"]
        made.send(face(1, 41))
        await made.until(lambda: len(made.transport.pubacks) == 41)

    made = play(scenario, rig)
    assert len(made.transport.device_acks) == 41 and len(made.ledger.stored) == 1


def test_history_without_end_is_a_flood() -> None:
    def rig() -> Rig:
        return Rig(guard=GuardOptions(history_per_s=1, history_burst=20))

    async def scenario(made: Rig) -> None:
        made.send(*(face(n, n, live=False) for n in range(1, 41)))
        await made.until(lambda: len(made.transport.pubacks) == 40)
        assert made.bridge.guard.standing()["gate_flood"] == ["F1"]

    assert len(play(scenario, rig).ledger.stored) == 40


def test_a_terminal_said_to_come_and_go_on_the_shared_topic_raises_the_alarm_alone() -> None:
    async def scenario(rig: Rig) -> None:
        for number in range(30):
            word = "Online" if number % 2 else "Offline"
            for device in ("F1", "nobody"):
                rig.send(Delivered("mqtt/face/basic", {"operator": word, "info": {"facesluiceId": device}}, 1, number))
        await rig.until(lambda: len(rig.transport.pubacks) == 60)
        assert rig.bridge.guard.standing()["gate_flapping"] == ["F1"]
        assert not rig.bridge.guard.sent("F1", True), "each gate could say so of the others"

    play(scenario)


def test_a_revoked_gate_is_a_stranger_at_once() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(face(1, 1))
        await rig.until(lambda: len(rig.transport.pubacks) == 1)
        del rig.registry["F1"]
        await rig.bridge.reload()
        rig.send(face(2, 2))
        await rig.until(lambda: len(rig.transport.pubacks) == 2)

    rig = play(scenario)
    assert [a.invalid.code if a.invalid else None for a in rig.ledger.stored] == [None, "unknown_device"]
