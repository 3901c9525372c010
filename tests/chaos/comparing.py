"""The sources' books held against the counterparties', one kind of thing at a time.

One concern: finding what was lost, doubled or disordered in books already read. It must never wait, nor read anything itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from tests.chaos.books import Books, Effect
from tests.chaos.verdict import HTTP, MQTT, PUSHES, Verdict, Window

CALLS = 8
"""Calls to one counterparty that can be on their way at once (two workers with four each): what one fault of its leaves unclear."""
EVERY_S = 5.0
"""In a long window there must be progress in every such time."""


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


def learners(books: Books, effects: list[Effect], verdict: Verdict) -> None:
    """Each version of a learner stands once at the Ministry, ascending, and none that nobody sent."""
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


def portal(books: Books, effects: list[Effect], people: set[str], verdict: Verdict) -> None:
    """A filing is created once, each content and each notice of it stands once, in the order they were pushed. `people`: filings
    that are a person's, of which some may be missing, and may be made good in another order."""
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
    steps: dict[str, list[int]] = defaultdict(list)
    for e in effects:
        if e.type == "progress":
            number, step = str(e.content["MaHoSo"]), str(e.content["NoiDungXuLy"]).rpartition(" ")[2]
            done[f"{number}#{step}"] += 1
            if f"{number}#{step}" in steps_sent:
                steps[number].append(int(step))
    for number, told in steps.items():
        if number not in people and told != sorted(told):
            verdict.disordered.append(f"portal {number}: notices {told}")
    for key in steps_sent:
        verdict.doubled += [f"portal notice {key}: {done[key]} times"] * (done[key] > 1)
        if key in steps_acked and not done[key] and key.partition("#")[0] not in people:
            verdict.lost.append(f"portal notice {key}")


def to_people(found: set[str], faults: int, verdict: Verdict) -> None:
    """What nobody can know is a person's, but no more of it than the portal's own faults can have left unclear."""
    if len(found) > faults * CALLS:
        verdict.wrong.append(f"{len(found)} filings handed to people after {faults} faults of the portal's")


def passages(books: Books, effects: list[Effect], shown: set[str], verdict: Verdict) -> None:
    """Each acknowledged passage arrived once. `shown`: persons whose passage the ledger shows as doubtful or corrected, where the
    gate's clock was wrong."""
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


def sightings(books: Books, seen: list[Any], verdict: Verdict) -> None:
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


def families(books: Books, effects: list[Effect], verdict: Verdict) -> None:
    """Nobody is told of a passage twice, and of each that was to be told somebody is."""
    done = Counter(str(e.content["data"].get("learner")) for e in effects if e.event == "NEW")
    passed = {p.person for p in books.passages}
    verdict.doubled += [f"passage {person}: told {done[person]} times" for person in passed if done[person] > 1]
    verdict.lost += [f"passage {person}: no family was told" for person in books.told if not done[person]]


def at_gates(books: Books, known: set[str], verdict: Verdict) -> None:
    """A gate knows who was told to it last. `known`: `<gate>/<person>`, as the gates themselves have it."""
    for person, wanted in books.at_gates.items():
        if wanted and person not in known:
            verdict.lost.append(f"{person} is not known at the gate")
        elif not wanted and person in known:
            verdict.lost.append(f"{person} is still known at the gate")


def events(books: Books, kept: list[str], verdict: Verdict) -> None:
    """An event a portal was thanked for is kept once. `kept`: the ids the ledger holds, each as often as it does."""
    done = Counter(kept)
    verdict.lost += [f"event {name} of the portal's" for name in books.events if not done[name]]
    verdict.doubled += [f"event {name} of the portal's: {n} records" for name, n in done.items() if n > 1]


def lookups(books: Books, effects: list[Effect], verdict: Verdict) -> None:
    """Every number was looked up (repeats are counted), no request answered later was put twice, none stands there still."""
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


def _spans(window: Window) -> Iterator[tuple[datetime, datetime]]:
    """What a window asks progress in: all of it, or, in a long one, every `EVERY_S` of it; a shorter rest belongs to the last."""
    count = max(1, int((window.end - window.start).total_seconds() // EVERY_S))
    marks = [window.start + timedelta(seconds=EVERY_S) * n for n in range(count)] + [window.end]
    return pairwise(marks)


def _ways_in(books: Books) -> dict[str, list[datetime]]:
    """When something was acknowledged for the first time, by way in."""
    found: dict[str, list[datetime]] = {PUSHES: [p.acked_at for p in books.pushes if p.acked_at is not None]}
    for passage in books.passages:
        if passage.way is not None:
            times = found.setdefault(passage.way, [])
            if passage.acked_at is not None:
                times.append(passage.acked_at)
    return found


def progress(books: Books, effects: dict[str, list[Effect]], windows: list[Window], verdict: Verdict) -> None:
    """While one thing was hurt, each system with a healthy path was made to do something, and by each way in that was left something
    was acknowledged; and how long no system was made to do anything at most, from the first push to the last. Windows that reach
    beyond the time of steady pushes ask nothing, nor of gates those beyond their plans, or where there were none."""
    times = {system: [e.at for e in found] for system, found in effects.items()}
    ways = _ways_in(books)
    for w in windows:
        if books.first is None or books.last is None or w.start < books.first or w.end > books.last:
            continue
        verdict.windows += bool(w.healthy)
        for path in w.healthy:
            if path in (MQTT, HTTP) and (path not in ways or books.gates_until is None or w.end > books.gates_until):
                continue
            verdict.paths[path] = verdict.paths.get(path, 0) + 1
            for start, end in _spans(w):
                if not any(start <= at <= end for at in (times | ways)[path]):
                    span = f"{(start - w.start).total_seconds():.1f}-{(end - w.start).total_seconds():.1f} s"
                    verdict.wrong.append(f"no progress at {path} during “{w.name}” ({span} of it)")
    if books.first is not None and books.last is not None:
        marks = sorted(at for found in times.values() for at in found if books.first <= at <= books.last)
        edges = [books.first, *marks, books.last]
        verdict.longest_stall_s = max((b - a).total_seconds() for a, b in pairwise(edges))
