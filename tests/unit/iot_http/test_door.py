"""The listeners' door without a database: the registry's age, clocks learnt late, poison, overload, commands."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import orjson
import pytest

from hub.api import device_commands, device_registry, device_store
from hub.api.device_commands import Commands
from hub.api.device_registry import RegistryAway, WebGates
from hub.api.devices import FAMILIES, Door
from hub.kernel.intake import Accepted, Arrival, Overloaded
from hub.kernel.ledger.gates import SIGNING
from hub.keys import Keys
from iot.web import Ask

KEYS = Keys(bytes(range(32)))
SIGNS = KEYS.encrypt(b"s1gn-with-this", SIGNING)
AT = datetime(2026, 11, 20, 0, 0, 5, tzinfo=UTC)


def hasher(data: bytes) -> str:
    return hmac.digest(b"test key", data, "sha256").hex()


def row(device: str, family: str, secret: str, **more: Any) -> dict[str, Any]:
    entry = {
        "profile": "?",
        "school": "31000101",
        "entrance": "",
        "direction": "in",
        "zone": "",
        "places": [],
        "trace": None,
        "pictures": False,
        "old_secret": None,
        "signing": None,
        "offset_s": None,
        "offset_age_s": None,
        "stamp": None,
        "highest": None,
        "split_s": None,
        "title": "",
    }
    return {"id": device, "family": family, "secret": KEYS.encrypt(secret.encode(), device.encode()), **entry, **more}


class Registry:
    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.away = False
        self.reads = 0

    async def devices(self, core: Any) -> list[Any]:
        self.reads += 1
        await asyncio.sleep(0.01)
        if self.away:
            raise ConnectionError
        return self.rows


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry(
        row("Z1", "zkteco", "w0rd-one"),
        row("H1", "hikvision", "two"),
        row("A1", "hanet", "three", signing=SIGNS),
        row("F1", "face_mqtt", "four"),
    )
    monkeypatch.setattr(device_registry.parties, "devices", made.devices)
    return made


def hub() -> Any:
    return SimpleNamespace(core=SimpleNamespace(hasher=hasher, moment=lambda: datetime.now(UTC)), keys=KEYS, redis=None)


def test_secrets_open_their_own_device_only(registry: Registry) -> None:
    async def scenario() -> None:
        gates = WebGates(hub().core, KEYS, FAMILIES)
        registry.rows.append({**row("X1", "zkteco", "five"), "secret": b"not sealed at all"})
        await gates.fresh()
        assert [gates.opened_by(s) for s in ("w0rd-one", "two", "three", "four", "five", "", "s1gn-with-this")] == [
            "Z1", "H1", "A1", None, None, None, None,
        ]  # fmt: skip
        assert gates.signing("A1") == "s1gn-with-this" and gates.signing("Z1") == "" and gates.signing("?") == ""
        assert gates.entry("Z1", "zkteco") is not None and gates.entry("Z1", "hanet") is None
        assert not any("w0rd" in repr(value) for value in vars(gates).values()), "no secret stays in memory in clear"

    asyncio.run(scenario())


def test_the_registry_is_never_older_than_said(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        clock = [1000.0]
        monkeypatch.setattr(device_registry, "time", SimpleNamespace(monotonic=lambda: clock[0]))
        gates = WebGates(hub().core, KEYS, FAMILIES)
        await asyncio.gather(*(gates.fresh() for _ in range(20)))
        assert registry.reads == 1, "one read for all"
        clock[0] += 4.9
        await gates.fresh()
        assert registry.reads == 1
        registry.rows = registry.rows[1:]
        clock[0] += 0.2
        await gates.fresh()
        assert registry.reads == 2 and gates.opened_by("w0rd-one") is None and gates.entry("Z1", "zkteco") is None
        registry.away = True
        clock[0] += 5.1
        for _ in range(3):
            with pytest.raises(RegistryAway):
                await gates.fresh()
        assert registry.reads == 3, "a database that is away is not asked by every gate"
        registry.away = False
        clock[0] += 1.1
        await gates.fresh()

    asyncio.run(scenario())


def test_what_is_remembered_outlives_a_refresh(registry: Registry) -> None:
    async def scenario() -> None:
        gates = WebGates(hub().core, KEYS, FAMILIES)
        await gates.fresh()
        gates.remember("Z1", {"stamp": "7"})
        gates.remember("gone", {"stamp": "7"})
        gates._good_at = gates._tried_at = float("-inf")
        await gates.fresh()
        entry = gates.entry("Z1", "zkteco")
        assert entry is not None and entry["stamp"] == "7" and "gone" not in gates._memory

    asyncio.run(scenario())


class Group:
    """Takes everything, except what it is told not to."""

    waiting, strained = 0, False

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken: list[Arrival] = []

    async def put(self, arrival: Arrival) -> Accepted:
        if self.error is not None:
            raise self.error
        self.taken.append(arrival)
        return Accepted(message=len(self.taken))


def line(seconds_late: float, number: int, received: datetime) -> bytes:
    return f"HS{number}\t{received - timedelta(seconds=seconds_late) + timedelta(hours=7):%Y-%m-%d %H:%M:%S}\t0\t1\n".encode()


ATTLOG = Ask(method="POST", path="cdata", query={"sn": "Z1", "table": "ATTLOG", "stamp": "1"})


async def opened(registry: Registry, group: Group | None = None) -> tuple[Door, dict[str, Any], Group]:
    group = group or Group()
    door = Door(hub(), group)  # type: ignore[arg-type]
    door.store._history = group  # type: ignore[assignment]  # what is stored goes there: these lines are of another day
    await door.gates.fresh()
    entry = door.gates.entry("Z1", "zkteco")
    assert entry is not None
    return door, entry, group


def passage(door: Door, entry: dict[str, Any], body: bytes, received: datetime) -> dict[str, Any]:
    prepared = door.prepare(FAMILIES["zkteco"], ATTLOG, body, received, entry)
    for item, arrival in prepared.pairs:
        assert arrival is not None
        door._note(FAMILIES["zkteco"], "Z1", item, received, arrival, Accepted(message=1))
    made: dict[str, Any] = prepared.pairs[0][0].decoded.drafts[0].body
    return made


def test_a_slow_clock_is_learnt_from_lines_sent_at_once(registry: Registry) -> None:
    async def scenario() -> None:
        door, entry, _ = await opened(registry)
        bodies = []
        for n in range(8):
            received = AT + timedelta(seconds=20 * n)
            bodies.append(passage(door, entry, line(10_800 + n % 2, n, received), received))
        assert bodies[0]["historical"] and bodies[0]["estimated_offset_s"] is None
        assert not bodies[-1]["historical"] and bodies[-1]["estimated_offset_s"] == pytest.approx(-10_800, abs=2)
        received = AT + timedelta(seconds=160)
        gap = datetime.fromisoformat(bodies[-1]["corrected_time"]) - datetime.fromisoformat(bodies[-1]["received_at"])
        assert abs(gap.total_seconds()) < 3
        later = passage(door, entry, line(4 * 3600, 99, received), received)
        assert later["historical"] and later["estimated_offset_s"] == pytest.approx(-10_800, abs=2)

    asyncio.run(scenario())


def test_a_backlog_teaches_no_clock(registry: Registry) -> None:
    async def scenario() -> None:
        door, entry, _ = await opened(registry)
        for n in range(40):
            # Events of last night a minute apart, sent within a minute: one at a time, or many in one request.
            received = AT + timedelta(seconds=2 * n)
            passage(door, entry, line(36_000 - 60 * n, n, received), received)
            passage(door, entry, b"".join(line(36_000 + k, k, received) for k in range(9)), received)
        assert entry["clock"] is None
        live = passage(door, entry, line(2, 500, AT + timedelta(minutes=3)), AT + timedelta(minutes=3))
        assert not live["historical"] and live["quarantine"] is None and live["estimated_offset_s"] is None

    asyncio.run(scenario())


def test_a_poisonous_line_costs_only_itself(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Arrival] = []

    async def accept(core: Any, arrivals: list[Arrival]) -> list[Accepted]:
        if any(b"HS1\t" in a.body for a in arrivals):
            raise asyncpg.DataError("cannot be stored")
        stored.extend(arrivals)
        return [Accepted(message=n) for n, _ in enumerate(arrivals)]

    async def scenario() -> None:
        monkeypatch.setattr(device_store.ledger, "accept", accept)
        door, entry, _ = await opened(registry, Group(asyncpg.DataError("poison in the group")))
        body = b"".join(line(2, n, AT) for n in range(3))
        assert (await door._take(FAMILIES["zkteco"], ATTLOG, body, entry)).body == b"OK: 3"
        assert [(a.invalid.code if a.invalid else None, bool(a.body)) for a in stored] == [
            (None, True),
            ("unstorable", False),
            (None, True),
        ]
        stored.clear()
        assert (await door._take(FAMILIES["zkteco"], ATTLOG, line(2, 7, AT), entry)).body == b"OK: 1"
        assert [a.invalid for a in stored] == [None], "the fault was another's in the same batch"

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [Overloaded(), ConnectionError(), asyncpg.CannotConnectNowError("x"), TimeoutError()])
def test_no_yes_when_the_ledger_does_not_take_it(registry: Registry, error: Exception) -> None:
    class Request:
        method = "POST"
        client = None
        headers = {"content-length": "30"}  # noqa: RUF012
        scope = {"query_string": b"SN=Z1", "headers": [(b"content-length", b"30")]}  # noqa: RUF012
        query_params = ATTLOG.query

        async def stream(self) -> Any:
            yield line(2, 1, AT)

    async def scenario() -> None:
        door, _, group = await opened(registry, Group(error))
        request: Any = Request()
        answer = await door.serve(request, FAMILIES["zkteco"], "cdata", "w0rd-one")
        assert (answer.status, answer.body) == (503, b"") and door.bodies.held == 0
        group.error = None
        assert (await door.serve(request, FAMILIES["zkteco"], "cdata", "w0rd-one")).body == b"OK: 1"
        door.bodies.held = door.bodies.most
        full = await door.serve(request, FAMILIES["zkteco"], "cdata", "w0rd-one")
        assert full.status == 503 and b"send it again" in full.body, "memory is bounded"
        assert door.bodies.held == door.bodies.most and not door.bodies.of and not door.bodies.on_their_way

    asyncio.run(scenario())


def test_of_a_liar_only_the_first_lies_are_kept(registry: Registry) -> None:
    ask = Ask(method="POST", path="cdata", query={"sn": "Z2", "table": "ATTLOG"})

    async def scenario() -> None:
        door, entry, group = await opened(registry)
        now = [0.0]
        door._lies._clock = lambda: now[0]
        for n in range(50):
            answer = await door._take(FAMILIES["zkteco"], ask, line(2, n, AT), entry)
            assert (answer.status, answer.body) == (403, b"")
        assert len(group.taken) == 20 and all(a.invalid and a.invalid.code == "device_mismatch" for a in group.taken)
        now[0] = 3601.0
        await door._take(FAMILIES["zkteco"], ask, line(2, 99, AT), entry)
        assert len(group.taken) == 21
        poll = Ask(method="GET", path="getrequest", query={"sn": "Z2"})
        assert (await door._take(FAMILIES["zkteco"], poll, b"", entry)).status == 403 and len(group.taken) == 21

    asyncio.run(scenario())


def test_an_account_speaks_for_its_own_cameras_only(registry: Registry) -> None:
    registry.rows += [
        row("A9", "hanet", "acc9", profile="account", signing=SIGNS), row("C1", "hanet", "cam1", signing=SIGNS),
        row("C2", "hanet", "cam2", signing=KEYS.encrypt(b"other", SIGNING)),
        row("C3", "hanet", "cam3"), row("H2", "hikvision", "hik2", signing=SIGNS),
    ]  # fmt: skip

    async def scenario() -> None:
        door, _, _ = await opened(registry)
        account = door.gates.entry("A9", "hanet")
        assert account is not None
        found = {}
        for camera in ("C1", "C2", "C3", "H2", "?", ""):
            mark = hashlib.md5(b"s1gn-with-this" + camera.encode() + b"-1").hexdigest()
            call = {
                "data_type": "log",
                "personType": "0",
                "aliasID": "A",
                "deviceID": camera,
                "id": f"{camera}-1",
                "hash": mark,
                "time": 1795132802,
            }
            prepared = door.prepare(FAMILIES["hanet"], Ask(method="POST"), orjson.dumps(call), AT, account)
            found[camera] = prepared.device, prepared.served.answer.status
        assert found == {"C1": ("C1", 200), **dict.fromkeys(("C2", "C3", "H2", "?", ""), (None, 403))}

    asyncio.run(scenario())


def test_a_poll_costs_no_question_while_nothing_waits_and_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def waiting(core: Any, stale_s: float) -> frozenset[str]:
        asked.append("waiting")
        if core == "away":
            raise ConnectionError
        return frozenset()

    monkeypatch.setattr(device_commands.gate_commands, "waiting", waiting)

    async def scenario() -> None:
        core: Any = "here"
        commands = Commands(core)
        for _ in range(20):
            assert await commands.take({"id": "Z1"}) is None
        assert asked == ["waiting"]
        away: Any = "away"
        assert await Commands(away).take({"id": "Z1"}) is None
        for strange in ("", "-1", "x" * 40, "1" * 20, None):
            await Commands(away).answered("Z1", {"id": strange, "code": "0"})

    asyncio.run(scenario())
