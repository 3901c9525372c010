"""Rows of history: calls, replies, attempts, and the journal's lines about conclusions.

One concern: how a batch is written down. It must never move a delivery.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from hub.kernel.leaves import outcome_leaf, rooted
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.mappings import digest_of
from hub.kernel.ledger.rows import FEW, LEAVED_COLUMNS
from hub.kernel.ledger.shapes import Conclusion, Exchange
from hub.kernel.lifecycle import State
from hub.kernel.store.db import Connection, sql

_json = msgspec.json.Encoder().encode

CALL_COLUMNS = (
    "id", "class", "connector", "operation", "deliveries", "idempotent", "key", "method", "path", "headers", "content_type",
    "meta", "digest", "body", "mapping",
)  # fmt: skip
REPLY_COLUMNS = ("id", "class", "call", "status", "headers", "digest", "body", "error", "elapsed_ms")
ATTEMPT_COLUMNS = (
    "id", "class", "delivery", "call", "number", "kind", "outcome", "reason", "late", "worker", "elapsed_ms",
)  # fmt: skip


_NOTHING = (b"", b"", b"")

UNSTORED = frozenset({"lookup_of", "asked", "cache_of"})
"""Members of a call's `meta` that serve while it is under way and are never written down: they may be personal."""


def request_digest(e: Exchange) -> bytes:
    """Of a call's bytes, computed once for its row and the journal."""
    if e.request_digest is None:
        e.request_digest = hashlib.sha256(e.call.body).digest()
    return e.request_digest


def reply_digest(e: Exchange) -> bytes:
    """Of a reply's bytes, computed once; empty without a reply."""
    if e.reply is None:
        return b""
    if e.reply_digest is None:
        e.reply_digest = hashlib.sha256(e.reply.body).digest()
    return e.reply_digest


def call_row(e: Exchange) -> tuple[Any, ...]:
    c = e.call
    meta = c.meta if UNSTORED.isdisjoint(c.meta) else {k: v for k, v in c.meta.items() if k not in UNSTORED}
    return (
        e.id, e.klass, e.connector, c.operation, list(c.deliveries), c.idempotent, c.key, c.method, c.path, _json(c.headers), c.content_type,
        _json(meta), request_digest(e), c.body, e.mapping,
    )  # fmt: skip


def reply_row(reply_id: int, e: Exchange) -> tuple[Any, ...]:
    r = e.reply
    if r is None:
        return (reply_id, e.klass, e.id, None, None, None, None, e.error, e.elapsed_ms)
    return (
        reply_id, e.klass, e.id, r.status, _json(r.headers), reply_digest(e), r.body, e.error, e.elapsed_ms,
    )  # fmt: skip


async def write(
    core: Core, connection: Connection, connector: int, conclusions: list[Conclusion], exchanges: list[Exchange], attempt_ids: list[int],
    done: set[int],
) -> None:  # fmt: skip
    """Everything a batch leaves behind: its calls and replies, an attempt for every conclusion, and the journal's lines.

    Call it within TX4, when its moves are made. `done`: deliveries whose move this transaction made.
    """
    calls = [call_row(e) for e in exchanges if not e.stored]
    answered = [e for e in exchanges if e.answered]
    reply_ids = await core.ids.take(connection, len(answered))
    replies = [reply_row(i, e) for i, e in zip(reply_ids, answered, strict=True)]
    attempts = await _attempts(core, connection, conclusions, exchanges, attempt_ids, done)
    lines = await _lines(core, connection, connector, conclusions, exchanges, done)
    if max(len(calls), len(replies), len(attempts)) <= FEW:
        listed = [(*c[:4], f"{{{','.join(map(str, c[4]))}}}", *c[5:]) for c in calls]
        await connection.execute(
            sql.history_write, *_columns(listed, CALL_COLUMNS), *_columns(replies, REPLY_COLUMNS), *_columns(attempts, ATTEMPT_COLUMNS), lines
        )  # fmt: skip
        return
    for table, rows, columns in (
        ("calls", calls, CALL_COLUMNS),
        ("replies", replies, REPLY_COLUMNS),
        ("attempts", attempts, ATTEMPT_COLUMNS),
        ("journal", lines, LEAVED_COLUMNS),
    ):
        if rows:
            await connection.copy_records_to_table(table, records=rows, columns=columns)


def _columns(rows: list[tuple[Any, ...]], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * len(names)


async def _attempts(
    core: Core, connection: Connection, conclusions: list[Conclusion], exchanges: list[Exchange], ids: list[int], done: set[int]
) -> list[tuple[Any, ...]]:  # fmt: skip
    """One for every conclusion, and one for every quick try before the last."""
    tries = {e.id: e.tries for e in exchanges if e.tries}
    rows: list[tuple[Any, ...]] = []
    earlier = [(c, t) for c in conclusions for t in tries.get(c.call or 0, ())] if tries else []
    for i, (c, (outcome, error)) in zip(await core.ids.take(connection, len(earlier)), earlier, strict=True):
        d = c.delivery
        rows.append((i, d.klass, d.id, c.call, d.attempts, c.kind, outcome, error, False, core.worker, None))
    for i, c in zip(ids, conclusions, strict=True):
        d = c.delivery
        rows.append(
            (i, d.klass, d.id, c.call, d.attempts, c.kind, c.outcome, c.reason, d.id not in done, core.worker, c.elapsed_ms)
        )  # fmt: skip
    return rows


async def _lines(
    core: Core, connection: Connection, connector: int, conclusions: list[Conclusion], exchanges: list[Exchange], done: set[int]
) -> list[tuple[Any, ...]]:  # fmt: skip
    """The journal's: one line per class for the batch with a root over requests, mappings and replies; one line each for what people will ask about."""
    digests = {e.id: (request_digest(e), reply_digest(e), digest_of(e.mapping)) for e in exchanges}
    groups: dict[int, list[Conclusion]] = {}
    for c in conclusions:
        groups.setdefault(c.delivery.klass, []).append(c)
    singles = [
        c
        for c in conclusions
        if c.delivery.id in done and c.target in (State.PARKED, State.UNCERTAIN, State.DEAD) and not c.stay
    ]
    ids = await core.ids.take(connection, len(groups) + len(singles))
    rows: list[tuple[Any, ...]] = []
    for i, (klass, group) in zip(ids, groups.items(), strict=False):
        leaves: list[bytes] = []
        outcomes: dict[str, int] = {}
        for c in group:
            outcomes[c.target.word] = outcomes.get(c.target.word, 0) + 1
            told = digests.get(c.call or 0, _NOTHING)
            leaves.append(outcome_leaf(c.delivery.id, c.delivery.record, int(c.target), *told))
        numbers = [c.delivery.id for c in group]
        rows.append((i, klass, core.worker, "conclude", connector, None, numbers, *rooted(leaves, outcomes=outcomes)))
    for i, c in zip(ids[len(groups) :], singles, strict=True):
        data = {"cause": c.cause, "reason": c.reason}
        rows.append((i, c.delivery.klass, core.worker, c.target.word, connector, c.delivery.id, None, data, None))
    return rows
