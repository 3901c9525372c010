"""Questions to terminals: one nobody could hear is not a try, and one that was given up is asked again with the next."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from hub.api.device_commands import LOST, Commands
from hub.kernel.ledger import gate_commands, parties
from hub.kernel.ports import Publication
from hub.worker.gate_asks import STALE_S, GateAsks
from iot.clock import Estimate

SCHOOL, GATE = "31HP0000001", "F1"
ENTRY = {"family": "face_mqtt", "profile": "push-ack", "school": SCHOOL}
HOUR = timedelta(hours=1)


async def registered(led: Any) -> None:
    await led.school(SCHOOL)
    await parties.add_device(
        led.core, "test", GATE, family="face_mqtt", profile="push-ack", title=GATE, school=SCHOOL, entrance="x", direction="in",
        person_ids="department", zone="Asia/Ho_Chi_Minh", secret=b"x",
    )  # fmt: skip


async def later(led: Any, seconds: float) -> None:
    shift = "sent_at = sent_at - $1 * interval '1 second', due_at = due_at - $1 * interval '1 second'"
    await led.owner.execute(f"UPDATE gate_commands SET {shift}", seconds)


async def row(led: Any) -> Any:
    (found,) = await led.rows("SELECT * FROM gate_commands")
    return found


class Session:
    def __init__(self) -> None:
        self.takes = True
        self.sent = 0

    def publish(self, _publication: Publication) -> bool:
        self.sent += self.takes
        return self.takes


def test_what_others_say_of_a_gate_keeps_no_question_from_it(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await registered(led)
            session = Session()
            asks = GateAsks(led.core, session.publish)
            now = led.core.moment()
            await gate_commands.add(led.core, GATE, now - HOUR, now, "asked")
            # On a topic all gates may write to: another one says it, again and again.
            asks.hinted("face_mqtt", {"device": GATE, "state": "offline"}, ENTRY)
            assert await asks.step() == 1
            for _ in range(2 * gate_commands.TRIES):
                asks.hinted("face_mqtt", {"device": GATE, "state": "offline"}, ENTRY)
                await later(led, 40 * STALE_S)
                await asks.step()
            found = await row(led)
            assert (found["state"], found["code"]) == ("failed", "silent")
            # It was away indeed: what is asked when it is back holds that time as well.
            asks.hinted("face_mqtt", {"device": GATE, "state": "online"}, ENTRY)
            assert await asks.step() == 1
            found = await row(led)
            assert (found["state"], found["tries"]) == ("sent", 1) and found["span_start"] <= now - HOUR

    asyncio.run(go())


def test_a_question_the_session_did_not_take_is_no_try(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await registered(led)
            session = Session()
            asks = GateAsks(led.core, session.publish)
            asks.hinted("face_mqtt", {"device": GATE, "state": "online"}, ENTRY)
            now = led.core.moment()
            number = await gate_commands.add(led.core, GATE, now - HOUR, now, "asked")
            session.takes = False
            for _ in range(2 * gate_commands.TRIES):
                assert await asks.step() == 0
                found = await row(led)
                assert (found["state"], found["tries"]) == ("waiting", 0)
                assert await gate_commands.waiting(led.core, STALE_S) == frozenset(), "not at every round"
                await later(led, STALE_S)
            session.takes = True
            assert await asks.step() == 1
            assert ((await row(led))["id"], (await row(led))["tries"]) == (number, 1)

    asyncio.run(go())


def test_a_wider_span_takes_up_what_was_given_up(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await registered(led)
            now = led.core.moment()
            first = await gate_commands.add(led.core, GATE, now - 2 * HOUR, now - HOUR, "offline")
            for _ in range(gate_commands.TRIES):
                assert await gate_commands.take(led.core, [GATE], 1.0)
                await later(led, 60.0)
                await gate_commands.take(led.core, [GATE], 1.0)
            found = await row(led)
            assert (found["state"], found["code"]) == ("failed", "silent")
            wider = await gate_commands.add(led.core, GATE, now - HOUR / 2, now, "offline")
            found = await row(led)
            assert (found["state"], found["code"], found["ended_at"], found["tries"]) == ("waiting", None, None, 0)
            assert (found["span_start"], found["span_end"]) == (now - 2 * HOUR, now)
            (command,) = await gate_commands.take(led.core, [GATE], 1.0)
            assert command.id == wider != first, "what it still answers to the narrower one is no answer to this"
            # A gate's refusal is its answer: that span is not asked again.
            await gate_commands.end(led.core, wider, "400", done=False)
            assert await gate_commands.add(led.core, GATE, now - HOUR, now + HOUR, "offline") != wider

    asyncio.run(go())


def test_a_late_answer_to_a_narrower_span_ends_no_wider_one(ledger: Any) -> None:
    """A terminal hears both questions at once when it is back: it does the first, and refuses the second while it sends."""

    async def go() -> None:
        async with ledger() as led:
            await registered(led)
            session = Session()
            asks = GateAsks(led.core, session.publish)
            asks.hinted("face_mqtt", {"device": GATE, "state": "online"}, ENTRY)
            now = led.core.moment()
            first = await gate_commands.add(led.core, GATE, now - 2 * HOUR, now - HOUR, "asked")
            assert await asks.step() == 1
            await later(led, 2 * STALE_S)
            assert await asks.step() == 0, "not answered: it waits to be sent again"
            wider = await gate_commands.add(led.core, GATE, now - HOUR, now, "asked")
            await later(led, STALE_S)
            assert await asks.step() == 1 and session.sent == 2
            said = {"device": GATE, "kind": "command", "operator": "ManualPushRecords-Ack"}
            for number, code in ((first, "200"), (wider, "468")):
                asks.hinted("face_mqtt", {**said, "id": f"hub-records-{number}", "code": code}, ENTRY)
            await asks.step()
            found = await row(led)
            assert (found["id"], found["state"], found["code"]) == (wider, "waiting", "468")
            assert (found["span_start"], found["span_end"]) == (now - 2 * HOUR, now), "all that was asked for"
            await later(led, 2 * STALE_S)
            assert await asks.step() == 1
            asks.hinted("face_mqtt", {**said, "id": f"hub-records-{wider}", "code": "200"}, ENTRY)
            await asks.step()
            assert (await row(led))["state"] == "done"

    asyncio.run(go())


@pytest.mark.parametrize("off_s", [-7200.0, 7200.0])
def test_a_clock_that_is_off_widens_the_span_and_a_lost_one_is_asked_twice(ledger: Any, off_s: float) -> None:
    async def go() -> None:
        async with ledger() as led:
            await registered(led)
            said: list[dict[str, Any]] = []

            def publish(publication: Publication) -> bool:
                said.append(orjson.loads(publication.payload)["info"])
                return True

            asks = GateAsks(led.core, publish)
            start = datetime(2026, 11, 20, tzinfo=UTC)
            for lag_s in (-off_s, 10 * 365 * 86_400.0):
                known = {**ENTRY, "zone": "Asia/Ho_Chi_Minh", "clock": Estimate(lag_s, 1.0, 9)}
                asks.hinted("face_mqtt", {"device": GATE, "state": "online"}, known)
                number = await gate_commands.add(led.core, GATE, start, start + HOUR, "asked")
                assert await asks.step() == 1
                await gate_commands.end(led.core, number, "200", done=True)
            assert await asks.step() == 1, "by the clock that was lost"
            spans = [(info["TimeS"], info["TimeE"]) for info in said]
            right = ("2026-11-20 07:00:00", "2026-11-20 08:00:00")
            wide = (right[0], "2026-11-20 10:00:00") if off_s > 0 else ("2026-11-20 05:00:00", right[1])
            assert spans == [wide, right, ("2016-11-22 06:59:00", "2016-11-22 08:01:00")]
            assert await asks.step() == 0 and len(await led.rows("SELECT FROM gate_commands")) == 3

    asyncio.run(go())


def test_a_question_that_is_open_already_names_its_command_whatever_becomes_of_it(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await registered(led)
            now = led.core.moment()

            async def asking() -> None:
                for _ in range(150):
                    assert await gate_commands.add(led.core, GATE, now - HOUR / 2, now, "asked")

            async def answering() -> None:
                for _ in range(150):
                    for command in await gate_commands.take(led.core, [GATE], 100.0):
                        await gate_commands.end(led.core, command.id, "200", done=True)

            await asyncio.gather(asking(), asking(), answering(), answering())

    asyncio.run(go())


def test_a_gate_with_a_lost_clock_answers_each_of_its_two_questions_by_its_number(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await registered(led)
            now = led.core.moment()
            since_2000_s = (datetime(2000, 1, 1, tzinfo=UTC) - now).total_seconds()
            gate = {"id": GATE, "family": "zkteco", "profile": "", "zone": "", LOST: since_2000_s}
            number = await gate_commands.add(led.core, GATE, now - HOUR, now, "asked")

            async def states() -> dict[int, tuple[str, str | None]]:
                rows = await led.rows("SELECT id, state, code FROM gate_commands ORDER BY id")
                return {r["id"]: (r["state"], r["code"]) for r in rows}

            commands = Commands(led.core)
            first = await commands.take(gate)
            assert first is not None and first["id"] == number and first["span"][0] > "2026"
            # It is given again before an answer came, by another process, and its clock has gone on: one question follows.
            await later(led, 2 * STALE_S)
            commands = Commands(led.core)
            assert await commands.take(gate) is None, "taken back from the answer that never came"
            assert await commands.take({**gate, LOST: since_2000_s + 20.0}) == first
            assert len(await states()) == 2
            assert await commands.take(gate) is None, "one at a time"
            await commands.answered(GATE, {"id": str(number), "code": "0"})
            then = await commands.take({**gate, LOST: None})
            assert then is not None and then["id"] != number
            assert then["span"][0] < "2000-01-01 08" and then["span"][0] >= "1999-12-31", "as its clock told then"
            # A span near in time is another question: this one is not by the hub's time.
            at_2000 = datetime(2000, 1, 1, tzinfo=UTC)
            other = await gate_commands.add(led.core, GATE, at_2000 - HOUR / 2, at_2000 - HOUR / 4, "asked")
            assert other not in (number, then["id"])
            await commands.answered(GATE, {"id": str(number), "code": "0"})
            assert (await states())[then["id"]] == ("sent", None), "the first one's answer is no word on it"
            await commands.answered(GATE, {"id": str(then["id"]), "code": "-1"})
            assert await states() == {number: ("done", "0"), then["id"]: ("waiting", "-1"), other: ("waiting", None)}

    asyncio.run(go())
