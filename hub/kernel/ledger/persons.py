"""Whom a gate's own user ids mean: namespaces, links with their times, the inbox of ids nobody knows, offsets set by hand.

Each order of a person leaves a line in the journal; what follows from it is `rejudge`'s. It must never link by itself: a
suggestion is a suggestion.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.gate_ids import is_account, said
from hub.kernel.ledger.given_codes import TEMPORARY, kept_under
from hub.kernel.ledger.operations import because, note
from hub.kernel.store.db import sql
from mappings.tables import fold

_NAMES = frozenset({"personname", "persionname", "name", "username"})
"""Where devices put a person's name, in lower case."""
_DEEPEST = 6
INBOX = 25
"""Ids on one page."""
_ZEROS = re.compile(r"^0+(?=.)")


class CannotLink(ValueError):
    """Không liên kết được. / The link cannot be made; the argument says why: `no_learner`, `linked_already`, `bad_times`,
    `bad_namespace`, `shared` (with gates of schools that are not the actor's)."""


class Suggestion(Struct, frozen=True):
    """A learner an unknown id may mean. `why`: `code`, `code_like` or `name`."""

    learner: str
    name: str
    why: str
    score: float


class Unknown(Struct, kw_only=True):
    """One id nobody is linked to, with what waits for it."""

    namespace: str
    local: str
    count: int
    since: datetime
    latest: datetime
    schools: list[str]
    devices: list[str]
    name: str | None = None
    """As the device sent it."""
    suggestions: list[Suggestion] = msgspec.field(default_factory=list)


class Inbox(Struct, frozen=True):
    """A page of ids nobody is linked to, and how many there are in all."""

    total: int
    ids: list[Unknown]


def name_in(body: bytes | None) -> str | None:
    """The person's name in a device's message, wherever it put it; None when there is none, or no JSON."""
    try:
        tree = msgspec.json.decode(body or b"null")
    except (msgspec.DecodeError, RecursionError):
        return None
    level: list[Any] = [tree]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                for key, value in node.items():
                    if str(key).lower() in _NAMES and isinstance(value, str) and value.strip():
                        return " ".join(value.split())[:120]
                    below.append(value)
            elif isinstance(node, list):
                below += node[:200]
        level = [n for n in below if isinstance(n, dict | list)]
    return None


class Roster:
    """One school's learners, (key, name), made ready to be compared with many ids: each name is folded once.

    `codes`: what those are called by whose key is not their code, by place: the temporary one and the one given in its place.
    """

    def __init__(self, people: Iterable[tuple[str, str]], codes: Mapping[int, Iterable[str]] | None = None) -> None:
        self.people = list(people)
        self.names: dict[str, list[int]] = {}
        self.words: dict[frozenset[str], list[int]] = {}
        self.codes: dict[str, list[int]] = {}
        for place, (code, name) in enumerate(self.people):
            folded = fold(name)
            self.names.setdefault(folded, []).append(place)
            self.words.setdefault(frozenset(folded.split()), []).append(place)
            for called in {code, *(codes or {}).get(place, ())}:
                self.codes.setdefault(called, []).append(place)


def suggest(local: str, name: str | None, rosters: Sequence[Roster], most: int = 4) -> list[Suggestion]:
    """Learners an id may mean: by the code, by a code that ends so, by the name without diacritics and case.

    A name several learners have is worth less: the page shows all of them, and a person chooses.
    """
    bare = _ZEROS.sub("", local)
    wanted = fold(name) if name else ""
    words = frozenset(wanted.split())
    same = sum(len(r.names.get(wanted, ())) for r in rosters) if wanted else 0
    found: list[Suggestion] = []
    for roster in rosters:
        taken: set[int] = set()
        ends = (
            [ns for code, ns in roster.codes.items() if code.endswith(bare) and "@" not in code]
            if len(bare) >= 3
            else []
        )
        alike = sorted({n for ns in ends for n in ns})
        for why, score, places in (
            ("code", 1.0, roster.codes.get(local, ())),
            ("name", round(0.95 / max(1, same), 2), roster.names.get(wanted, ()) if wanted else ()),
            ("code_like", 0.6, alike),
            ("name", 0.5, roster.words.get(words, ()) if words else ()),
        ):
            found += [Suggestion(*roster.people[n], why, score) for n in places if n not in taken]
            taken.update(places)
    return sorted(found, key=lambda s: (-s.score, s.learner))[:most]


async def inbox(core: Core, schools: list[str] | None, skip: int = 0, most: int = INBOX) -> Inbox:
    """A page of the ids without a person, the most wanted first, each with whom it may mean in the schools it was seen at."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.person_waits, schools, most, skip)
        bodies = {
            r["id"]: r["body"] for r in await connection.fetch(sql.message_bodies_of, [r["sample"] for r in rows])
        }
        places = sorted({s for r in rows for s in r["schools"] if s})
        learners: dict[str, list[tuple[str, str, str]]] = {}
        for r in await connection.fetch(sql.roster_of, places) if places else ():
            learners.setdefault(r["school"], []).append((r["key"], r["name"] or "", r["code"] or ""))
    # Thousands of names: not while everybody else waits for the loop.
    found = await asyncio.to_thread(_unknown, rows, bodies, learners)
    return Inbox(rows[0]["total"] if rows else 0, found)


def _unknown(
    rows: Sequence[Any], bodies: Mapping[int, bytes | None], learners: Mapping[str, list[tuple[str, str, str]]]
) -> list[Unknown]:
    rosters = {school: _roster(people) for school, people in learners.items()}
    found = []
    for r in rows:
        name = name_in(bodies.get(r["sample"]))
        seen = [s for s in r["schools"] if s]
        found.append(
            Unknown(
                namespace=r["namespace"],
                local=r["local"],
                count=r["n"],
                since=r["since"],
                latest=r["latest"],
                schools=seen,
                devices=list(r["devices"]),
                name=name,
                suggestions=suggest(r["local"], name, [rosters[s] for s in seen if s in rosters]),
            )
        )
    return found


def _roster(people: list[tuple[str, str, str]]) -> Roster:
    """Of (key, name, code): a learner once under a temporary code has a key that is none of their codes."""
    called = {n: (key.partition("@")[0], code) for n, (key, _, code) in enumerate(people) if key.startswith(TEMPORARY)}
    return Roster([(key, name) for key, name, _ in people], called)


async def link(
    core: Core, actor: str, namespace: str, local: str, learner: str, why: str, *, since: datetime | None = None,
    until: datetime | None = None, schools: list[str] | None = None,
) -> int:  # fmt: skip
    """Say whom an id means, from `since` to `until` (None: always). Returns how many check-ins waited for it.

    `learner`: any code of theirs, a temporary one of the actor's only school or as `TAM-7@<school>`; the link holds the key
    they are kept under. `schools`: whose learners and check-ins the actor may touch (None: all). Raises `CannotLink`: no such
    learner, or the id means somebody else in that time.
    """
    if since is not None and until is not None and until <= since:
        raise CannotLink("bad_times")
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.person_lock, namespace, local)
        if schools is not None and await connection.fetchval(sql.namespace_beyond, namespace, schools):
            raise CannotLink("shared")
        school = schools[0] if schools is not None and len(schools) == 1 else None
        key = (await kept_under(connection, [learner], school))[learner]
        found = await connection.fetchrow(sql.learner_there, key)
        if found is None or (schools is not None and found["school"] not in schools):
            raise CannotLink("no_learner")
        if await connection.fetchval(sql.person_overlap, namespace, local, since, until) is not None:
            raise CannotLink("linked_already")
        number = await connection.fetchval(sql.person_link, namespace, local, key, since, until, actor, why)
        waiting = [r["record"] for r in await connection.fetch(sql.person_followers, namespace, local, None)]
        await connection.execute(sql.rejudge_ask, waiting)
        await note(
            core, connection, actor, "person_linked", subject=number, namespace=namespace, why=why, waited=len(waiting)
        )
    core.on_commit("rejudge")
    return len(waiting)


async def links(core: Core, schools: list[str] | None, most: int = 200) -> list[Any]:
    """Links in force, the latest first, each with how many check-ins rest on it."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.person_links, schools, most))


async def undo(core: Core, actor: str, number: int, why: str, schools: list[str] | None = None) -> int | None:
    """Take a wrong link back. Returns how many check-ins it had named, which are judged again: what was told under it is
    withdrawn and waits for the right person. None when there is no such link in force."""
    async with core.pool.acquire() as connection, connection.transaction():
        found = await connection.fetchrow(sql.person_link_one, number)
        if found is None or (schools is not None and found["school"] not in schools):
            return None
        if schools is not None and await connection.fetchval(sql.namespace_beyond, found["namespace"], schools):
            raise CannotLink("shared")
        await connection.execute(sql.person_lock, found["namespace"], found["local"])
        if await connection.fetchrow(sql.person_undo, number, actor) is None:
            return None
        used = [r["record"] for r in await connection.fetch(sql.person_used, number)]
        await connection.execute(sql.rejudge_ask, used)
        await note(
            core,
            connection,
            actor,
            "person_unlinked",
            subject=number,
            namespace=found["namespace"],
            why=why,
            named=len(used),
        )
    core.on_commit("rejudge")
    return len(used)


async def set_namespace(core: Core, actor: str, device: str, namespace: str | None, why: str = "") -> bool:
    """Say what the user ids on a gate mean, for passages from now on: None, the department's codes; else the namespace they are
    local to (see `gate_ids`). What was kept of it as nobody's under a number of its own comes to wait for a link, under that gate's
    name: such a number goes on meaning what it meant when it came. False when there is no such gate. Raises `CannotLink` for a name
    that cannot be one."""
    if namespace is not None and not is_account(namespace):
        raise CannotLink("bad_namespace")
    async with core.pool.acquire() as connection, connection.transaction():
        school = await connection.fetchval(sql.namespace_set, device, namespace)
        if school is not None:
            told = {"person_ids": said(namespace, device), **because(why)}
            await connection.execute(sql.gate_note, [device], actor, "namespace", [msgspec.json.encode(told)])
            await note(core, connection, actor, "gate_namespace", device=device, namespace=namespace, **because(why))
            await connection.execute(sql.rejudge_unregistered, device)
    core.on_commit("rejudge")
    return school is not None


async def gates(core: Core, schools: list[str] | None) -> list[Any]:
    """Active gates with their namespaces."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.namespaces_all, schools))


async def clocks(core: Core, schools: list[str] | None) -> list[Any]:
    """Gates with check-ins that wait for their clock: how many, since when, the middle of what the clock seems to be off."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.clocks_waiting, schools))


async def set_offset(
    core: Core, actor: str, device: str, lag_s: float, why: str, *, uncertainty_s: float = 60.0,
    since: datetime | None = None, until: datetime | None = None,
) -> int:  # fmt: skip
    """Say by hand how far a gate's clock was off (receipt minus device time, seconds) while it showed times from `since` to
    `until`. Returns how many check-ins it is tried on; it goes before anything inferred."""
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.fetchval(sql.offset_add, device, lag_s, uncertainty_s, since, until, True, actor, why)
        rows = await connection.fetch(sql.clock_waits, device, 1_000_000)
        await connection.execute(sql.rejudge_ask, [r["record"] for r in rows])
        await note(core, connection, actor, "gate_offset", device=device, lag_s=lag_s, why=why, waited=len(rows))
    core.on_commit("rejudge")
    return len(rows)
