"""What the bridge knows of gates outlives it: holes in their numbers, and since when they are away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from hub.kernel.ledger import gate_memory, gates, parties
from hub.kernel.ports import Publication
from hub.worker.gate_asks import GateAsks
from hub.worker.gate_gaps import Gaps
from hub.worker.gate_memory import GateMemory

SCHOOL = "31HP0000001"


async def registered(led: Any, device: str, family: str) -> None:
    await parties.add_device(
        led.core, "test", device, family=family, profile="standard", title=device, school=SCHOOL, entrance="x", direction="in",
        person_ids="department", zone="Asia/Ho_Chi_Minh", secret=led.keys.encrypt(b"s", device.encode()),
    )  # fmt: skip


class Bridge:
    """One bridge's memory, without its bridge."""

    def __init__(self, led: Any) -> None:
        self.sent: list[Publication] = []
        self.gaps = Gaps(self._publish, grace_s=0.0, again_s=0.0)
        self.asks = GateAsks(led.core, self._publish)
        self.memory = GateMemory(led.core, self.gaps, self.asks)

    def _publish(self, publication: Publication) -> bool:
        self.sent.append(publication)
        return True

    def asked(self) -> list[tuple[int, int]]:
        self.gaps.ask()
        told = [orjson.loads(p.payload) for p in self.sent if p.payload]
        self.sent.clear()
        return [(t["resend"]["from"], t["resend"]["to"]) for t in told if "resend" in t]


def test_holes_and_absences_outlive_the_bridge(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(SCHOOL)
            for device, family in (("N1", "native"), ("N2", "native"), ("F1", "face_mqtt")):
                await registered(led, device, family)
            first = Bridge(led)
            await first.memory.restore()
            for number in (1, 2, 3, 7, 8):
                first.gaps.seen("N1", SCHOOL, number)
            first.gaps.seen("N2", SCHOOL, 40)
            first.gaps.seen("stranger", SCHOOL, 5)
            face = {"family": "face_mqtt", "profile": "push-ack", "school": SCHOOL}
            first.asks.hinted("face_mqtt", {"device": "F1", "state": "offline"}, face)
            await first.memory.note()
            assert first.asked() == [(4, 6)]
            await first.memory.note()
            assert (first.gaps.changed(), first.asks.changed()) == ([], {})

            # Killed: what was seen since the last note is only known to be missing, and asked for again.
            first.gaps.seen("N1", SCHOOL, 9)
            second = Bridge(led)
            await second.memory.restore()
            second.gaps.seen("N1", SCHOOL, 10)
            assert sorted(second.asked()) == [(4, 6), (9, 9)]
            second.gaps.seen("N1", SCHOOL, 5)
            second.gaps.seen("N2", SCHOOL, 43)
            # The gate comes back after the new bridge began: the span since it went is asked for.
            second.asks.hinted("face_mqtt", {"device": "F1", "state": "online"}, face)
            await second.asks.step()
            (row,) = await led.rows("SELECT device, span_start, span_end FROM gate_commands")
            assert row["device"] == "F1" and datetime.now(UTC) - row["span_start"] > timedelta(minutes=2)
            await second.memory.note()
            assert (await gate_memory.load(led.core))[1] == {}

            third = Bridge(led)
            await third.memory.restore()
            spans = third.asked()
            assert sorted(spans) == [(4, 4), (6, 6), (9, 9), (41, 42)], "tries and holes go on where they were"
            for _ in range(5):
                third.asked()
            assert third.asked() == [], "a hole is given up after so many tries, over all lives together"
            await gates.revoke(led.core, "an", ["N1"], "Dọn sau khi thử")
            await gate_memory.forget(led.core)
            assert sorted(n.device for n in (await gate_memory.load(led.core))[0]) == ["N2"]

    asyncio.run(go())


def test_what_cannot_be_noted_is_noted_later(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise ConnectionError

    async def go() -> None:
        async with ledger() as led:
            await led.school(SCHOOL)
            await registered(led, "N1", "native")
            one = Bridge(led)
            with monkeypatch.context() as broken:
                broken.setattr(gate_memory, "load", away)
                broken.setattr(gate_memory, "note_numbers", away)
                await one.memory.restore()
                one.gaps.seen("N1", SCHOOL, 3)
                await one.memory.note()
            running = asyncio.create_task(one.memory.run())
            await asyncio.sleep(0.05)
            running.cancel()  # an orderly end notes once more
            await asyncio.gather(running, return_exceptions=True)
            assert [(n.device, n.highest) for n in (await gate_memory.load(led.core))[0]] == [("N1", 3)]

    asyncio.run(go())


def test_a_time_away_is_forgotten_only_once_somebody_was_told_to_ask(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await led.school(SCHOOL)
            await registered(led, "F1", "face_mqtt")
            face = {"family": "face_mqtt", "profile": "push-ack", "school": SCHOOL}
            first = Bridge(led)
            first.asks.hinted("face_mqtt", {"device": "F1", "state": "offline"}, face)
            await first.memory.note()
            first.asks.hinted("face_mqtt", {"device": "F1", "state": "online"}, face)
            await first.memory.note()
            # Ended here, as by SIGTERM: the question was not in the ledger yet.
            second = Bridge(led)
            await second.memory.restore()
            second.asks.hinted("face_mqtt", {"device": "F1", "state": "online"}, face)
            await second.memory.note()
            await second.asks.step()
            assert await led.value("SELECT count(*) FROM gate_commands") == 1
            await second.memory.note()
            assert (await gate_memory.load(led.core))[1] == {}

    asyncio.run(go())
