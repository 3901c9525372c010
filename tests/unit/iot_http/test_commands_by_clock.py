"""A gate that polls is asked for a span in its own time: its zone, and its clock, also one that was lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from hub.api import device_commands, device_registry
from hub.api.device_commands import LOST, Commands
from hub.api.device_registry import WebGates
from hub.kernel.ledger.gate_commands import Command
from hub.keys import Keys
from iot.clock import Estimate
from iot.web import Ask, Content
from iot.zkteco.decode import FAMILY

START = datetime(2026, 11, 19, 23, tzinfo=UTC)
END = START + timedelta(hours=1)
RIGHT = ["2026-11-20 06:00:00", "2026-11-20 07:00:00"]
GATE = {"id": "Z1", "family": "zkteco", "profile": "secret-path", "school": "31000101", "zone": "Asia/Ho_Chi_Minh"}
SINCE_2000_S = (datetime(2000, 1, 1, tzinfo=UTC) - datetime(2026, 11, 19, 22, tzinfo=UTC)).total_seconds()
KEYS = Keys(bytes(range(32)))


def told(monkeypatch: pytest.MonkeyPatch, followed: list[tuple[datetime, datetime]] | None = None, **known: Any) -> Any:
    async def follow(core: Any, device: str, start: datetime, end: datetime) -> None:
        assert device == "Z1" and followed is not None, "a second question for a clock that was not lost"
        followed.append((start, end))

    async def waiting(core: Any, stale_s: float) -> frozenset[str]:
        return frozenset({"Z1"})

    async def take(core: Any, devices: list[str], stale_s: float) -> list[Command]:
        return [Command(id=7, device="Z1", span_start=START, span_end=END, tries=1)]

    monkeypatch.setattr(device_commands.gate_commands, "waiting", waiting)
    monkeypatch.setattr(device_commands.gate_commands, "take", take)
    monkeypatch.setattr(device_commands.gate_commands, "follow", follow)
    core: Any = None
    return asyncio.run(Commands(core).take({**GATE, **known}))


@pytest.mark.parametrize("known", [{}, {"clock": None, "offset_s": None}, {"clock": Estimate(1.5, 1.0, 9)}])
def test_a_right_clock_is_asked_for_the_span_itself(monkeypatch: pytest.MonkeyPatch, known: dict[str, Any]) -> None:
    assert told(monkeypatch, **known) == {"id": 7, "span": RIGHT}


@pytest.mark.parametrize(
    ("known", "span"),
    [
        ({"clock": Estimate(-7200.0, 1.0, 9)}, [RIGHT[0], "2026-11-20 09:00:00"]),
        ({"clock": Estimate(7200.0, 1.0, 9)}, ["2026-11-20 04:00:00", RIGHT[1]]),
        ({"clock": None, "offset_s": 7200.0}, [RIGHT[0], "2026-11-20 09:00:00"]),
        ({"clock": Estimate(0.5, 1.0, 9), "offset_s": 7200.0}, RIGHT),
        ({"zone": "Asia/Tokyo", "offset_s": -3600.0}, ["2026-11-20 07:00:00", "2026-11-20 09:00:00"]),
        ({"zone": ""}, RIGHT),
    ],
)
def test_a_wrong_clock_widens_it(monkeypatch: pytest.MonkeyPatch, known: dict[str, Any], span: list[str]) -> None:
    """What passed between 06:00 and 07:00 stands in the gate's memory under its own times: these are asked for too."""
    assert told(monkeypatch, **known)["span"] == span


def test_a_lost_clock_is_asked_for_both_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[tuple[datetime, datetime]] = []
    command = told(monkeypatch, followed, **{LOST: SINCE_2000_S, "clock": Estimate(1.0, 1.0, 9)})
    assert command == {"id": 7, "span": RIGHT}
    by_it = datetime(2000, 1, 1, 0, 59, tzinfo=UTC), datetime(2000, 1, 1, 2, 1, tzinfo=UTC)
    assert followed == [by_it]
    poll = Ask(method="GET", path="getrequest", query={"sn": "Z1"})
    answer = FAMILY.decode(poll, Content(body=b""), END, {**GATE, "command": command}).answer
    assert answer.body.decode() == f"C:7:DATA QUERY ATTLOG StartTime={RIGHT[0]}\tEndTime={RIGHT[1]}\n"


def test_a_first_question_is_not_given_before_the_second_is_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first stands as sent then, and is given again."""

    async def away(*_: Any) -> None:
        raise ConnectionResetError

    told(monkeypatch)
    monkeypatch.setattr(device_commands.gate_commands, "follow", away)
    core: Any = None
    assert asyncio.run(Commands(core).take({**GATE, LOST: SINCE_2000_S})) is None
    assert asyncio.run(Commands(core).take(GATE)) == {"id": 7, "span": RIGHT}


def test_a_clock_counts_as_lost_until_it_tells_a_time_that_can_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    row: dict[str, Any] = {
        **GATE, "entrance": "", "direction": "in", "places": [], "trace": None, "pictures": False, "old_secret": None,
        "signing": None, "offset_s": 0.5, "offset_age_s": 1.0, "stamp": None, "highest": None,
        "split_s": None, "title": "", "secret": KEYS.encrypt(b"one", b"Z1"),
    }  # fmt: skip

    async def devices(core: Any) -> list[Any]:
        return [row]

    async def touch(core: Any, facts: Any) -> None:
        return None

    monkeypatch.setattr(device_registry.parties, "devices", devices)
    monkeypatch.setattr(device_registry.parties, "touch_devices", touch)

    async def scenario() -> None:
        core: Any = SimpleNamespace()
        gates = WebGates(core, KEYS, {"zkteco"})
        await gates.fresh()

        def line(shown: datetime | str) -> Any:
            entry = gates.entry("Z1", "zkteco")
            ask = Ask(method="POST", path="cdata", query={"sn": "Z1", "table": "ATTLOG"})
            at = shown if isinstance(shown, str) else f"{shown + timedelta(hours=7):%Y-%m-%d %H:%M:%S}"
            body = f"HS1\t{at}\t0\t15".encode()
            (item,) = FAMILY.decode(ask, Content(body=body), END, entry).items
            gates.stored("Z1", item, END, False, 0)
            entry = gates.entry("Z1", "zkteco")
            assert entry is not None
            return entry

        assert line(END - timedelta(seconds=2)).get(LOST) is None
        before = line(END - timedelta(seconds=1))["clock"]
        lost = line(datetime(2000, 1, 1, tzinfo=UTC))
        assert lost[LOST] == pytest.approx((datetime(2000, 1, 1, tzinfo=UTC) - END).total_seconds(), abs=2)
        assert lost["clock"] is before and lost["offset_s"] == 0.5, "one battery moves no estimate"
        assert line(END - timedelta(days=3)).get(LOST) is not None, "what comes late tells nothing of the clock"
        unread = line("2026-13-45 07:00:00")
        assert unread.get(LOST) is not None, "nor does what cannot be read, though it came at once"
        assert line(END - timedelta(seconds=1))[LOST] is None

    asyncio.run(scenario())
