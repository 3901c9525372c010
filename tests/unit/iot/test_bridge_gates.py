"""The bridge and the registry: what is retained is refused, a flood goes behind, a revoked gate is a stranger at once."""

from __future__ import annotations

from tests.unit.iot.rig import Delivered, Rig, face, play


def test_a_retained_copy_is_no_event() -> None:
    async def scenario(rig: Rig) -> None:
        copy: Delivered = face(1, 1)
        copy.retain = True
        rig.send(copy, face(2, 2))
        await rig.until(lambda: len(rig.transport.pubacks) == 2)

    rig = play(scenario)
    assert [a.invalid.code if a.invalid else None for a in rig.ledger.stored] == ["retained", None]
    assert len(rig.transport.device_acks) == 1


def test_a_flood_is_stored_behind() -> None:
    async def scenario(rig: Rig) -> None:
        rig.send(*(face(i, i) for i in range(1, 301)))
        await rig.until(lambda: len(rig.transport.pubacks) == 300)
        assert rig.bridge.guard.standing()["gate_flood"] == ["F1"]

    rig = play(scenario)
    assert len(rig.ledger.stored) == 300 and len(rig.transport.device_acks) == 300


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
