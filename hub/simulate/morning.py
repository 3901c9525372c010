"""Playing the city morning against a running hub, from outside: over its REST interface, its broker and the simulators.

One concern: the order of events and waiting until all has come to rest. It must never read the hub's tables, and leaves
judging what was found to `hub.simulate.verdict`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
from msgspec import Struct, field

from hub.simulate.city import FILINGS, City, Gate, Item, School
from hub.simulate.expect import Expectation, expect
from hub.simulate.prepare import DEPARTMENT, SYSTEMS
from hub.simulate.sender import Answer, Credentials, Refused, Sender
from iot.face_mqtt.simulator import FaceGate
from iot.gate import Entry, GateOptions
from iot.gate import Gate as LiveGate
from iot.native.simulator import NativeGate

Report = Callable[[str, str], None]
"""Takes one line of progress in Vietnamese and English."""
Install = Callable[[City], Awaitable[Mapping[str, str]]]
"""Registers the gates once their schools are known; gives each device's secret, valid at the broker."""

DOWN_S = 20.0
"""How long the portal answers 503."""
TIMEOUTS = 5
"""How many filings the portal then takes without saying so."""
_FILING_EVERY_S = 0.62
_GATES_AFTER_S = 5.5
"""The bridge looks for devices it does not know at most this often."""
_IMAGE_BYTES = 12_000
_OPEN_STATES = ("held", "ready", "sending", "waiting", "uncertain")
_TELL_S = 5.0


class Stage(Struct, frozen=True, kw_only=True):
    """Where a morning is played."""

    gateway: str
    control_token: str
    mqtt: tuple[str, int]
    clients: Mapping[str, Credentials]
    """By school code, and `DEPARTMENT`."""
    install_gates: Install
    simulators: Mapping[str, str]
    """System → base address."""
    patience_s: float = 240.0


class Played(Struct, kw_only=True):
    """What was seen from outside, to be judged."""

    city: City
    expectation: Expectation
    started: datetime
    seconds: float = 0.0
    in_time: bool = True
    """False when patience ended before everything had come to rest."""
    rosters: dict[str, Answer] = field(default_factory=dict)
    """By school code."""
    repeated: Answer | None = None
    """The answer to a roster pushed again with the same key."""
    conflicting: Answer | None = None
    """The answer to another body under a key already used."""
    filings: dict[str, Answer] = field(default_factory=dict)
    others: list[Answer] = field(default_factory=list)
    """Answers to the pushes of schools and classes."""
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of rosters by school code, of filings by file number."""
    gates: dict[str, list[Entry]] = field(default_factory=dict)
    """The gates' own books."""
    books: dict[str, dict[str, Any]] = field(default_factory=dict)
    effects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults_left: list[dict[str, Any]] = field(default_factory=list)
    """Faults the portal had not shown by the end."""
    account: dict[str, Any] = field(default_factory=dict)
    """The hub's own statement of its accounting identity."""


async def play(city: City, stage: Stage, report: Report) -> Played:
    """Play `city` and wait until nothing moves any more, at most `stage.patience_s`.

    Raises `Refused` when the hub turns a sender away, `ConnectionError` without a broker.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        return await _Play(city, stage, report, http).run()


class _Play:
    def __init__(self, city: City, stage: Stage, report: Report, http: aiohttp.ClientSession) -> None:
        self.city = city
        self.stage = stage
        self.report = report
        self.http = http
        self.senders = {who: Sender(http, stage.gateway, c) for who, c in stage.clients.items()}
        self.live: dict[str, LiveGate] = {}
        self.played = Played(city=city, expectation=expect(city), started=datetime.now(UTC))
        self._began = time.monotonic()

    async def run(self) -> Played:
        await self._open_schools()
        secrets = await self.stage.install_gates(self.city)
        self.report(
            "Ba trường gửi danh sách; sáu cổng mở; 40 hồ sơ lên Cổng DVC",
            "three schools push rosters, six gates open, 40 filings set out",
        )
        telling = asyncio.create_task(self._tell())
        try:
            async with asyncio.timeout(self.stage.patience_s):
                async with asyncio.TaskGroup() as tasks:
                    for number, school in enumerate(self.city.schools):
                        tasks.create_task(self._roster(number, school))
                    tasks.create_task(self._file())
                    tasks.create_task(self._gates(secrets))
                self.report("Đã gửi hết; chờ mọi thứ ngã ngũ", "all is sent; waiting for everything to come to rest")
                await self._rest()
        except TimeoutError:
            self.played.in_time = False
        except ExceptionGroup as group:
            raise _first(group) from group
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        await self._collect()
        self.played.seconds = time.monotonic() - self._began
        return self.played

    # ------------------------------------------------------------------------------------------ sending

    async def _open_schools(self) -> None:
        """Schools by the department, then classes by each school: the rest names them."""
        department = self.senders[DEPARTMENT]
        run = f"r{self.city.run}"
        answer = await department.push(
            "school", orjson.dumps([s.item for s in self.city.schools]), key=f"schools-{run}", bulk=True
        )
        self._taken(answer, len(self.city.schools))
        for school in self.city.schools:
            answer = await self.senders[school.code].push(
                "class", orjson.dumps(school.classes), key=f"classes-{run}", bulk=True
            )
            self._taken(answer, len(school.classes))

    def _taken(self, answer: Answer, records: int) -> None:
        self.played.others.append(answer)
        if answer.status != 202 or answer.body.get("records") != records:
            raise Refused(f"HTTP {answer.status} {answer.body}")

    async def _roster(self, number: int, school: School) -> None:
        """The first school sends a JSON array, the second NDJSON twice with one key, the third NDJSON."""
        sender, key = self.senders[school.code], f"roster-r{self.city.run}"
        items = [p.item for p in school.roster]
        if number == 0:
            self.played.rosters[school.code] = await sender.push("learner", orjson.dumps(items), key=key, bulk=True)
            return
        lines = b"\n".join(orjson.dumps(i) for i in items)
        self.played.rosters[school.code] = await sender.push(
            "learner", lines, content_type="application/x-ndjson", key=key
        )
        if number == 1:
            # As after a lost answer: the same body under the same key must change nothing.
            self.played.repeated = await sender.push("learner", lines, content_type="application/x-ndjson", key=key)

    async def _file(self) -> None:
        """Filings one by one while the portal is down, and on into the time when it takes some without saying so."""
        portal = self.stage.simulators["public_service"]
        await self._fault(portal, {"kind": "down_503", "for_s": DOWN_S})
        # Behind the first in line: it begins when the 503s are over. Creations only, so that inquiries are answered.
        await self._fault(portal, {"kind": "commit_then_timeout", "count": TIMEOUTS, "match": "DongBoHoSoMC"})
        sender = self.senders[DEPARTMENT]
        for number, item in enumerate(self.city.filings):
            self.played.filings[_number(item)] = await sender.push(
                "filing", orjson.dumps(item), key=f"filing-{_number(item)}"
            )
            if number + 1 < FILINGS:
                await asyncio.sleep(_FILING_EVERY_S)
        first = self.city.filings[0]
        other = {**first, "data": {**first["data"], "content": "Nội dung khác dưới cùng một khóa"}}
        self.played.conflicting = await sender.push("filing", orjson.dumps(other), key=f"filing-{_number(first)}")

    async def _fault(self, url: str, fault: Item) -> None:
        async with self.http.post(f"{url}/_sim/fault", data=orjson.dumps(fault)) as reply:
            if reply.status != 200:
                raise Refused(f"{url}/_sim/fault: HTTP {reply.status}")

    async def _gates(self, secrets: Mapping[str, str]) -> None:
        await asyncio.sleep(_GATES_AFTER_S)
        async with asyncio.TaskGroup() as tasks:
            for number, gate in enumerate(self.city.gates):
                live = self._gate(number, gate, secrets[gate.device])
                self.live[gate.device] = live
                tasks.create_task(live.run(gate.plan))

    def _gate(self, number: int, gate: Gate, secret: str) -> LiveGate:
        options = GateOptions(
            device=gate.device,
            school=gate.school,
            host=self.stage.mqtt[0],
            port=self.stage.mqtt[1],
            username=gate.device,
            password=secret,
            seed=self.city.seed,
            clock_error_s=gate.clock_error_s,
            image_bytes=_IMAGE_BYTES,
            patience_s=self.stage.patience_s,
        )
        # One of the terminals has the firmware that spells its fields otherwise.
        return FaceGate(options, drift=number == 2) if gate.family == "face_mqtt" else NativeGate(options)

    # ------------------------------------------------------------------------------------------ waiting

    async def _rest(self) -> None:
        """Until the simulators hold as many effects as are due and nothing of the hub's is under way."""
        e = self.played.expectation
        due = {"ministry": e.ministry.total(), "population": e.population.total(), "public_service": e.portal.total()}
        while True:
            books = [await self._books(system) for system in SYSTEMS]
            if all(b["effects"] >= due[system] for system, b in zip(SYSTEMS, books, strict=True)):
                states = (await self._reconcile())["account"]["by_state"]
                if not any(states[s] for s in _OPEN_STATES):
                    return
            await asyncio.sleep(1.0)

    async def _tell(self) -> None:
        e = self.played.expectation
        while True:
            await asyncio.sleep(_TELL_S)
            held = [(await self._books(system))["effects"] for system in SYSTEMS]
            acked = sum(entry.acked for gate in self.live.values() for entry in gate.books())
            due = (e.ministry.total(), e.population.total(), e.portal.total())
            ministry, population, portal = (f"{h}/{d}" for h, d in zip(held, due, strict=True))
            self.report(
                f"Bộ {ministry} · dân cư {population} · Cổng DVC {portal} · lượt qua cổng {acked}/{e.checkins}",
                f"Ministry {ministry}, population {population}, portal {portal}, gates {acked}/{e.checkins}",
            )

    async def _books(self, system: str) -> dict[str, Any]:
        async with self.http.get(f"{self.stage.simulators[system]}/_sim/books") as reply:
            found: dict[str, Any] = orjson.loads(await reply.read())
            return found

    async def _reconcile(self) -> dict[str, Any]:
        url = f"{self.stage.gateway}/control/v1/reconcile"
        async with self.http.post(url, headers={"Authorization": f"Bearer {self.stage.control_token}"}) as reply:
            said = await reply.read()
            if reply.status != 200:
                raise Refused(f"/control/v1/reconcile: HTTP {reply.status} {said[:300]!r}")
            found: dict[str, Any] = orjson.loads(said)
            return found

    # ------------------------------------------------------------------------------------------ collecting

    async def _collect(self) -> None:
        """Read every book there is, the hub's answers to its senders last."""
        played = self.played
        played.gates = {device: gate.books() for device, gate in self.live.items()}
        for system in SYSTEMS:
            played.books[system] = await self._books(system)
            async with self.http.get(f"{self.stage.simulators[system]}/_sim/books/effects") as reply:
                played.effects[system] = [orjson.loads(line) for line in (await reply.read()).splitlines()]
        async with self.http.get(f"{self.stage.simulators['public_service']}/_sim/fault") as reply:
            # A fault whose time or count has run out stays listed until the next request it might have met.
            now = orjson.loads(await reply.read())["on"]
            played.faults_left = [f for f in now if f["count"] != 0 and f["for_s"] is None]
        for code, answer in played.rosters.items():
            if answer.receipt:
                played.receipts[code] = await self.senders[code].receipt(answer.receipt)
        for number, answer in played.filings.items():
            if answer.receipt:
                played.receipts[number] = await self.senders[DEPARTMENT].receipt(answer.receipt)
        played.account = await self._reconcile()


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The first fault of several, as one the caller knows how to tell."""
    error = group.exceptions[0]
    if isinstance(error, ExceptionGroup):
        return _first(error)
    known = isinstance(error, Refused | ConnectionError) and not isinstance(error, aiohttp.ClientError)
    return error if known else Refused(f"{type(error).__name__}: {error}")


def _number(filing: Item) -> str:
    return str(filing["data"]["file_number"])
