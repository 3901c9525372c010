"""Lasting codes in place of temporary ones: later messages with either meet the same learner.

A learner first met as `TAM-7` of a school keeps the key `TAM-7@<school>` for good, here and at every counterparty; once a
lasting code is given, records carry that code. The code's own place among the streams then only points to the key, so that
the current version read under lock says so at no cost. It must never join two learners that both have records.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from hub.kernel.intake import order_hash
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.records import Found, Work, ask, know_schools, look, outside
from hub.kernel.ledger.shapes import Claimed
from hub.kernel.ports import Draft, Reject, Text
from hub.kernel.store.db import Connection, sql
from mappings.canonical.registry import TYPES

TEMPORARY = "TAM-"
MOVED = "MOVED"
"""Event of a stream that only points to another: its learner is kept under the key in `content`."""

_GIVEN = "code_given"
_OF_LEARNERS = frozenset(n for n, spec in TYPES.items() if spec.key_fields[0] == "learner_code")
_LOOKED_UP = (_OF_LEARNERS | {_GIVEN}) - {"learner"}
"""Types whose own stream does not tell that a learner's code has moved."""


def anchor_of(school: str, temporary: str) -> str:
    """The key of a learner first met under a temporary code, which only its school knows."""
    return f"{temporary}@{school}"


async def kept_under(connection: Connection, codes: Iterable[str], school: str | None = None) -> dict[str, str]:
    """The key each learner is kept under, by whatever code they are asked for: a temporary one of `school`, one that names its
    school itself (`TAM-7@<school>`), one given in place of a temporary, any other. Of a temporary code without a school, the
    code itself, which is nobody's key. Whether there is such a learner is not looked at.
    """
    keys = {
        c: anchor_of(school, c) if school is not None and c.startswith(TEMPORARY) and "@" not in c else c for c in codes
    }
    rows = await connection.fetch(sql.codes_anchors, list(keys))
    return keys | {r["code"]: r["anchor"] for r in rows}


async def kept_key(connection: Connection, record_type: str, key: str, school: str | None = None) -> str:
    """The business key a record is kept under: of what is about a learner, with `kept_under` for the learner's code."""
    if record_type not in _OF_LEARNERS:
        return key
    code, slash, rest = key.partition("/")
    return (await kept_under(connection, [code], school))[code] + slash + rest


async def name_lasting(core: Core, connector: int, deliveries: Iterable[Claimed]) -> None:
    """Name the learners of passages by the code they have now: a lasting one in place of the temporary that the passage came
    with or its learner is kept under, and in `anchor` of those who have none yet, their key. One question, for such alone.

    Where a flow waits for lasting codes, what goes without one all the same names its learner as the learner's own record does.
    """
    asked: dict[str, list[Claimed]] = {}
    for d in deliveries:
        if d.outgoing is None or d.outgoing.type != "checkin":
            continue
        code = d.outgoing.body.get("person_code")
        if isinstance(code, str) and code.startswith(TEMPORARY):
            # A gate that tells the department's own codes tells one of its school.
            asked.setdefault(code if "@" in code else anchor_of(d.outgoing.body["school_code"], code), []).append(d)
    if not asked:
        return
    async with core.pool.acquire() as connection:
        lasting = {r["anchor"]: r["code"] for r in await connection.fetch(sql.codes_lasting, list(asked))}
    for place, ds in asked.items():
        for d in ds:
            code = lasting.get(place)
            if code is None:
                d.anchor = place
                target = core.router.targets.get((d.flow, connector))
                if target is not None and target.temporary == "wait":
                    code = place.partition("@")[0]
            if code is not None and d.outgoing is not None:
                d.outgoing = replace(d.outgoing, body={**d.outgoing.body, "person_code": code})


def anchor(works: list[Work]) -> bool:
    """Give drafts under temporary codes their key. True when any draft must be looked after by `follow`."""
    special = False
    for work in works:
        for place, draft in enumerate(work.drafts):
            if draft.key.startswith(TEMPORARY) and draft.type in _OF_LEARNERS:
                special = True
                school = draft.school or (work.scope.code if work.scope.kind == "school" else None)
                if school is not None and "@" not in draft.key:
                    work.drafts[place] = _keyed(draft, anchor_of(school, draft.key.split("/", 1)[0]))
            elif draft.type in _LOOKED_UP:
                special = True
    return special


def moved(found: Found) -> bool:
    """Whether a code among the current versions is a lasting one given in place of a temporary."""
    return any(prior.event == MOVED for prior in found.streams.values())


async def follow(core: Core, connection: Connection, works: list[Work], found: Found) -> Found:
    """Put drafts under their learner's key and code, and take up codes given. Returns what stands for them, under lock.

    `works`: those that are taken in, for a code given here is given even if its record is refused later. Rejects temporary
    codes without a school, and codes given that contradict what is known or that the sender may not give.
    """
    if any(d.type == _GIVEN for w in works for d in w.drafts):
        await know_schools(core, connection, works)
    # A withdrawal of a code given names only its key: the lasting code is not part of it.
    codes = {
        _code(d)
        for w in works
        for d in w.drafts
        if d.type in _OF_LEARNERS or (d.type == _GIVEN and d.event != "CANCEL")
    }
    anchors = {a for w in works for d in w.drafts if (a := _anchor(d)) is not None}
    locks = sorted({order_hash(c) for c in codes | anchors})
    known = {
        r["anchor"]: r["code"] for r in await connection.fetch(sql.codes_look, locks, sorted(codes), sorted(anchors))
    }
    by_code = {code: place for place, code in known.items()}
    for work in works:
        drafts: list[Draft] = []
        for draft in work.drafts:
            if draft.type == _GIVEN:
                refused = outside(core, work, draft)
                if refused is None:
                    drafts += await _take(connection, work, draft, known, by_code)
                else:
                    work.rejects.append(refused)
            elif draft.type not in _OF_LEARNERS:
                drafts.append(draft)
            elif draft.key.startswith(TEMPORARY) and "@" not in draft.key:
                vi, en = "Mã tạm phải đi cùng mã trường.", "A temporary code must come with its school's code."
                work.rejects.append(_refused(draft, "school_needed", vi, en))
            else:
                drafts.append(_current(draft, known, by_code))
        work.drafts[:] = drafts
        work.orders.clear()
    again = await look(connection, [], ask(core, works))
    again.taken, again.known = found.taken, found.known
    return again


async def recognise(core: Core, drafts: list[Draft]) -> list[Draft]:
    """The drafts, with a code given before each learner that comes under a lasting code and is, by personal number, name,
    birth date and sex, one of the same school's still under a temporary. For files, which come back with codes filled in.
    """
    wanted: dict[str, dict[bytes, Draft]] = {}
    for draft in drafts:
        if draft.type == "learner" and draft.school and draft.body.get("personal_number") and draft.event != "CANCEL":
            identity = core.router.identity(draft)
            if identity is not None and not draft.key.startswith(TEMPORARY):
                wanted.setdefault(draft.school, {})[identity] = draft
    found: list[Draft] = []
    async with core.pool.acquire() as connection:
        for school, by_identity in wanted.items():
            rows = await connection.fetch(sql.codes_people, school, list(by_identity))
            there = (
                {r["key"] for r in await connection.fetch(sql.codes_current, [d.key for d in by_identity.values()])}
                if rows
                else set()
            )
            for r in rows:
                draft, temporary = by_identity[r["identity"]], r["key"].partition("@")[0]
                if draft.key not in there:
                    body = {"school_code": school, "temporary_code": temporary, "learner_code": draft.key}
                    found.append(replace(draft, type=_GIVEN, key=f"{school}/{temporary}", body=body))
    return found + drafts


def _code(draft: Draft) -> str:
    return str(draft.body["learner_code"])


def _anchor(draft: Draft) -> str | None:
    if draft.type == _GIVEN:
        return anchor_of(draft.body["school_code"], draft.body["temporary_code"])
    first = draft.key.split("/", 1)[0]
    return first if draft.type in _OF_LEARNERS and first.startswith(TEMPORARY) else None


def _keyed(draft: Draft, first: str) -> Draft:
    """The draft with another leading part in its key."""
    _, slash, rest = draft.key.partition("/")
    return replace(draft, key=first + slash + rest)


def _current(draft: Draft, known: dict[str, str], by_code: dict[str, str]) -> Draft:
    """The draft under its learner's key, carrying the lasting code where there is one."""
    place = _anchor(draft) or by_code.get(_code(draft))
    if place is None or place not in known:
        return draft
    return replace(_keyed(draft, place), body=draft.body | {"learner_code": known[place]})


def _refused(draft: Draft, code: str, vi: str, en: str) -> Reject:
    return Reject(pointer=draft.pointer, code=code, key=draft.key, message=Text(vi, en))


async def _take(
    connection: Connection, work: Work, draft: Draft, known: dict[str, str], by_code: dict[str, str]
) -> list[Draft]:
    """A code given, and the learner's record under it; nothing but a reject when it contradicts what is known."""
    if draft.event == "CANCEL":
        return [draft]
    place, code = anchor_of(draft.body["school_code"], draft.body["temporary_code"]), _code(draft)
    if known.get(place) == code:
        return [draft]
    rows = {r["key"]: r for r in await connection.fetch(sql.codes_current, [place, code])}
    if place in known or code in by_code or code in rows:
        vi = f"Mã {code} đã thuộc một học sinh khác, hoặc mã tạm này đã được thay; cần người xem xét."
        en = f"{code} belongs to another learner already, or the temporary code has been replaced; a person must look."
        work.rejects.append(_refused(draft, "code_taken", vi, en))
        return []
    await connection.execute(sql.codes_add, place, code)
    await connection.execute(sql.codes_move, code, place.encode(), draft.school)
    known[place], by_code[code] = code, place
    held = rows.get(place)
    if held is None or held["event"] == "CANCEL" or held["body"] is None:
        return [draft]
    learner = Draft(
        type="learner", key=place, body=held["body"] | {"learner_code": code}, updated_at=draft.updated_at, school=held["school"],
        pointer=draft.pointer,
    )  # fmt: skip
    return [draft, learner]
