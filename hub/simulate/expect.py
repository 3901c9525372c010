"""What must be found afterwards, computed from the generator alone; and the comparison with a system's own books.

One concern: numbers and keys. It must never be given anything the hub says or stores: neither its answers nor its
tables have a place here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from adapters.population.simulator import number_hash
from hub.simulate.city import City

Effect = tuple[str, ...]
"""What one effect is about: type, business key and version; for a check-in type, device, person and school."""

_SHOWN = 5
_LEARNER_RUN = re.compile(r"HP\d\d(\d{3})\d{5}")
_SCHOOL_RUN = re.compile(r"31\d{5}(\d{3})\d")
_DEVICE_RUN = re.compile(r"cong-(\d{3})-\d+")
_FILING_RUN = re.compile(r".*-\d{6}-(\d{3})\d\d")


class Rejected(Struct, frozen=True):
    """One refusal a sender must be told of: place in the pushed body and reason."""

    pointer: str
    code: str


class Expectation(Struct, frozen=True, kw_only=True):
    """The generator's own account of one morning."""

    run: int
    ministry: Counter[Effect]
    population: Counter[Effect]
    portal: Counter[Effect]
    rejects: dict[str, list[Rejected]]
    """By school code: refusals of its roster, by place."""
    parked: dict[str, str]
    """Learners whose delivery to the Ministry must wait for a person: code → the former ward's code."""
    checkins: int
    """Passages that happened."""
    publications: int
    """Planned sendings: passages and copies. Gates send more when an acknowledgement is slow."""
    quarantined: int
    """Passages under a wrong clock: set aside until it can be told."""
    valid_learners: int

    @property
    def sent_learners(self) -> int:
        """Items pushed in rosters."""
        return self.valid_learners + sum(len(r) for r in self.rejects.values())


class Comparison(Struct, kw_only=True):
    """Expected against found, for one system."""

    expected: int
    found: int
    """Effects of this run, doubles included."""
    missing: list[Effect] = field(default_factory=list)
    doubled: list[Effect] = field(default_factory=list)
    unexpected: list[Effect] = field(default_factory=list)
    earlier: int = 0
    """Effects of an earlier run's records (what was left when that one was interrupted): no fault of this run."""

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing doubled, nothing that was not to be."""
        return not (self.missing or self.doubled or self.unexpected)

    def told(self) -> list[str]:
        """The differences in words, a few of each."""
        return [
            f"{word}: {len(these)} ({'; '.join(' '.join(e) for e in these[:_SHOWN])})"
            for word, these in (
                ("mất / lost", self.missing),
                ("trùng / doubled", self.doubled),
                ("thừa / unexpected", self.unexpected),
            )
            if these
        ]


def expect(city: City) -> Expectation:
    """Every effect this city must have, and none besides."""
    ministry: Counter[Effect] = Counter()
    population: Counter[Effect] = Counter()
    rejects: dict[str, list[Rejected]] = {}
    parked: dict[str, str] = {}
    valid = 0
    for school in city.schools:
        ministry["truong", school.code, "1"] += 1
        for group in school.classes:
            data = group["data"]
            ministry["lophoc", f"{data['school_code']}/{data['class_code']}/{data['school_year']}", "1"] += 1
        refused = []
        for place, learner in enumerate(school.roster):
            if learner.fault is not None:
                refused.append(Rejected(f"/{place}{learner.fault.place}", learner.fault.code))
                continue
            valid += 1
            population["lookup", number_hash(learner.person.number)] += 1
            if learner.split_ward is not None:
                parked[learner.code] = learner.split_ward
            else:
                ministry["hocsinh", learner.code, "1"] += 1
        rejects[school.code] = refused
    for gate in city.gates:
        # A wrong clock's too: set aside at first, passed on once the gate's own live events have told its error.
        ministry.update(("diemdanh", gate.device, p.person, gate.school) for p in gate.plan)
    return Expectation(
        run=city.run,
        ministry=ministry,
        population=population,
        portal=Counter({("filing", f["data"]["file_number"], "1"): 1 for f in city.filings}),
        rejects=rejects,
        parked=parked,
        checkins=sum(len(g.plan) for g in city.gates),
        publications=sum(p.copies for g in city.gates for p in g.plan),
        quarantined=sum(len(g.plan) for g in city.gates if g.wrong_clock),
        valid_learners=valid,
    )


def effect_of(system: str, entry: Mapping[str, Any]) -> tuple[Effect, int | None]:
    """One line of a simulator's books (`adapters.books.Effect` as plain data): what it is about, and of which run."""
    kind, key, version = str(entry["type"]), str(entry["key"]), str(entry["version"])
    if system == "population":
        # The number asked for is what must be unique; the request's own number differs between tries.
        return ("lookup", str(entry["content"]["number"])), None
    if kind == "diemdanh":
        device, _, _ = key.partition("/")
        return (kind, device, str(entry["content"]["ma"]), str(entry["content"]["matruong"])), _run(_DEVICE_RUN, device)
    if kind == "hocsinh":
        return (kind, key, version), _run(_LEARNER_RUN, key)
    if kind == "filing":
        return (kind, key, version), _run(_FILING_RUN, key)
    return (kind, key, version), _run(_SCHOOL_RUN, key.partition("/")[0])


def _run(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.fullmatch(text)
    return int(match.group(1)) if match else None


def compare(
    system: str,
    run: int,
    expected: Counter[Effect],
    entries: Iterable[Mapping[str, Any]],
    before: frozenset[str] = frozenset(),
) -> Comparison:
    """Expected effects against the lines of a simulator's `/_sim/books/effects`.

    `before`: hashes of personal numbers of earlier runs, whose late look-ups are no fault of this one.
    """
    found: Counter[Effect] = Counter()
    events: Counter[tuple[Effect, str]] = Counter()
    earlier = 0
    for entry in entries:
        about, of = effect_of(system, entry)
        if about not in expected and ((of is not None and of < run) or (about[0] == "lookup" and about[1] in before)):
            earlier += 1
            continue
        found[about] += 1
        if about[0] == "diemdanh":
            events[about, str(entry["key"])] += 1
    result = Comparison(expected=expected.total(), found=found.total(), earlier=earlier)
    for about, times in expected.items():
        have = found.get(about, 0)
        result.missing += [about] * max(0, times - have)
        result.doubled += [about] * max(0, have - times)
    # One passage doubled and another of the same person lost would cancel out above: their own keys tell.
    result.doubled += [about for (about, _), times in events.items() if times > 1 and about not in result.doubled]
    result.unexpected = [about for about in found if about not in expected]
    return result
