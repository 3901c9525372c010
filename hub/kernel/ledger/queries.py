"""Answers to what others ask about canonical records, each written to the log in the transaction that reads it.

What a kill leaves: a line of the log for an answer that never left; never an answer without its line. It must never tell
more than the query's purpose needs, nor tell "nothing of the kind" from "not yours to know".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from hub.kernel.access import Scope
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.given_codes import kept_key
from hub.kernel.ledger.operations import because, note
from hub.kernel.store.db import sql

_encode = msgspec.json.Encoder(order="deterministic").encode


class Asked(Struct, frozen=True, kw_only=True):
    """A question with all that the log needs. `asker`: who stands behind the client, e.g. a subsystem of the exchange."""

    name: str
    client: str
    asker: str
    officer: str
    purpose: str
    request_id: str
    scope: Scope
    input: Mapping[str, str]


class Query(Struct, frozen=True, kw_only=True):
    """One kind of question: which record it is about, and what of it is told."""

    record: str
    key: str
    """Member of the input that is the record's business key; of a learner, any code they are known by."""
    fits: Callable[[Mapping[str, Any], Mapping[str, str]], bool]
    """Whether a record is what was asked about: who asks must know more than a number that can be guessed."""
    tell: Callable[[Mapping[str, Any], str, datetime], dict[str, Any]]
    """From the canonical body, its event and its time: the answer."""


def _code(value: Any) -> str | None:
    return (value.get("canonical") or value.get("code")) if isinstance(value, Mapping) else None


def _is_learner(body: Mapping[str, Any], asked: Mapping[str, str]) -> bool:
    return str(body.get("birth_date")) == asked["birth_date"] and asked.get("school_code") in (
        None,
        body.get("school_code"),
    )


def _enrolment(body: Mapping[str, Any], event: str, at: datetime) -> dict[str, Any]:
    status = _code(body.get("status"))
    return {
        "enrolled": event != "CANCEL" and status in ("studying", "transferred-in"),
        "school_code": body.get("school_code"),
        "class_code": body.get("class_code"),
        "status": status,
        "as_of": at.isoformat(),
    }


def _is_filing(body: Mapping[str, Any], asked: Mapping[str, str]) -> bool:
    filed = body.get("submitted_at") or body.get("received_at")
    return asked.get("filed_on") is None or str(filed)[:10] == asked["filed_on"]


def _progress(body: Mapping[str, Any], event: str, at: datetime) -> dict[str, Any]:
    return {
        "status": _code(body.get("status")),
        "withdrawn": event == "CANCEL",
        "received_at": body.get("received_at"),
        "due_at": body.get("due_at"),
        "finished_at": body.get("finished_at"),
        "as_of": at.isoformat(),
    }


QUERIES: Mapping[str, Query] = {
    "enrolment": Query(record="learner", key="learner_code", fits=_is_learner, tell=_enrolment),
    "filing-progress": Query(record="filing", key="file_number", fits=_is_filing, tell=_progress),
}

INPUTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "enrolment": (("learner_code", "birth_date"), ("school_code",)),
    "filing-progress": (("file_number",), ("filed_on",)),
}
"""What each question must and may say."""


async def answer(core: Core, asked: Asked) -> dict[str, Any]:
    """The answer: `{found: false}`, or `{found: true}` with what the query tells. A record outside the asker's scope is not found."""
    query = QUERIES[asked.name]
    async with core.pool.acquire() as connection, connection.transaction():
        school = asked.input.get("school_code") or (asked.scope.code if asked.scope.kind == "school" else None)
        key = await kept_key(connection, query.record, asked.input[query.key], school)
        row = await connection.fetchrow(sql.query_record, query.record, key)
        found = (
            row is not None
            and row["body"] is not None
            and core.directory.permits(asked.scope, row["school"])
            and query.fits(row["body"], asked.input)
        )
        hashed = bytes.fromhex(core.hasher(_encode(dict(asked.input))))
        await connection.execute(
            sql.query_log, asked.name, asked.client, asked.asker, asked.officer, asked.purpose, asked.request_id, hashed,
            row["school"] if found and row is not None else None, found,
        )  # fmt: skip
    if not found or row is None:
        return {"found": False}
    return {"found": True, **query.tell(row["body"], row["event"], row["updated_at"])}


async def granted(core: Core, subsystem: str, name: str) -> Scope | None:
    """What a subsystem of the exchange may be told of one query; None: nothing."""
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.query_grant, subsystem, name)
    return Scope(row["scope_kind"], row["scope_code"]) if row is not None else None


async def grant(core: Core, actor: str, subsystem: str, name: str, scope: Scope, why: str = "") -> None:
    """Let a subsystem ask. Repeating it changes the scope."""
    if name not in QUERIES:
        raise KeyError(name)
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.query_grant_write, subsystem, name, scope.kind, scope.code, actor)
        await note(
            core, connection, actor, "query_granted", asker=subsystem, query=name, scope=scope.kind, code=scope.code,
            **because(why),
        )  # fmt: skip


async def withdraw(core: Core, actor: str, subsystem: str, name: str, why: str = "") -> bool:
    """Let it ask no more."""
    async with core.pool.acquire() as connection, connection.transaction():
        gone = await connection.fetchval(sql.query_grant_remove, subsystem, name)
        if gone is not None:
            await note(core, connection, actor, "query_withdrawn", asker=subsystem, query=name, **because(why))
    return gone is not None


async def grants(core: Core) -> list[Any]:
    """All grants: subsystem, name, scope_kind, scope_code, actor, at."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.query_grants_all))
