"""Filings as they stand: each new fact judged against the state held, in the transaction that stores it.

A sender's illegal move is refused with the reason; a counterparty's is kept aside for a person, for it has happened there.
What was told of a filing the hub does not know waits in an inbox and is followed when the filing comes. A kill before the
commit leaves nothing; after it, fact and state together. It must never send anything, nor change a record.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from hub.kernel import filings as states
from hub.kernel.filings import NotAllowed
from hub.kernel.ledger.core import CLASSES, Core
from hub.kernel.ports import Draft, Reject, Text
from hub.kernel.store.db import Connection, sql

_json = msgspec.json.Encoder().encode

TRACKED = frozenset({"filing", "filing_progress"})
"""Record types whose order key is the file number and whose facts move a filing."""

_UNKNOWN = Text("Trục chưa có hồ sơ này.", "The hub does not hold this filing.")
_ANOTHERS = Text(
    "Tài khoản gửi không có quyền với hồ sơ này: hồ sơ thuộc đơn vị khác.",
    "The sender may not write this filing: it is another's.",
)
_NO_FILE = Text(
    "Tài liệu “file” này không có ở trục, hoặc thuộc đơn vị khác.", "No such document is kept here, or it is another's."
)


class Held(Struct, kw_only=True):
    """What is known of a filing under lock."""

    school: str | None
    state: str
    since: datetime
    said_by: str = "agency"
    step_at: datetime | None = None


class Step(Struct, kw_only=True):
    """What steps do to a filing that is there, all of one batch together."""

    moved: bool = False
    due_at: datetime | None = None
    department: str | None = None
    step_at: datetime | None = None
    paid: int = 0


class Tracker:
    """Judges one batch of drafts in their order, then writes what became of the filings."""

    def __init__(self, held: dict[str, Held], files: dict[str, str | None]) -> None:
        self._held = held
        self._files = files
        self._told: dict[str, Draft] = {}
        self._begun: set[str] = set()
        self._steps: dict[str, Step] = {}
        self._inbox: list[tuple[Any, ...]] = []
        self._linked: set[uuid.UUID] = set()

    @classmethod
    async def load(cls, connection: Connection, works: list[Any]) -> Tracker:
        """Lock the filings these works' drafts speak of, in sorted order. Their order locks are held already.

        A withdrawal that names only the filing is completed from what is on record: a receiver wants the whole of it.
        """
        mine = [d for w in works for d in w.drafts if d.type in TRACKED]
        numbers = sorted({str(d.body["file_number"]) for d in mine})
        held = {
            r["number"]: Held(
                school=r["school"],
                state=str(r["state"]),
                since=r["since"],
                said_by=r["said_by"],
                step_at=r["step_at"],
            )
            for r in await connection.fetch(sql.filings_lock, numbers)
        }
        bare = [d for d in mine if d.event == "CANCEL" and d.type == "filing"]
        if bare:
            current = await connection.fetch(sql.filings_current, sorted({d.key for d in bare}), CLASSES["long"])
            known = {r["key"]: r["body"] for r in current}
            for draft in bare:
                _complete(draft.body, known.get(draft.key) or {})
        wanted = sorted({uuid.UUID(f) for d in mine for f in files_of(d.body)})
        files = await connection.fetch(sql.files_known, wanted) if wanted else ()
        return cls(held, {r["id"].hex: r["school"] for r in files})

    def takes(self, core: Core, work: Any, draft: Draft) -> bool:
        """Take a draft into account; False when it is refused, with the reason among its work's rejects.

        A counterparty's step that fits nowhere is marked with its `quarantine` and goes to the inbox.
        """
        refused, permits = None, partial(core.directory.permits, work.scope)
        if draft.type == "filing":
            refused = self._filing(draft, permits)
        elif draft.type == "filing_progress":
            refused = self._progress(draft, work.message, permits)
        if refused is not None:
            work.rejects.append(refused)
        return refused is None

    def _filing(self, draft: Draft, permits: Callable[[str | None], bool]) -> Reject | None:
        for place, file in _places(draft.body):
            if file not in self._files or not permits(self._files[file]):
                return Reject(
                    pointer=f"{draft.pointer}/data/{place}", code="unknown_file", key=draft.key, message=_NO_FILE
                )
        state = draft.body["status"]["canonical"] if draft.body.get("status") else None
        if state is not None:
            held = self._held.get(draft.key)
            moved = states.move(
                held.state if held else None, held.since if held else None, state, draft.updated_at, step=False
            )
            if isinstance(moved, NotAllowed):
                return Reject(
                    pointer=f"{draft.pointer}/data/status", code=moved.code, key=draft.key, message=moved.text
                )
            if held is None:
                self._begun.add(draft.key)
                held = self._held[draft.key] = Held(school=draft.school, state=state, since=draft.updated_at)
            elif moved == "moves":
                held.state, held.since, held.said_by = state, draft.updated_at, "agency"
            held.school = draft.school
            self._told[draft.key] = draft
        self._linked.update(uuid.UUID(f) for f in files_of(draft.body))
        return None

    def _progress(self, draft: Draft, message: int, permits: Callable[[str | None], bool]) -> Reject | None:
        body, number = draft.body, str(draft.body["file_number"])
        body.pop("quarantine", None)  # of an earlier try of the same transaction
        portal = body.get("said_by") == "portal"
        at = _moment(body["handled_at"]) or draft.updated_at
        state, held = body["status"]["canonical"], self._held.get(number)
        paid = int((body.get("payment") or {}).get("amount", 0)) if portal else 0
        aside = (number, message, at, body.get("department"), _moment(body.get("due_at")), paid, state or "1")
        if held is None:
            if portal:
                body["quarantine"] = "unknown_filing"
                self._keep(aside, "unknown_filing", _UNKNOWN)
            return None
        if not permits(held.school):
            # A step names the school it pleases; the filing is its own school's.
            return Reject(pointer=draft.pointer, code="outside_scope", key=draft.key, message=_ANOTHERS)
        step = self._steps.setdefault(number, Step())
        if state is not None and not paid:
            moved = states.move(held.state, held.since, state, at, step=True)
            if isinstance(moved, NotAllowed):
                if not portal:
                    return Reject(
                        pointer=f"{draft.pointer}/data/status", code=moved.code, key=draft.key, message=moved.text
                    )
                body["quarantine"] = moved.code
                self._keep(aside, "state_not_allowed", moved.text)
                return None
            if moved == "moves":
                held.state, held.since, held.said_by = state, at, "portal" if portal else "agency"
                step.moved = True
        take_step(step, held, at, body.get("department"), _moment(body.get("due_at")), paid)
        return None

    def _keep(self, aside: tuple[Any, ...], reason: str, text: Text) -> None:
        number, message, at, department, due_at, paid, state = aside
        self._inbox.append((number, message, reason, _json(text), int(state), at, department, due_at, paid))

    async def write(self, connection: Connection) -> None:
        """Write states, steps and what is kept aside; follow what waited for a filing that has come."""
        if self._told:
            rows = [self._row(n, self._told[n]) for n in sorted(self._told)]
            await connection.execute(sql.filings_write, *(list(c) for c in zip(*rows, strict=True)))
        if self._begun:
            await self._follow(connection)
        if self._steps:
            await write_steps(connection, self._steps, self._held)
        if self._inbox:
            await connection.execute(sql.filing_inbox_add, *(list(c) for c in zip(*self._inbox, strict=True)))
        if self._linked:
            await connection.execute(sql.files_link, sorted(self._linked))

    def _row(self, number: str, draft: Draft) -> tuple[Any, ...]:
        held, body = self._held[number], draft.body
        return (
            number, held.school, body.get("agency") or "", body.get("procedure_code") or "", body.get("procedure_name") or "",
            int(held.state), held.since, held.said_by, _moment(body.get("submitted_at")) or draft.updated_at,
            _moment(body.get("due_at")), None, held.step_at,
        )  # fmt: skip

    async def _follow(self, connection: Connection) -> None:
        followed: list[int] = []
        refused: list[tuple[int, bytes]] = []
        for r in await connection.fetch(sql.filing_inbox_of, sorted(self._begun)):
            held = self._held[r["number"]]
            moved = (
                states.move(held.state, held.since, str(r["state"]), r["at"], step=True) if not r["paid"] else "stays"
            )
            if isinstance(moved, NotAllowed):
                refused.append((r["id"], _json(moved.text)))
                continue
            step = self._steps.setdefault(r["number"], Step())
            if moved == "moves":
                held.state, held.since, held.said_by, step.moved = str(r["state"]), r["at"], "portal", True
            take_step(step, held, r["at"], r["department"], r["due_at"], r["paid"])
            followed.append(r["id"])
        if followed:
            await connection.execute(sql.filing_inbox_followed, followed)
        if refused:
            await connection.execute(sql.filing_inbox_refused, *(list(c) for c in zip(*refused, strict=True)))


def take_step(step: Step, held: Held, at: datetime, department: str | None, due_at: datetime | None, paid: int) -> None:
    """A step's particulars: the newest one says where the filing is and until when."""
    if held.step_at is None or at >= held.step_at:
        held.step_at = step.step_at = at
        step.department, step.due_at = department or step.department, due_at or step.due_at
    step.paid += paid


async def write_steps(connection: Connection, steps: dict[str, Step], held: dict[str, Held]) -> None:
    rows = []
    for number in sorted(steps):
        s, h = steps[number], held[number]
        moved = (int(h.state), h.since, h.said_by) if s.moved else (None, None, None)
        rows.append((number, *moved, s.due_at, s.department, s.step_at, s.paid))
    await connection.execute(sql.filings_step, *(list(c) for c in zip(*rows, strict=True)))


def files_of(body: dict[str, Any]) -> list[str]:
    """Ids of the documents kept by the hub that a filing names."""
    return [file for _, file in _places(body)]


def _places(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"{part}/{n}/file", one["file"])
        for part in ("attachments", "results")
        for n, one in enumerate(body.get(part) or ())
        if one.get("file")
    ]


def _complete(body: dict[str, Any], known: dict[str, Any]) -> None:
    """A withdrawal as the whole filing, in the state it was withdrawn to."""
    withdrawn = states.table().withdrawn
    for name, value in known.items():
        if name != "status":
            body.setdefault(name, value)
    if (body.get("status") or {}).get("canonical") is None:
        body["status"] = {"system": "filing-status", "code": withdrawn, "canonical": withdrawn}


def _moment(value: Any) -> datetime | None:
    """A stored moment; one without an offset is local time."""
    if not isinstance(value, str):
        return None
    at = datetime.fromisoformat(value)
    return at.replace(tzinfo=states.ZONE) if at.tzinfo is None else at
