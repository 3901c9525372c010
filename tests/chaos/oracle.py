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
from collections.abc import Callable
from typing import Any

import aiohttp

from hub.kernel.ledger import gate_memory
from hub.kernel.ledger.accounting import Account, account
from tests.chaos import comparing
from tests.chaos.books import Books, Push
from tests.chaos.verdict import Verdict, Window
from tests.chaos.world import SYSTEMS, World

_DONE = {"delivered"}
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


_STILL_S = 2.0
"""How long nothing has moved when what is held stands behind a person's."""


def still_open(found: Account) -> dict[str, int]:
    """What has not come to its end, by state. Behind what a person must settle others are held, as the flow declares: those are at
    their end for now."""
    counts = {state: found.by_state[state] for state in _OPEN} | {"in the inbox": found.inbox}
    if found.by_state["parked"]:
        counts.pop("held")
    return {state: n for state, n in counts.items() if n}


async def quiet(world: World, timeout_s: float, verdict: Verdict) -> Account:
    """Wait until nothing is open any more, and object to what is so still when the time is over; the account as it stands then."""
    started = moved = time.monotonic()
    before: dict[str, int] = {}
    while True:
        found: Account = await world.patiently(lambda: account(world.house.core))
        now = time.monotonic()
        if found.by_state != before:
            before, moved = found.by_state, now
        left = still_open(found)
        if not left and (not found.by_state["held"] or now - moved > _STILL_S):
            return found
        if now - started > timeout_s:
            if left:
                said = ", ".join(f"{n} {state}" for state, n in left.items())
                verdict.hanging.append(f"open after {timeout_s:g} s: {said}")
            return found
        await asyncio.sleep(0.2)


async def judge(
    world: World, books: Books, *, windows: list[Window] | None = None, numbers: dict[str, int] | None = None,
    known: Callable[[], set[str]] = set, timeout_s: float = 45.0,
) -> Verdict:  # fmt: skip
    """Judge one run, once its sources are still and everything runs again. `numbers`: the last number of each gate that counts, has
    heard that all it said is stored, and still answers. `known`: who is known at which gate, as the gates themselves have it."""
    verdict = Verdict()
    await _numbers(world, numbers or {}, verdict)
    accounted = await quiet(world, timeout_s, verdict)
    if not accounted.balanced:
        verdict.wrong.append(f"the account does not add up: {accounted.differences}")
    effects = {system: world.effects(system) for system in SYSTEMS}
    people = await _receipts(world, books, verdict)
    comparing.learners(books, effects["ministry"], verdict)
    comparing.portal(books, effects["public_service"], people, verdict)
    faults = world.ill.pop("public_service", 0)  # what it suffered since the part before was judged
    comparing.to_people(people, faults, verdict)
    comparing.passages(books, effects["ministry"], await _shown(world, books), verdict)
    comparing.sightings(books, await _seen(world, books), verdict)
    comparing.lookups(books, effects["population"], verdict)
    if "subscriber" in world.sims:
        effects["subscriber"] = world.effects("subscriber")
        comparing.families(books, effects["subscriber"], verdict)
    comparing.at_gates(books, known(), verdict)
    comparing.events(books, await _kept(world, books), verdict)
    verdict.effects = {system: len(found) for system, found in effects.items()}
    comparing.progress(books, effects, windows or [], verdict)
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


# ------------------------------------------------------------------ what the ledger shows


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
