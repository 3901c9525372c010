"""Verifications: a school's roster asked about, question by question, within the quota.

The roster is fixed when the verification is opened. Each step (`advance`) is one transaction that turns a few of its items
into questions, so what a kill leaves is an item that was asked about or one that was not: nobody is asked about twice. It
must never send anything, and never open a second verification of one kind for a school while one runs.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from hub.kernel.failpoints import reach
from hub.kernel.firewall_names import stated
from hub.kernel.intake import Arrival, Source, new_key
from hub.kernel.ledger.core import CLASSES, Core
from hub.kernel.ledger.given_codes import kept_under
from hub.kernel.ledger.intake import accept_within
from hub.kernel.ledger.operations import because, note
from hub.kernel.ports import Draft
from hub.kernel.store.db import Connection, sql
from mappings.canonical.registry import TYPES
from mappings.verdicts import reason

TYPE = "population_request"
KINDS = ("look_up", "verify", "household", "relatives", "householder", "residence")
_NEEDS = {"household": "parents", "relatives": "parents", "householder": "parents", "residence": "residence"}
_WINDOW = 1_000
"""Most deliveries a connector should have in hand before it is given more questions."""
_STEP = 500
_CHECK_CLASS = CLASSES[TYPES["population_check"].retention]
_REQUEST_CLASS = CLASSES[TYPES[TYPE].retention]


class VerificationRefused(Exception):
    """Không mở được đợt xác minh. / The verification cannot be opened."""

    code = "refused"


class NothingToAsk(VerificationRefused):
    """Trường chưa có học sinh nào để xác minh. / The school has no learners to verify."""

    code = "no_learners"


class NoConnector(VerificationRefused):
    """Chưa có kết nối nào tới CSDL dân cư. / No connector leads to the population database."""

    code = "no_connector"


class KeyReused(VerificationRefused):
    """Khóa Idempotency-Key này đã dùng cho một nội dung khác. / This Idempotency-Key was used with another body."""

    code = "key_reused"


class NoPurpose(VerificationRefused):
    """Mục đích phải là một câu, không phải nội dung tệp. / The purpose has to be a sentence, not a file's content."""

    code = "no_purpose"


class AlreadyRunning(VerificationRefused):
    """Trường này đang có một đợt xác minh cùng loại. / A verification of this kind is already running for the school."""

    code = "already_running"

    def __init__(self, verification: int) -> None:
        super().__init__(verification)
        self.verification = verification


class Wanted(Struct, frozen=True, kw_only=True):
    """What somebody asks to have verified. `learners` None: the whole roster; else any codes of theirs, temporary ones too."""

    school: str
    kind: str
    purpose: str
    officer: str
    learners: tuple[str, ...] | None = None


class Advance(Struct, kw_only=True):
    """What one step did."""

    asked: int = 0
    skipped: int = 0
    settled: int = 0
    finished: int = 0


async def open_verification(
    core: Core, actor: str, wanted: Wanted, digest: bytes | None = None, *, system: bool = False
) -> tuple[int, bool]:
    """Open a verification; its id, and whether it had been opened before with the same `digest` (16 bytes).

    Raises `VerificationRefused`. `system`: asked for by a schedule, which is journaled as such.
    """
    if stated(wanted.purpose) is None:
        raise NoPurpose
    if not core.router.of(TYPE):
        raise NoConnector
    body = core.hasher(msgspec.json.encode(wanted)).encode()
    given = uuid.UUID(bytes=digest) if digest else None

    async def once() -> tuple[int, bool]:
        async with core.pool.acquire() as connection, connection.transaction():
            (number,) = await core.ids.take(connection, 1)
            made = await connection.fetchval(
                sql.verification_open, number, given, body, actor, wanted.school, wanted.kind, wanted.purpose, wanted.officer
            )  # fmt: skip
            if made is None:
                found = await connection.fetchrow(sql.verification_like, given, wanted.school, wanted.kind)
                if found is not None and found["same"]:
                    if found["body_digest"] != body:
                        raise KeyReused
                    return found["id"], True
                raise AlreadyRunning(found["id"] if found else 0)
            learners = None
            if wanted.learners is not None:
                learners = list((await kept_under(connection, wanted.learners, wanted.school)).values())
            items = await connection.fetchval(
                sql.verification_roster, number, wanted.school, learners, CLASSES[TYPES["learner"].retention]
            )
            if not items:
                raise NothingToAsk
            await note(
                core, connection, actor, "verification", subject=number, school=wanted.school, verification=wanted.kind,
                purpose=wanted.purpose, officer=wanted.officer, items=items, scheduled=system,
            )  # fmt: skip
            return number, False

    opened = await core.again(once)
    core.on_commit("verifications")
    return opened


async def open_due(
    core: Core, actor: str, kind: str, purpose: str, officer: str, before: datetime, most: int
) -> list[int]:
    """Open verifications for schools whose last of this kind is older than `before`, at most `most`.

    May be repeated: what was opened a moment ago is not due any more. Raises `NoConnector` and `NoPurpose`.
    """
    async with core.pool.acquire() as connection:
        schools = [r["school"] for r in await connection.fetch(sql.verifications_due, kind, before, most)]
    opened = []
    for school in schools:
        wanted = Wanted(school=school, kind=kind, purpose=purpose, officer=officer)
        try:
            number, _ = await open_verification(core, actor, wanted, system=True)
        except (AlreadyRunning, NothingToAsk):
            continue
        opened.append(number)
    return opened


async def advance(core: Core, *, most: int = 50) -> Advance:
    """One step of every open verification: settle what was answered, ask on within the quota, finish. Safe at any time, by several at once."""
    done = Advance()
    async with core.pool.acquire() as connection:
        open_ones = await connection.fetch(sql.verifications_open, most)
    for row in open_ones:
        await _step(core, row["id"], row["actor"], done)
    if done.asked:
        core.on_commit("ready")
    return done


async def _step(core: Core, number: int, actor: str, done: Advance) -> None:
    source = await core.source_id(Source("operator", f"verification:{actor}"))
    async with core.pool.acquire() as connection, connection.transaction():
        held = await connection.fetchrow(sql.verification_lock, number)
        if held is None:
            return
        settled = await connection.fetch(sql.verification_settle, number, _STEP * 4, _CHECK_CLASS)
        done.settled += len(settled)
        await _ask(core, connection, held, source, done)
        reach("verification.inside")
        if await connection.fetchval(sql.verification_finish, number) is not None:
            done.finished += 1
            await note(core, connection, "hub", "verification_done", subject=number, school=held["school"])
    reach("verification.after")


async def _ask(core: Core, connection: Connection, held: Any, source: int, done: Advance) -> None:
    """Turn the next items into questions, as many as every connector they go to has room for."""
    routes = core.router.of(TYPE)
    room = min([await connection.fetchval(sql.verification_room, r.connector, _WINDOW) or 0 for r in routes], default=0)
    if room <= 0:
        return
    items = await connection.fetch(sql.verification_next, held["id"], min(room, _STEP))
    if not items:
        return
    bodies: dict[int, Any] = {}
    for klass in {i["class"] for i in items}:
        wanted = [i["record"] for i in items if i["class"] == klass]
        bodies |= {r["id"]: r for r in await connection.fetch(sql.verification_bodies, klass, wanted)}
    drafts: dict[str, Draft] = {}
    skipped: dict[str, str] = {}
    for item in items:
        row = bodies.get(item["record"])
        found = question(held, item["learner"], row["body"] if row else None)
        if row is None or isinstance(found, str):
            skipped[item["learner"]] = str(found)
        else:
            drafts[item["learner"]] = Draft(
                type=TYPE, key=found["request_code"], body=found, event="NEW", updated_at=row["updated_at"], school=held["school"]
            )  # fmt: skip
    requests, refused = await _accept(core, connection, held, source, drafts)
    rows: list[tuple[str, str, int | None, str | None]] = []
    rows += [(learner, "skipped", None, why) for learner, why in skipped.items()]
    rows += [(learner, "asked", record, None) for learner, record in requests.items()]
    rows += [(learner, "failed", None, why) for learner, why in refused.items()]
    await connection.fetch(sql.verification_asked, held["id"], *(list(column) for column in zip(*rows, strict=True)))
    done.asked += len(requests)
    done.skipped += len(skipped)


def question(held: Any, learner: str, body: dict[str, Any] | None) -> dict[str, Any] | str:
    """The `population_request` about the learner kept under a key, or the reason why nothing can be asked."""
    if body is None:
        return reason("data", "missing")
    need = _NEEDS.get(held["kind"])
    for field in ("personal_number", *((need,) if need else ())):
        if not body.get(field):
            return reason(field, "missing")
    made: dict[str, Any] = {
        # No "@" in a request's code; nor is there a ":" in any learner's.
        "request_code": f"{held['id']}/{learner.replace('@', ':')}",
        "kind": held["kind"],
        "purpose": held["purpose"],
        "officer": held["officer"],
        "learner_code": body["learner_code"],
        "school_code": held["school"],
        "full_name": body["full_name"],
        "birth_date": body["birth_date"],
        "personal_number": body["personal_number"],
    }
    if body.get("sex"):
        made["sex"] = body["sex"]
    if need:
        made[need] = body[need]
    return made


async def _accept(
    core: Core, connection: Connection, held: Any, source: int, drafts: dict[str, Draft]
) -> tuple[dict[str, int], dict[str, str]]:
    """Store the questions, by learner, as a message of the verification's own; each learner's record, or why there is none."""
    if not drafts:
        return {}, {}
    learners = {d.key: learner for learner, d in drafts.items()}
    body = msgspec.json.encode({"verification": held["id"], "learners": list(drafts)})
    arrival = Arrival(
        source=Source("operator", f"verification:{held['actor']}"), type=TYPE, body=body, content_type="application/json",
        digest=bytes.fromhex(core.hasher(body)), key=new_key(), drafts=list(drafts.values()), school=held["school"],
        attributes={"verification": str(held["id"])},
    )  # fmt: skip
    ids = await core.ids.take(connection, 1)
    (answer,) = await accept_within(core, connection, [arrival], ids, [source])
    found = await connection.fetch(sql.verification_requests, answer.message, _REQUEST_CLASS)
    refused = {learners[str(r.key)]: r.code for r in answer.rejects}
    return {learners[r["key"]]: r["id"] for r in found}, refused


async def cancel(core: Core, actor: str, number: int, why: str = "") -> int | None:
    """Ask about nobody more, `why` for the journal. What is asked already is answered as ever. The number of items given up, None
    when it was not open."""
    async with core.pool.acquire() as connection, connection.transaction():
        if await connection.fetchval(sql.verification_hold, number) is None:
            return None
        gone = await connection.fetch(sql.verification_cancel, number)
        await note(
            core, connection, actor, "verification_cancelled", subject=number, given_up=len(gone), **because(why)
        )
    return len(gone)


async def one(core: Core, number: int) -> Any | None:
    """A verification with its counts."""
    async with core.pool.acquire() as connection:
        return await connection.fetchrow(sql.verification_one, number)


async def running(core: Core) -> int:
    """How many are open."""
    async with core.pool.acquire() as connection:
        return len(await connection.fetch(sql.verifications_open, 10_000))


async def latest(core: Core, schools: list[str] | None, before: int | None = None, limit: int = 50) -> list[Any]:
    """Verifications, latest first. `schools` None: all."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.verifications_list, before or (1 << 62), schools, limit))


async def results(core: Core, number: int, after: str = "", limit: int = 200, *, faults: bool = False) -> list[Any]:
    """A page of items by learner: `learner` is the key, by which they are in order, `learner_code` what people call it. Names
    and numbers in clear: mask them, or journal who is shown them."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.verification_results, number, after, limit, faults))


async def taken_out(core: Core, actor: str, number: int) -> None:
    """Journal that somebody took the result sheet, which holds names."""
    async with core.pool.acquire() as connection, connection.transaction():
        await note(core, connection, actor, "verification_sheet", subject=number)


async def forget(core: Core, days: int) -> None:
    """Forget verifications that ended so many days ago; the questions and answers have gone before."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.verifications_forget, days)
