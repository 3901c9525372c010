"""TX2: drafts become versioned records, and each record becomes one delivery per target.

Runs inside the caller's transaction. A kill anywhere before its commit leaves nothing. It must never touch a message's
bytes, and never look at identity order: the order of versions is the order in which streams were locked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hub.kernel.access import School, Scope
from hub.kernel.intake import order_hash
from hub.kernel.ledger.core import CLASSES, Core, content_hash
from hub.kernel.lifecycle import State, check
from hub.kernel.ports import Draft, Reject, Text
from hub.kernel.router import Prior, Route
from hub.kernel.store.db import Connection, sql
from mappings.canonical.registry import TYPES, TypeSpec

_json = msgspec.json.Encoder().encode

FACT, UNCHANGED, QUARANTINED = 1, 2, 3

RECORD_COLUMNS = (
    "id", "class", "message", "pointer", "type", "key", "event", "version", "updated_at", "school", "body", "content",
    "catalogue", "disposition", "due",
)  # fmt: skip
DELIVERY_COLUMNS = (
    "id", "record", "connector", "class", "state", "order_key", "rank", "due_at", "flow", "key", "school", "cause",
    "replay_of",
)  # fmt: skip

_ROUTED = check(None, State.READY, "routed")
_BEHIND = check(None, State.HELD, "routed_behind")


class Work(msgspec.Struct, kw_only=True):
    """One message's drafts on their way into records, and what came of them."""

    message: int
    drafts: list[Draft]
    scope: Scope
    historical: bool = False
    rejects: list[Reject] = msgspec.field(default_factory=list)
    records: int = 0
    unchanged: int = 0


class _Placed(msgspec.Struct, kw_only=True):
    """A draft with its version, before ids are given."""

    work: Work
    draft: Draft
    spec: TypeSpec
    version: int
    event: str
    content: bytes
    disposition: int
    routes: list[Route]
    order: str
    identity: bytes | None = None


def retention_class(type_name: str) -> int:
    """The retention class (1 short, 2 standard, 3 long) of a record type; unknown types are kept the standard time."""
    spec = TYPES.get(type_name)
    return CLASSES[spec.retention] if spec else 2


def _refuse(draft: Draft, code: str, vi: str, en: str) -> Reject:
    return Reject(pointer=draft.pointer, code=code, key=draft.key, message=Text(vi, en))


def _outside(core: Core, work: Work, draft: Draft) -> Reject | None:
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


async def store_records(core: Core, connection: Connection, works: list[Work]) -> int:
    """Store the records and deliveries of several messages; fill in each `Work`'s counts and rejects.

    Returns the number of deliveries made. Locks order keys and streams in sorted order, so that any number of these may
    run at once.
    """
    # A school that arrives in this very batch is known to what follows it in the batch.
    new_schools = [d for w in works for d in w.drafts if d.type == "school" and d.event != "CANCEL"]
    if new_schools:
        await _learn_schools(core, connection, works, new_schools)
    await _look_again(core, connection, works)
    pending: list[tuple[Work, Draft]] = []
    for work in works:
        for draft in work.drafts:
            refused = _outside(core, work, draft)
            if refused:
                work.rejects.append(refused)
            else:
                pending.append((work, draft))
    if not pending:
        return 0

    entities: set[tuple[str, str]] = set()
    orders: set[int] = set()
    order_of: list[str] = []
    for _work, draft in pending:
        spec = TYPES[draft.type]
        order = spec.order_key(draft.body) or f"{draft.type}:{draft.key}"
        order_of.append(order)
        if spec.stream == "entity":
            entities.add((draft.type, draft.key))
            orders.add(order_hash(f"{draft.type}:{draft.key}"))
            orders.add(order_hash(order))
        elif any(r.ordered for r in core.router.of(draft.type)):
            orders.add(order_hash(order))
    if orders:
        await connection.fetchval(sql.order_locks, sorted(orders))
    streams: dict[tuple[str, str], Prior] = {}
    if entities:
        ordered = sorted(entities)
        for r in await connection.fetch(sql.streams_read, [t for t, _ in ordered], [k for _, k in ordered]):
            streams[r["type"], r["key"]] = Prior(
                version=r["version"],
                event=r["event"],
                content=r["content"],
                identity=r["identity"],
                record=r["record"],
                school=r["school"],
            )

    placed = _place(core, pending, order_of, streams)
    return await _write(core, connection, placed)


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
    if any(d.school is not None and core.directory.get(d.school) is None for w in works for d in w.drafts):
        for r in await connection.fetch(sql.schools_all):
            core.directory.add(School(**dict(r)))


def _place(
    core: Core, pending: list[tuple[Work, Draft]], order_of: list[str], streams: dict[tuple[str, str], Prior]
) -> list[_Placed]:
    """Settle version, event and routes of each draft, in arrival order."""
    placed: list[_Placed] = []
    for (work, draft), order in zip(pending, order_of, strict=True):
        spec = TYPES[draft.type]
        content = content_hash(draft.event, draft.body)
        identity = None
        if spec.stream == "event":
            quarantined = bool(draft.body.get("quarantine"))
            routes = [] if quarantined else core.router.route(draft, None)
            version, event, disposition = 1, "NEW", QUARANTINED if quarantined else FACT
        else:
            prior = streams.get((draft.type, draft.key))
            if prior and prior.event != "CANCEL" and prior.school != draft.school and not work.scope.whole:
                work.rejects.append(
                    _refuse(
                        draft,
                        "owned_by_another_school",
                        f"Mã {draft.key} đang thuộc trường khác; trường đó phải báo chuyển đi trước.",
                        f"{draft.key} belongs to another school, which must release it first.",
                    )
                )
                continue
            if prior and prior.content == content:
                placed.append(
                    _Placed(work=work, draft=draft, spec=spec, version=prior.version, event=prior.event, content=content,
                            disposition=UNCHANGED, routes=[], order=order)
                )  # fmt: skip
                continue
            version = prior.version + 1 if prior else 1
            event = "CANCEL" if draft.event == "CANCEL" else "UPDATE" if prior and prior.event != "CANCEL" else "NEW"
            disposition = FACT
            routes = core.router.route(draft, prior)
            identity = core.router.identity(draft)
            streams[draft.type, draft.key] = Prior(
                version=version, event=event, content=content, identity=identity, record=0, school=draft.school
            )
        placed.append(
            _Placed(work=work, draft=draft, spec=spec, version=version, event=event, content=content,
                    disposition=disposition, routes=routes, order=order, identity=identity)
        )  # fmt: skip
    return placed


async def _write(core: Core, connection: Connection, placed: list[_Placed]) -> int:
    """Give ids and write records, streams and deliveries, each with one statement."""
    if not placed:
        return 0
    ids = await core.ids.take(connection, len(placed) + sum(len(p.routes) for p in placed))
    cursor = len(placed)
    catalogue = core.catalogue.version
    record_rows: list[tuple[Any, ...]] = []
    delivery_rows: list[list[Any]] = []
    heads: dict[tuple[str, str], tuple[Any, ...]] = {}
    ask: set[tuple[int, int]] = set()
    coalesce: dict[str, set[tuple[int, int]]] = {}
    for p, record_id in zip(placed, ids, strict=False):
        d = p.draft
        klass = CLASSES[p.spec.retention]
        record_rows.append(
            (record_id, klass, p.work.message, d.pointer, d.type, d.key, p.event, p.version, d.updated_at, d.school, _json(d.body), p.content,
             catalogue, p.disposition, len(p.routes))
        )  # fmt: skip
        p.work.records += 1
        p.work.unchanged += p.disposition == UNCHANGED
        if p.spec.stream == "entity" and p.disposition == FACT:
            heads[d.type, d.key] = (d.type, d.key, p.version, p.event, p.content, p.identity, record_id, d.school)
        for route in p.routes:
            order = order_hash(p.order) if route.ordered else None
            if order is not None:
                ask.add((route.connector, order))
                if route.coalesce:
                    coalesce.setdefault(route.flow, set()).add((route.connector, order))
            rank = core.ranks.next(
                route.connector, d.school, route.priority_s + (route.history_s if p.work.historical else 0.0)
            )
            delivery_rows.append(
                [
                    ids[cursor],
                    record_id,
                    route.connector,
                    klass,
                    int(State.READY),
                    order,
                    rank,
                    None,
                    route.flow,
                    d.key,
                    d.school,
                    _ROUTED.cause,
                    None,
                ]
            )
            cursor += 1
    for flow in sorted(coalesce):
        pairs = sorted(coalesce[flow])
        heads_gone = await connection.fetch(sql.supersede, [c for c, _ in pairs], [o for _, o in pairs], flow)
        if heads_gone:
            await connection.execute(sql.promote, [r[0] for r in heads_gone], [r[1] for r in heads_gone])
    if ask:
        pairs = sorted(ask)
        busy = {
            (r[0], r[1]) for r in await connection.fetch(sql.open_keys, [c for c, _ in pairs], [o for _, o in pairs])
        }
        for row in delivery_rows:
            if row[5] is None:
                continue
            pair = (row[2], row[5])
            if pair in busy:
                row[4], row[11] = int(State.HELD), _BEHIND.cause
            else:
                busy.add(pair)
    await connection.copy_records_to_table("records", records=record_rows, columns=RECORD_COLUMNS)
    if heads:
        columns = list(zip(*(heads[k] for k in sorted(heads)), strict=True))
        await connection.execute(sql.streams_write, *(list(c) for c in columns))
    if delivery_rows:
        await connection.copy_records_to_table("deliveries", records=delivery_rows, columns=DELIVERY_COLUMNS)
    return len(delivery_rows)
