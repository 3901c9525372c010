"""The judge: what the sources know against what the counterparties know, with the public receipts in between.

One concern: finding what was lost, doubled, disordered or left hanging. It reads the sources' own books, the
simulators' own books, `GET /v1/receipts/{code}` and the accounting identity; of passages whose gate had a wrong clock,
which may go to nobody, that the ledger shows them; of events a portal told and sightings by cameras nobody answers, which
go nowhere, that the ledger holds each once; of gates that count, which numbers the hub believes missing. It must never read
anything else of the hub's, nor forgive.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp
from msgspec import Struct, field

from hub.kernel.ledger import gate_memory
from hub.kernel.ledger.accounting import Account, account
from tests.chaos.books import Books, Effect, Push
from tests.chaos.world import SYSTEMS, World

_DONE = {"delivered"}
_CALLS = 8
"""Calls to one counterparty that can be on their way at once (two workers with four each): what one fault of its leaves unclear."""
_SHOWN = """
SELECT body->>'local_id', body->>'person_code' FROM records
WHERE type = 'checkin' AND (body->>'local_id' = ANY ($1::text[]) OR body->>'person_code' = ANY ($1::text[]))
  AND (body->>'quarantine' IS NOT NULL OR body->>'corrected_time' IS NOT NULL)"""
_KEPT = """
SELECT body->>'event_id' FROM records WHERE type = 'filing_progress' AND body->>'event_id' = ANY ($1::text[])"""
_SEEN = """
SELECT body->>'device' AS device, coalesce(body->>'local_id', body->>'person_code') AS person, count(DISTINCT key) AS n,
  bool_and((body->>'historical')::boolean) AS listed
FROM records WHERE type = 'checkin' AND body->>'device' = ANY ($1::text[]) GROUP BY 1, 2"""
_NUMBER = re.compile(r"\d+")
_OPEN = ("held", "ready", "sending", "waiting", "uncertain")
_GAPS_S = 80.0
"""A gate is asked again after a minute, for a request can get lost as well."""
_GOES_TO = {
    "learner": {"ministry"}, "filing": {"public_service"}, "filing_progress": {"public_service"}, "gate_person": {"face_gates"},
}  # fmt: skip


class Verdict(Struct, kw_only=True):
    """What the oracle found. `objections` empty: nothing lost, nothing doubled, all in order."""

    acknowledged: int = 0
    passages: int = 0
    overtaken: int = 0
    """Of these, said by their gate after a later one."""
    effects: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    hanging: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Anything else that was promised: a refusal without cause, an account that does not add up, no progress."""
    sightings: int = 0
    """Passages at cameras nobody answers."""
    listed: int = 0
    """Of these, found by their list alone."""
    to_people: int = 0
    """Handed to a person because nobody could know: allowed for the portal only."""
    repeated_lookups: int = 0
    longest_stall_s: float = 0.0
    windows: int = 0
    """Times in which something was hurt and others had to go on, and were seen to or objected to."""

    @property
    def objections(self) -> list[str]:
        """All of it, in words."""
        kinds = ("lost", "doubled", "disordered", "hanging", "wrong")
        return [f"{kind}: {what}" for kind in kinds for what in getattr(self, kind)]


class Window(Struct, frozen=True, kw_only=True):
    """A time in which something was hurt while a way to `healthy` systems stood open."""

    name: str
    start: datetime
    end: datetime
    healthy: tuple[str, ...]


async def quiet(world: World, timeout_s: float) -> tuple[Account, float]:
    """Wait until nothing is open any more; the account as it stands then, and how long that took."""
    started = moved = time.monotonic()
    before: dict[str, int] = {}
    while True:
        found = await world.patiently(lambda: account(world.house.core))
        now = time.monotonic()
        if found.by_state != before:
            before, moved = found.by_state, now
        waiting = sum(found.by_state[s] for s in _OPEN) + found.inbox
        # Behind what a person must settle others stand still, as the flow declares.
        if waiting == found.by_state["held"] and found.by_state["parked"] and now - moved > 2.0:
            waiting = 0
        if not waiting or now - started > timeout_s:
            return found, now - started
        await asyncio.sleep(0.2)


async def judge(
    world: World, books: Books, *, windows: list[Window] | None = None, numbers: dict[str, int] | None = None,
    known: Callable[[], set[str]] = set, timeout_s: float = 45.0,
) -> Verdict:  # fmt: skip
    """Judge one run, once its sources are still and everything runs again. `numbers`: the last number of each gate that counts, has
    heard that all it said is stored, and still answers. `known`: who is known at which gate, as the gates themselves have it."""
    verdict = Verdict()
    await _numbers(world, numbers or {}, verdict)
    accounted, _ = await quiet(world, timeout_s)
    if not accounted.balanced:
        verdict.wrong.append(f"the account does not add up: {accounted.differences}")
    effects = {system: world.effects(system) for system in SYSTEMS}
    people = await _receipts(world, books, verdict)
    _learners(books, effects["ministry"], verdict)
    _portal(books, effects["public_service"], people, verdict)
    _people(people, world.ill.pop("public_service", 0), verdict)  # what it suffered since the part before was judged
    _passages(books, effects["ministry"], await _shown(world, books), verdict)
    _sightings(books, await _seen(world, books), verdict)
    _lookups(books, effects["population"], verdict)
    if "subscriber" in world.sims:
        effects["subscriber"] = world.effects("subscriber")
        _families(books, effects["subscriber"], verdict)
    _at_gates(books, known(), verdict)
    _events(books, await _kept(world, books), verdict)
    verdict.effects = {system: len(found) for system, found in effects.items()}
    _progress(books, effects, windows or [], verdict)
    return verdict


# ------------------------------------------------------------------ what the hub says of what it acknowledged


async def _receipts(world: World, books: Books, verdict: Verdict) -> set[str]:
    """Every acknowledgement stands for a message in exactly one visible state; gives the keys handed to people."""
    people: set[str] = set()
    for push in books.pushes:
        if push.refused is not None:
            verdict.wrong.append(f"{push.kind} {push.items[0]} refused: {push.refused[:120]}")
        elif push.receipt is None:
            verdict.wrong.append(f"{push.kind} {push.items[0]}: never answered, after {push.tries} tries")
    acknowledged = [p for p in books.pushes if p.receipt is not None]
    verdict.acknowledged = len(acknowledged)
    gate = asyncio.Semaphore(6)

    async def one(push: Push) -> dict[str, Any] | None:
        async with gate:
            return await _receipt(world, push)

    for push, found in zip(acknowledged, await asyncio.gather(*(one(p) for p in acknowledged)), strict=True):
        if any(code != push.receipt for code in push.again):
            verdict.doubled.append(
                f"{push.kind} {push.items[0]}: the same key got receipts {push.receipt} and {push.again}"
            )
        if found is None:
            verdict.lost.append(
                f"{push.kind} {push.items[0]}: acknowledged as {push.receipt}, but there is no such receipt"
            )
            continue
        _receipt_says(push, found, people, verdict)
    return people


async def _receipt(world: World, push: Push) -> dict[str, Any] | None:
    end = time.monotonic() + 20
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            headers = {"X-API-Key": world.keys[push.client]}
            async with world.http.get(f"{world.url}/v1/receipts/{push.receipt}?limit=1000", headers=headers) as reply:
                if reply.status == 200:
                    return dict(await reply.json())
                if reply.status == 404 or time.monotonic() > end:
                    return None
        await asyncio.sleep(0.1)


def _receipt_says(push: Push, found: dict[str, Any], people: set[str], verdict: Verdict) -> None:
    about = f"{push.kind} {push.items[0]}"
    outcomes = [m["outcome"] for m in found["messages"]]
    if set(outcomes) != {"routed"} or not found["complete"]:
        verdict.hanging.append(f"{about}: messages {outcomes}, complete {found['complete']}")
    records = sorted(found["records"], key=lambda r: [int(n) for n in _NUMBER.findall(r["pointer"])])
    if len(records) != len(push.items):
        verdict.lost.append(f"{about}: {len(push.items)} items, {len(records)} records")
        return
    for (key, version), record in zip(push.items, records, strict=True):
        if record["status"] != "accepted" or (push.kind != "filing_progress" and record["version"] != version):
            verdict.disordered.append(f"{key} version {version}: {record['status']} as version {record['version']}")
        states = {d["connector"]: [] for d in record["deliveries"]}  # type: dict[str, list[str]]
        for d in record["deliveries"]:
            states[d["connector"]].append(d["state"])
            if d["state"] == "parked" and d["cause"] == "unsettled" and d["connector"] == "public_service":
                people.add(key.partition("#")[0])
        if not _GOES_TO[push.kind] <= states.keys():
            verdict.lost.append(f"{key} version {version}: no delivery to {_GOES_TO[push.kind] - states.keys()}")
        for connector, held in states.items():
            own = [s for s in held if s != "cancelled"]
            stuck = [s for s in own if s not in _DONE and key.partition("#")[0] not in people]
            if stuck:
                causes = [d["cause"] for d in record["deliveries"] if d["connector"] == connector]
                verdict.hanging.append(f"{key} version {version} at {connector}: {held}, {causes}")
    verdict.to_people = len(people)


# ------------------------------------------------------------------ what the counterparties say


def _sent(books: Books, kind: str) -> tuple[dict[str, int], dict[str, int]]:
    """For each key: the highest version acknowledged, and the highest sent (its answer may have been lost)."""
    acked: dict[str, int] = {}
    sent: dict[str, int] = {}
    for push in books.pushes:
        if push.kind == kind:
            for key, version in push.items:
                sent[key] = max(sent.get(key, 0), version)
                if push.receipt is not None:
                    acked[key] = max(acked.get(key, 0), version)
    return acked, sent


def _learners(books: Books, effects: list[Effect], verdict: Verdict) -> None:
    acked, sent = _sent(books, "learner")
    have: dict[str, list[int]] = defaultdict(list)
    for e in effects:
        if e.type == "hocsinh" and e.key in sent:
            have[e.key].append(e.version)
    for key, most in sent.items():
        versions = have.get(key, [])
        if versions != sorted(versions):
            verdict.disordered.append(f"ministry {key}: versions {versions}")
        verdict.doubled += [f"ministry {key} version {v}" for v, n in Counter(versions).items() if n > 1]
        verdict.lost += [f"ministry {key} version {v}" for v in range(1, acked.get(key, 0) + 1) if v not in versions]
        verdict.wrong += [f"ministry {key} version {v} was never sent" for v in versions if v > most]


def _portal(books: Books, effects: list[Effect], people: set[str], verdict: Verdict) -> None:
    acked, sent = _sent(books, "filing")
    have: dict[str, list[int]] = defaultdict(list)
    created: Counter[str] = Counter()
    for e in effects:
        if e.type == "filing" and e.key in sent:
            have[e.key].append(int(str(e.content["TrichYeuHoSo"]).rpartition(" ")[2]))
            created[e.key] += e.event == "NEW"
    for key in sent:
        versions = have.get(key, [])
        if versions != sorted(versions):
            verdict.disordered.append(f"portal {key}: contents {versions}")
        verdict.doubled += [f"portal {key} content {v}" for v, n in Counter(versions).items() if n > 1]
        verdict.doubled += [f"portal {key} created {created[key]} times"] * (created[key] > 1)
        if key not in people:
            verdict.lost += [f"portal {key} content {v}" for v in range(1, acked.get(key, 0) + 1) if v not in versions]
    steps_acked, steps_sent = _sent(books, "filing_progress")
    done: Counter[str] = Counter()
    for e in effects:
        if e.type == "progress":
            number, step = str(e.content["MaHoSo"]), str(e.content["NoiDungXuLy"]).rpartition(" ")[2]
            done[f"{number}#{step}"] += 1
    for key in steps_sent:
        verdict.doubled += [f"portal notice {key}: {done[key]} times"] * (done[key] > 1)
        if key in steps_acked and not done[key] and key.partition("#")[0] not in people:
            verdict.lost.append(f"portal notice {key}")


def _people(people: set[str], faults: int, verdict: Verdict) -> None:
    """What nobody can know is a person's, but no more of it than the portal's own faults can have left unclear."""
    if len(people) > faults * _CALLS:
        verdict.wrong.append(f"{len(people)} filings handed to people after {faults} faults of the portal's")


async def _shown(world: World, books: Books) -> set[str]:
    """Of those who passed a gate with a wrong clock: whose passage stands in the ledger, corrected or marked as doubtful."""
    asked = [p.person for p in books.passages if p.acked and not p.clock_right]
    rows = await world.patiently(lambda: world.house.core.pool.fetch(_SHOWN, asked)) if asked else []
    return {name for row in rows for name in row if name is not None}


async def _seen(world: World, books: Books) -> list[Any]:
    cameras = sorted({s.device for s in books.sightings})
    return list(await world.patiently(lambda: world.house.core.pool.fetch(_SEEN, cameras))) if cameras else []


async def _kept(world: World, books: Books) -> list[str]:
    rows = await world.patiently(lambda: world.house.core.pool.fetch(_KEPT, books.events)) if books.events else []
    return [row[0] for row in rows]


async def _numbers(world: World, numbers: dict[str, int], verdict: Verdict) -> None:
    """What came late closes the gap it left. After a kill the hub may believe in one that is none: it asks, and is told."""
    end = time.monotonic() + _GAPS_S
    while True:
        known = (await world.patiently(lambda: gate_memory.load(world.house.core)))[0]
        gaps = [one for one in known if one.device in numbers and one.holes]
        if not gaps or time.monotonic() > end:
            break
        await asyncio.sleep(0.5)
    for one in gaps:
        spans = ", ".join(f"{first}-{last}" for first, last, _tries in one.holes)
        verdict.hanging.append(f"{one.device}: numbers {spans} of {numbers[one.device]} are told to be missing")
    for one in known:
        if one.highest > numbers.get(one.device, one.highest):
            verdict.wrong.append(f"{one.device}: number {one.highest} was never given")


def _passages(books: Books, effects: list[Effect], shown: set[str], verdict: Verdict) -> None:
    done = Counter(str(e.content.get("ma")) for e in effects if e.type == "diemdanh")
    for p in books.passages:
        verdict.passages += p.acked
        verdict.overtaken += p.acked and p.overtaken
        verdict.doubled += [f"passage {p.person}: {done[p.person]} times"] * (done[p.person] > 1)
        if p.acked and p.clock_right and not done[p.person]:
            verdict.lost.append(f"passage {p.person}, acknowledged to {p.device}")
        if p.acked and not p.clock_right and p.person not in shown:
            verdict.lost.append(
                f"passage {p.person}, acknowledged to {p.device} with its wrong clock: nowhere to be seen"
            )
        if not p.acked:
            verdict.hanging.append(f"passage {p.person}: {p.device} was never answered")


def _sightings(books: Books, seen: list[Any], verdict: Verdict) -> None:
    """Each is stored once, whichever way it came, and nobody else is."""
    found = {(row["device"], row["person"]): row for row in seen}
    verdict.sightings += len(books.sightings)
    for s in books.sightings:
        row = found.pop((s.device, s.person), None)
        if row is None:
            verdict.lost.append(f"sighting of {s.person} by {s.device}")
        elif row["n"] > 1:
            verdict.doubled.append(f"sighting of {s.person} by {s.device}: {row['n']} records")
        verdict.listed += row is not None and row["listed"]
    verdict.wrong += [f"{device} never saw {person}" for device, person in found]


def _families(books: Books, effects: list[Effect], verdict: Verdict) -> None:
    """Nobody is told of a passage twice, and of each that was to be told somebody is."""
    done = Counter(str(e.content["data"].get("learner")) for e in effects if e.event == "NEW")
    passed = {p.person for p in books.passages}
    verdict.doubled += [f"passage {person}: told {done[person]} times" for person in passed if done[person] > 1]
    verdict.lost += [f"passage {person}: no family was told" for person in books.told if not done[person]]


def _at_gates(books: Books, known: set[str], verdict: Verdict) -> None:
    for person, wanted in books.at_gates.items():
        if wanted and person not in known:
            verdict.lost.append(f"{person} is not known at the gate")
        elif not wanted and person in known:
            verdict.lost.append(f"{person} is still known at the gate")


def _events(books: Books, kept: list[str], verdict: Verdict) -> None:
    done = Counter(kept)
    verdict.lost += [f"event {name} of the portal's" for name in books.events if not done[name]]
    verdict.doubled += [f"event {name} of the portal's: {n} records" for name, n in done.items() if n > 1]


def _lookups(books: Books, effects: list[Effect], verdict: Verdict) -> None:
    asked = [e for e in effects if e.type == "lookup"]
    done = Counter(str(e.content["number"]) for e in asked)
    submitted = Counter(e.key for e in asked if "remote" in e.content)
    verdict.doubled += [
        f"request {key} put to the population database {n} times" for key, n in submitted.items() if n > 1
    ]
    removed = {e.key for e in effects if e.event == "DELETE"}
    left = {str(e.content["remote"]) for e in asked if "remote" in e.content} - removed
    verdict.hanging += [f"request {name} stands at the population database still" for name in sorted(left)]
    acked, _ = _sent(books, "learner")
    for code, number in books.numbers.items():
        if code in acked and not done[number]:
            verdict.lost.append(f"look-up of {code}")
        verdict.repeated_lookups += max(0, done[number] - 1)


def _progress(books: Books, effects: dict[str, list[Effect]], windows: list[Window], verdict: Verdict) -> None:
    times = {system: [e.at for e in found] for system, found in effects.items()}
    for w in windows:
        if books.first is None or books.last is None or w.start < books.first or w.end > books.last:
            continue
        verdict.windows += bool(w.healthy)
        for system in w.healthy:
            if not any(w.start <= at <= w.end for at in times[system]):
                verdict.wrong.append(
                    f"no progress at {system} during “{w.name}” ({(w.end - w.start).total_seconds():.1f} s)"
                )
    if books.first is not None and books.last is not None:
        marks = sorted(at for found in times.values() for at in found if books.first <= at <= books.last)
        edges = [books.first, *marks, books.last]
        verdict.longest_stall_s = max((b - a).total_seconds() for a, b in pairwise(edges))
