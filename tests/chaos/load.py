"""Sources as careful as the hub asks them to be: clients that push again until they hear yes, gates that resend.

One concern: making load and keeping the sources' own books. It must never read anything of the hub's but its answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson

from adapters.population.simulator import number_hash
from hub.simulate.people import People
from hub.simulate.places import places
from iot.gate import GateOptions, PlannedCheckin
from tests.chaos.books import Books, Passage, Push
from tests.chaos.overtaking import SHARE, Overtaking, OvertakingFace, OvertakingNative
from tests.chaos.verdict import MQTT
from tests.chaos.world import SCHOOL, World, now

CLIENTS = ("truong-a", "truong-b")
_AGENCY = "000.00.12.H24"
_DAY = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
_GATES: dict[str, type[Overtaking]] = {"face_mqtt": OvertakingFace, "native": OvertakingNative}


def crowd(seed: int, count: int) -> list[dict[str, str]]:
    """Synthetic people for the population simulator."""
    rng = random.Random(seed)
    people = People(rng, ("02",))
    found = []
    for _ in range(count):
        p = people.born_in(2014)
        found.append(
            {"number": p.number, "name": p.name, "birth": f"{p.birth:%Y%m%d}", "sex": "1" if p.sex == "male" else "2"}
        )
    return found


class Source:
    """All clients of one run: each stream of pushes waits for its answer before it goes on."""

    _runs = 0

    def __init__(self, world: World, seed: int, people: list[dict[str, str]], *, prefix: str) -> None:
        self.world = world
        self.books = Books()
        self.rng = random.Random(seed)
        self._people = people
        self._prefix = prefix
        self._learners: dict[str, int] = {}
        self._person: dict[str, dict[str, str]] = {}
        self._filings: dict[str, int] = {}
        self._steps = 0
        self._numbers = 0
        Source._runs += 1
        self._run = Source._runs

    # ------------------------------------------------------------------ what is pushed

    def learner(self, *, verified: bool = False) -> str:
        """A new learner, unknown to the hub; `verified`: with a personal number, so the population database is asked."""
        code = f"{self._prefix}{len(self._learners):06d}"
        self._learners[code] = 0
        if verified:
            person = self._people.pop()
            self._person[code] = person
            self.books.numbers[code] = number_hash(person["number"])
        return code

    def _learner_item(self, code: str) -> dict[str, Any]:
        self._learners[code] += 1
        version = self._learners[code]
        data: dict[str, Any] = {
            "learner_code": code, "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "Nam", "ethnicity": "01",
            "school_code": SCHOOL, "class_code": f"6A{version}", "grade": "6", "school_level": "03", "status": "studying",
        }  # fmt: skip
        if (person := self._person.get(code)) is not None:
            born = person["birth"]
            data |= {
                "personal_number": person["number"], "full_name": person["name"], "birth_date": f"{born[:4]}-{born[4:6]}-{born[6:]}",
                "sex": "Nam" if person["sex"] == "1" else "Nữ",
            }  # fmt: skip
        return {"data": data}

    def filing(self) -> str:
        """A new file number."""
        number = f"{_AGENCY}-{_DAY + timedelta(days=self._run):%y%m%d}-{len(self._filings):05d}"
        self._filings[number] = 0
        return number

    def _filing_item(self, number: str) -> dict[str, Any]:
        self._filings[number] += 1
        return {
            "data": {
                "file_number": number, "procedure_code": "2.002481", "procedure_name": "Chuyển trường", "field_code": "GDTrH",
                "field_name": "Giáo dục trung học", "applicant": {"kind": "1", "name": "Trần Thị Ví Dụ"},
                "submitted_at": "2026-11-20T08:00:00+07:00", "received_at": "2026-11-20T09:00:00+07:00",
                "due_at": "2026-11-27T17:00:00+07:00", "status": "2", "channel": "1",
                "content": f"Lần {self._filings[number]}", "agency": _AGENCY, "school_code": SCHOOL,
            }
        }  # fmt: skip

    def _step_item(self, number: str) -> tuple[str, dict[str, Any]]:
        self._steps += 1
        at = (_DAY + timedelta(seconds=self._steps)).isoformat()
        data = {
            "file_number": number,
            "handler": "Cán bộ Thử",
            "handled_at": at,
            "content": f"Bước {self._steps}",
            "status": "2",
        }
        return f"{number}#{self._steps}", {"data": data}

    # ------------------------------------------------------------------ pushing

    async def push(self, kind: str, *keys: str, bulk: bool = False) -> Push:
        """The next version of each key (for `filing_progress`: a new step of each file), pushed until it is acknowledged."""
        push, body = self.entered(kind, *keys)
        push.receipt = await self._until_acknowledged(push, body, bulk)
        push.acked_at = now()
        if push.receipt is not None and self.rng.random() < 0.05:
            # A source that lost the answer: the same body with the same key.
            again = await self._until_acknowledged(push, body, bulk)
            if again is not None:
                push.again.append(again)
        return push

    def entered(self, kind: str, *keys: str) -> tuple[Push, bytes]:
        """The next version of each key, entered in the books, and the body that says so: for `push`, or a way of its own."""
        items, bodies = [], []
        for key in keys:
            if kind == "learner":
                item = self._learner_item(key)
                items.append((key, self._learners[key]))
            elif kind == "filing":
                item = self._filing_item(key)
                items.append((key, self._filings[key]))
            else:
                step, item = self._step_item(key)
                items.append((step, 1))
            bodies.append(orjson.dumps(item))
        self._numbers += 1
        name = f"{self._prefix}-{self._run}-{self._numbers}"
        push = Push(
            client=CLIENTS[self._numbers % len(CLIENTS)],
            kind=kind,
            items=items,
            idempotency=name,
        )
        self.books.pushes.append(push)
        return push, b"\n".join(bodies)

    async def _until_acknowledged(self, push: Push, body: bytes, bulk: bool) -> str | None:
        headers = {
            "Content-Type": "application/x-ndjson" if bulk else "application/json",
            "Idempotency-Key": push.idempotency, "X-API-Key": self.world.keys[push.client],
        }  # fmt: skip
        while True:
            push.tries += 1
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self.world.http.post(
                    f"{self.world.url}/v1/messages/{push.kind}", data=body, headers=headers
                ) as reply:
                    said = await reply.read()
                    push.answer = f"HTTP {reply.status}: {said[:300]!r}"
                    if reply.status == 202:
                        return str(orjson.loads(said)["receipt"])
                    if reply.status < 500 and reply.status not in (401, 408, 429):
                        push.refused = f"HTTP {reply.status}: {said[:300]!r}"
                        return None
            await asyncio.sleep(0.05 + self.rng.random() * 0.2)

    async def school(self) -> None:
        """The school everything belongs to, made known as its first push."""
        data = {
            "school_code": SCHOOL,
            "name": "Trường Thử",
            "level": "03",
            "kind": "1",
            "ward": places().wards[0].code,
            "address": "Số 1",
        }
        push = Push(client=CLIENTS[0], kind="school", items=[], idempotency=f"school-{self._run}")
        try:
            async with asyncio.timeout(60):
                await self._until_acknowledged(push, orjson.dumps({"data": data}), False)
        except TimeoutError:
            raise TimeoutError(
                f"no push is accepted after {push.tries} tries; the last answer: {push.answer}"
            ) from None
        assert push.refused is None, push.refused

    async def stream(self, until: Callable[[], bool], pause_s: float) -> None:
        """Push all sorts of things, one after the other, until told to end."""
        learners = [self.learner(verified=self.rng.random() < 0.5) for _ in range(6)]
        flock = [self.learner() for _ in range(15)]
        filings: list[str] = []
        while not until():
            dice = self.rng.random()
            if dice < 0.45:
                await self.push("learner", self.rng.choice(learners))
            elif dice < 0.52:
                learners.append(self.learner(verified=True))
                await self.push("learner", learners[-1])
            elif dice < 0.60:
                await self.push("learner", *flock, bulk=True)
            elif dice < 0.72 or not filings:
                filings.append(self.filing())
                await self.push("filing", filings[-1])
            elif dice < 0.84:
                await self.push("filing", self.rng.choice(filings[-8:]))
            else:
                await self.push("filing_progress", self.rng.choice(filings[-8:]))
            await asyncio.sleep(self.rng.random() * pause_s)

    async def streams(
        self, count: int, seconds: float, pause_s: float = 0.15, until: Callable[[], bool] = lambda: True
    ) -> None:
        """Several streams for so long, and `until` as well; the books say from when to when nothing paused."""
        end = time.monotonic() + seconds
        self.books.first = now()
        await asyncio.gather(*(self.stream(lambda: time.monotonic() >= end and until(), pause_s) for _ in range(count)))
        self.books.last = now()


class Gates:
    """Gates of both families, one with its clock a day off. Every passage is by a person who passes but once; a share of
    them overtake each other on their way."""

    def __init__(
        self, world: World, seed: int, *, prefix: str, count: int = 4, crowd: int = 0, overtaking: float = SHARE
    ) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self._seed, self._overtaking = seed, overtaking
        self.ids = [f"{prefix}-cong-{n}" for n in range(count + crowd)]
        self.families = ["face_mqtt" if n % 2 == 0 and n < count else "native" for n in range(count + crowd)]
        self.wrong = {self.ids[count - 1]} if count > 3 else set()
        self._few = set(self.ids[count:])
        self._gates: list[Overtaking] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._plans: dict[str, list[str]] = {}

    async def start(self, seconds: float, per_s: float, patience_s: float) -> None:
        """Log in and begin to play; gates of the crowd have but two passages each."""
        await self.world.install(*zip(self.ids, self.families, strict=True))
        mqtt = self.world.broker
        for device, family in zip(self.ids, self.families, strict=True):
            options = GateOptions(
                device=device, school=SCHOOL, host=mqtt.host, port=mqtt.port, username=device, password=self.world.devices[device].secret,
                image_bytes=1_500, resend_s=1.5, patience_s=patience_s, clock_error_s=86_400.0 if device in self.wrong else 0.0,
            )  # fmt: skip
            gate = _GATES[family](options, random.Random(f"{self._seed}/{device}"), self._overtaking)
            self._gates.append(gate)
            plan = self._plan(device, seconds, 2 if device in self._few else int(seconds * per_s))
            self._tasks.append(asyncio.create_task(self._play(gate, plan)))
        await asyncio.sleep(0.2)

    async def _play(self, gate: Overtaking, plan: list[PlannedCheckin]) -> None:
        try:
            while True:
                try:
                    await gate.run(plan)
                    return
                except ConnectionError:  # the broker was away just when it wanted to log in: it comes back, as gates do
                    await asyncio.sleep(0.5)
        finally:
            gate.still.set()

    def _plan(self, device: str, seconds: float, count: int) -> list[PlannedCheckin]:
        at = datetime.now(UTC)
        plan = []
        for n in range(count):
            at_s = self.rng.uniform(0, seconds)
            late = self.rng.random() < 0.1
            happened = at + timedelta(seconds=at_s) - timedelta(seconds=1_800 if late else 0)
            plan.append(
                PlannedCheckin(
                    at_s=at_s,
                    person=f"P.{device}.{n}",
                    happened=happened,
                    live=not late,
                    copies=2 if self.rng.random() < 0.1 else 1,
                )
            )
        return plan

    async def still(self) -> list[Passage]:
        """Wait until the gates have all they want, or their patience is over; what they know of their passages. They stay
        connected, for what they may still be asked."""
        await asyncio.gather(*(g.still.wait() for g in self._gates))
        return [
            Passage(
                device=g.options.device,
                person=e.plan.person,
                acked=e.acked,
                clock_right=g.options.device not in self.wrong,
                overtaken=e.event in g.overtaken,
                way=MQTT,
                acked_at=e.acked_at,
            )
            for g in self._gates
            for e in g.books()
        ]

    def numbers(self) -> dict[str, int]:
        """The last number each gate that counts has given."""
        return {g.options.device: g.last for g in self._gates if isinstance(g, OvertakingNative)}

    async def finish(self) -> list[Passage]:
        """`still`, and disconnect."""
        passages = await self.still()
        for gate in self._gates:
            gate.enough.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return passages
