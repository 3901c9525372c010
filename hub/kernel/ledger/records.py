"""TX2: drafts become versioned records, and each record becomes one delivery per target.

Runs inside the caller's transaction, in two halves: what must be locked and read (`ask`, `look`), and what follows from
it (`place`). A kill anywhere before the commit leaves nothing. It must never touch a message's bytes, and never look at
identity order: the order of versions is the order in which streams were locked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hub.kernel.access import School, Scope
from hub.kernel.intake import order_hash
from hub.kernel.ledger import filings, gate_doors, punches
from hub.kernel.ledger.core import CLASSES, Core, content_hash, sorted_json
from hub.kernel.ledger.rows import Rows
from hub.kernel.ledger.stored import has_nul
from hub.kernel.lifecycle import State, check
from hub.kernel.ports import Draft, Reject, Text
from hub.kernel.router import Prior
from hub.kernel.store.db import Connection, sql
from mappings.canonical.registry import TYPES

__all__ = [
    "Asked",
    "Found",
    "Work",
    "ask",
    "early",
    "know_schools",
    "look",
    "outside",
    "place",
    "retention_class",
]

FACT, UNCHANGED, QUARANTINED = 1, 2, 3

_ROUTED = check(None, State.READY, "routed")
_BEHIND = check(None, State.HELD, "routed_behind")
_READY, _HELD = int(State.READY), int(State.HELD)
_CLASS = {name: CLASSES[spec.retention] for name, spec in TYPES.items()}


class Work(msgspec.Struct, kw_only=True):
    """One message's drafts on their way into records, and what came of them."""

    message: int
    drafts: list[Draft]
    scope: Scope
    historical: bool = False
    rejects: list[Reject] = msgspec.field(default_factory=list)
    records: int = 0
    unchanged: int = 0
    orders: list[int] = msgspec.field(default_factory=list)
    """Hash of each draft's order key; filled by `ask`."""


class Asked(msgspec.Struct):
    """What must be locked and read before drafts can be placed: order keys, entities, (connector, order key) pairs."""

    locks: list[int]
    entities: list[tuple[str, str]]
    pairs: list[tuple[int, int]]


class Found(msgspec.Struct):
    """What was read under lock: keys that were new, those known, the current versions, the pairs that are taken."""

    taken: set[int]
    known: dict[Any, Any]
    streams: dict[tuple[str, str], Prior]
    busy: set[tuple[int, int]]


def retention_class(type_name: str) -> int:
    """The retention class (1 short, 2 standard, 3 long) of a record type; unknown types are kept the standard time."""
    return _CLASS.get(type_name, 2)


def ask(core: Core, works: list[Work]) -> Asked:
    """What these works need to know. Remembers each draft's order hash in its work."""
    locks: set[int] = set()
    entities: set[tuple[str, str]] = set()
    pairs: set[tuple[int, int]] = set()
    ordered: dict[str, tuple[int, ...]] = {}
    for work in works:
        for draft in work.drafts:
            name, key = draft.type, draft.key
            spec = TYPES[name]
            # Where the entity is its own order, its key says so: a learner's is not always the code in the body.
            own = spec.order_fields == spec.key_fields
            order = order_hash(key if own else spec.order_key(draft.body) or f"{name}:{key}")
            work.orders.append(order)
            connectors = ordered.get(name)
            if connectors is None:
                connectors = ordered[name] = tuple({r.connector for r in core.router.of(name) if r.ordered})
            if spec.stream == "entity":
                entities.add((name, key))
                locks.add(order)
                if spec.order_fields and spec.order_fields != spec.key_fields:
                    # Otherwise whoever touches this entity holds its order key's lock anyway.
                    locks.add(order_hash(f"{name}:{key}"))
            elif connectors or name in filings.TRACKED:
                locks.add(order)
            for connector in connectors:
                pairs.add((connector, order))
    return Asked(sorted(locks), sorted(entities), sorted(pairs))


async def look(
    connection: Connection, keys: list[tuple[Any, int, bytes]], asked: Asked, sieve: punches.Sieve | None = None
) -> Found:
    """Claim keys, take locks, read what stands: one round trip. `keys`: digests in order, with message and body digest. `sieve`:
    check-ins to be asked about with it."""
    digests, messages, bodies = zip(*keys, strict=True) if keys else ((), (), ())
    types, names = zip(*asked.entities, strict=True) if asked.entities else ((), ())
    connectors, orders = zip(*asked.pairs, strict=True) if asked.pairs else ((), ())
    questions = digests, messages, bodies, asked.locks, types, names, connectors, orders
    if sieve is not None:
        row = await connection.fetchrow(sql.intake_look_passages, *questions, *sieve.questions())
        sieve.told(row)
    else:
        row = await connection.fetchrow(sql.intake_look, *questions)
    streams = {
        (r["type"], r["key"]): Prior(
            version=r["version"], event=r["event"], content=r["content"], identity=r["identity"], record=r["record"],
            school=r["school"],
        )
        for r in row["current"] or ()
    }  # fmt: skip
    return Found(
        taken=set(row["taken"] or ()),
        known={r["digest"]: r for r in row["known"] or ()},
        streams=streams,
        busy={asked.pairs[n - 1] for n in row["busy"] or ()},
    )


def _refuse(draft: Draft, code: str, vi: str, en: str) -> Reject:
    return Reject(pointer=draft.pointer, code=code, key=draft.key, message=Text(vi, en))


def outside(core: Core, work: Work, draft: Draft) -> Reject | None:
    """Refuse what names an unknown school or one outside the sender's scope."""
    if draft.type != "school" and draft.school is not None and core.directory.get(draft.school) is None:
        return _refuse(
            draft,
            "unknown_school",
            f"Trường có mã {draft.school} chưa được đăng ký trong trục liên thông.",
            f"No school with code {draft.school} is registered with the hub.",
        )
    if not core.directory.permits(work.scope, draft.school):
        return _refuse(
            draft,
            "outside_scope",
            f"Tài khoản gửi không có quyền với dữ liệu của trường {draft.school}.",
            f"The sender may not write data of school {draft.school}.",
        )
    return None


def early(core: Core, works: list[Work]) -> punches.Sieve | None:
    """The sieve for works whose check-ins may be asked about as they are: told by gates. What a school's software says of them is
    looked at first (`gate_doors`)."""
    told = [d for w in works if w.scope.whole for d in w.drafts]
    if len(told) < sum(len(w.drafts) for w in works):
        return None
    sieve = punches.Sieve.of_drafts(core, told)
    return sieve if sieve.asked else None


async def place(
    core: Core,
    connection: Connection,
    works: list[Work],
    found: Found,
    rows: Rows,
    sieve: punches.Sieve | None = None,
) -> None:
    """Add the records, streams and deliveries of several messages to `rows`; fill in each `Work`'s counts and rejects. `sieve`: what
    `look` was told of their check-ins.

    Any number of these may run at once: what `look` locked, in sorted order, is what they could disagree about.
    """
    await know_schools(core, connection, works)
    # More ids than are used when a draft is refused or takes fewer routes: ids need only be different.
    widest = {name: 1 + len(core.router.of(name)) for name in {d.type for w in works for d in w.drafts}}
    ids = iter(await core.ids.take(connection, sum(widest[d.type] for w in works for d in w.drafts)))
    tracker = await filings.Tracker.load(connection, works) if widest.keys() & filings.TRACKED else None
    doors = None
    if widest.keys() & {gate_doors.TYPE, punches.TYPE}:
        doors = await gate_doors.Doors.load(core, connection, [(w.scope, d) for w in works for d in w.drafts])
    if punches.TYPE in widest and sieve is None:
        sieve = await punches.Sieve.of_drafts(core, (d for w in works for d in w.drafts)).load(connection)
    existing = set(found.streams)
    heads: dict[tuple[str, str], tuple[Any, ...]] = {}
    coalesce: dict[str, set[tuple[int, int]]] = {}
    first = len(rows.deliveries)
    for work in works:
        for draft, order in zip(work.drafts, work.orders, strict=True):
            refused = outside(core, work, draft)
            if refused is None and doors is not None:
                refused = doors.refuse(core, work.scope, draft, found.streams.get((draft.type, draft.key)))
            if refused is not None:
                work.rejects.append(refused)
                continue
            _one(core, work, draft, order, found.streams, ids, rows, heads, coalesce, tracker, sieve)
    if tracker is not None:
        await tracker.write(connection)
    if sieve is not None:
        rows.passages = sieve.rows
    for flow in sorted(coalesce):
        pairs = sorted(coalesce[flow])
        columns = [c for c, _ in pairs], [o for _, o in pairs]
        gone = await connection.fetch(sql.supersede, *columns, flow)
        if gone:
            await connection.execute(sql.promote, [r[0] for r in gone], [r[1] for r in gone])
        found.busy.difference_update(pairs)
        found.busy.update((r[0], r[1]) for r in await connection.fetch(sql.open_keys, *columns))
    for row in rows.deliveries[first:]:
        if row[5] is not None:
            pair = (row[2], row[5])
            if pair in found.busy:
                row[4], row[11] = _HELD, _BEHIND.cause
            else:
                found.busy.add(pair)
    for entity in sorted(heads):
        (rows.streams if entity in existing else rows.new_streams).append(heads[entity])


def _one(
    core: Core,
    work: Work,
    draft: Draft,
    order: int,
    streams: dict[tuple[str, str], Prior],
    ids: Any,
    rows: Rows,
    heads: dict[tuple[str, str], tuple[Any, ...]],
    coalesce: dict[str, set[tuple[int, int]]],
    tracker: filings.Tracker | None,
    sieve: punches.Sieve | None,
) -> None:
    """Settle version, event and routes of one draft, and make its rows."""
    name, key, school = draft.type, draft.key, draft.school
    spec = TYPES[name]
    body = sorted_json(draft.body)
    if has_nul(body):
        vi, en = "Bản ghi có ký tự NUL, không lưu được.", "The record has a NUL character, which cannot be stored."
        work.rejects.append(_refuse(draft, "control_character", vi, en))
        return
    if tracker is not None and spec.stream == "event":
        if not tracker.takes(core, work, draft):
            return
        body = sorted_json(draft.body)  # with its mark, where it is kept aside
    record, klass = next(ids), _CLASS[name]
    disposition, version, event, identity, prior = FACT, 1, "NEW", None, None
    if sieve is not None and name == punches.TYPE:
        said, disposition = sieve.judge(draft.body, record, school)
        if said is not draft.body:
            body = sorted_json(said)
    elif spec.stream == "event" and draft.body.get("quarantine"):
        disposition = QUARANTINED
    content = content_hash(draft.event, body)
    if spec.stream == "event":
        routes = core.router.route(draft, None) if disposition == FACT else []
        if any(r.fresh_within_s is not None for r in routes):
            now = core.moment()
            routes = [r for r in routes if r.takes(draft.updated_at, now)]
    else:
        prior = streams.get((name, key))
        if prior is not None and prior.event != "CANCEL" and prior.school != school and not work.scope.whole:
            work.rejects.append(
                _refuse(
                    draft,
                    "owned_by_another_school",
                    f"Mã {key} đang thuộc trường khác; trường đó phải báo chuyển đi trước.",
                    f"{key} belongs to another school, which must release it first.",
                )
            )
            return
        if prior is not None and prior.content == content:
            disposition, version, event, routes = UNCHANGED, prior.version, prior.event, []
            work.unchanged += 1
        elif tracker is not None and not tracker.takes(core, work, draft):
            return
        else:
            if prior is not None:
                version = prior.version + 1
            if draft.event == "CANCEL":
                event = "CANCEL"
            elif prior is not None and prior.event != "CANCEL":
                event = "UPDATE"
            identity = core.router.identity(draft)
            routes = core.router.route(draft, prior, identity)
            streams[name, key] = Prior(
                version=version, event=event, content=content, identity=identity, record=0, school=school
            )
    rows.records.append(
        (record, klass, work.message, draft.pointer, name, key, event, version, draft.updated_at, school, body, content,
         core.catalogue.version, disposition, len(routes))
    )  # fmt: skip
    work.records += 1
    if disposition == FACT and spec.stream == "entity":
        heads[name, key] = (name, key, version, event, content, identity, record, school)
    for route in routes:
        connector = route.connector
        if route.ordered and route.coalesce:
            coalesce.setdefault(route.flow, set()).add((connector, order))
        rank = core.ranks.next(connector, school, route.priority_s + (route.history_s if work.historical else 0.0))
        rows.deliveries.append(
            [next(ids), record, connector, klass, _READY, order if route.ordered else None, rank, None, route.flow, key,
             school, _ROUTED.cause, None]
        )  # fmt: skip


async def know_schools(core: Core, connection: Connection, works: list[Work]) -> None:
    """Make the directory fit to judge these works by `outside`."""
    # A school that arrives in this very batch is known to what follows it in the batch.
    new_schools = [d for w in works for d in w.drafts if d.type == "school" and d.event != "CANCEL"]
    if new_schools:
        await _learn_schools(core, connection, works, new_schools)
    await _look_again(core, connection, works)


async def _learn_schools(core: Core, connection: Connection, works: list[Work], drafts: list[Draft]) -> None:
    """Put schools pushed by whoever may into the directory, before their learners are looked at."""
    allowed = {id(d) for w in works for d in w.drafts if core.directory.permits(w.scope, d.school or d.key)}
    last: dict[str, tuple[str, str, str, str | None]] = {}
    for draft in drafts:
        if id(draft) in allowed:
            ward = (draft.body.get("ward") or {}).get("canonical") or (draft.body.get("ward") or {}).get("code") or ""
            level = (draft.body.get("level") or {}).get("canonical")
            last[draft.key] = (draft.key, str(draft.body.get("name") or draft.key), ward, level)
    if last:
        columns = list(zip(*(last[k] for k in sorted(last)), strict=True))
        await connection.execute(sql.school_write, *(list(c) for c in columns))
        for r in await connection.fetch(sql.schools_all):
            core.directory.add(School(**dict(r)))


async def _look_again(core: Core, connection: Connection, works: list[Work]) -> None:
    """Read the directory anew before anything is refused for it: another process may have taken the school just now."""
    if any(core.directory.get(s) is None for s in {d.school for w in works for d in w.drafts} if s is not None):
        for r in await connection.fetch(sql.schools_all):
            core.directory.add(School(**dict(r)))
