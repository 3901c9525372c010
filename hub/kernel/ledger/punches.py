"""Check-ins on their way into records: whom a gate's id means, what waits, and which punch of a passage travels.

Runs inside the intake's transaction: what a whole batch asks and writes goes with what the intake asks and writes anyway. A kill
before the commit leaves nothing.
It must never drop a check-in: what does not travel is stored like any other, and says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct, field

from hub.kernel.ledger.core import Core
from hub.kernel.ledger.rows import NO_PASSAGES
from hub.kernel.ports import Draft
from hub.kernel.presence import CLOCK, PERSON, Punch, Spot
from hub.kernel.store.db import Connection, sql

TYPE = "checkin"
FACT, QUARANTINED, MERGED = 1, 3, 5
UNREGISTERED = "unregistered"
_NOBODY = "unknown"
_ATTENDED = (None, "allowed")


class Candidate(Struct):
    """One check-in to be placed: its canonical body, whose gate it is asked of, and when it happened."""

    body: dict[str, Any]
    device: str | None
    """Asked whose its numbers are; None: `space` says it."""
    space: str | None
    """The namespace of a number whose gate has none: a vendor's own at a gate that tells the department's codes."""
    local: str
    """The person as the gate named them."""
    spot: str
    """School, entrance and direction."""
    at: datetime | None
    received_at: datetime
    # What was found:
    namespace: str | None = None
    link: int | None = None
    learner: str | None = None
    place: int | None = None


def moment_of(value: Any) -> datetime | None:
    """A time in a canonical body; None when there is none with an offset."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo is not None else None


def spot_of(body: dict[str, Any]) -> str:
    """Where and which way, as one text."""
    return f"{body.get('school_code')}\x1f{body.get('entrance') or ''}\x1f{body.get('direction') or 'unknown'}"


def candidate(body: dict[str, Any], otherwise: datetime) -> Candidate | None:
    """A check-in that counts as attendance, or may once its clock or person is known; None for any other."""
    local = body.get("local_id") or body.get("person_code")
    if body.get("verify_status") not in _ATTENDED or not local or local == _NOBODY:
        return None
    reason, device = body.get("quarantine"), body.get("device")
    if reason not in (None, CLOCK, PERSON, UNREGISTERED):
        return None
    space = device if reason == UNREGISTERED or body.get("local_id") else None
    at = moment_of(body.get("corrected_time")) if reason != CLOCK else None
    received = moment_of(body.get("received_at")) or otherwise
    return Candidate(body, device, space, str(local), spot_of(body), at, received)


def again(body: dict[str, Any], otherwise: datetime) -> Candidate | None:
    """A stored check-in to be placed anew: its number goes on meaning what it meant when it came, whatever is said of its gate
    by now."""
    c = candidate(body, otherwise)
    if c is not None:
        c.device, c.space = None, body.get("namespace") or c.space
    return c


def device_time(body: dict[str, Any]) -> datetime | None:
    """The device's own time, read in its zone: what the estimate was applied to, taken back."""
    corrected = moment_of(body.get("corrected_time"))
    if corrected is None:
        return None
    try:
        return (corrected + timedelta(seconds=body.get("estimated_offset_s") or 0.0)).astimezone(UTC)
    except OverflowError:
        return None


class Sieve(Struct):
    """Candidates looked at together, and what is to be written of them."""

    window: timedelta
    asked: list[Candidate] = field(default_factory=list)
    spots: dict[int, Spot] = field(default_factory=dict)
    found: dict[int, Candidate] = field(default_factory=dict)
    """By the identity of the body it was made from."""
    punches: list[tuple[int, datetime, int, int, int | None]] = field(default_factory=list)
    waits: list[tuple[Any, ...]] = field(default_factory=list)
    again: set[int] = field(default_factory=set)
    """Check-ins that travelled until now and no longer do."""

    @classmethod
    def of(cls, core: Core, candidates: Iterable[Candidate]) -> Sieve:
        """A sieve that has still to be told what is known of them."""
        return cls(window=timedelta(seconds=core.punch_window_s), asked=list(candidates))

    @classmethod
    def of_drafts(cls, core: Core, drafts: Iterable[Draft]) -> Sieve:
        """The same for an intake's check-ins."""
        made = (candidate(d.body, d.updated_at) for d in drafts if d.type == TYPE and d.event != "CANCEL")
        return cls.of(core, (c for c in made if c is not None))

    def questions(self) -> tuple[Any, ...]:
        """What `passage_look` is to be asked: whom they mean, which places they take (to be locked), which punches are around them."""
        asked = self.asked
        return (
            [c.device for c in asked], [c.space for c in asked], [c.local for c in asked], [c.spot for c in asked],
            [c.at for c in asked], [c.received_at for c in asked], self.window,
        )  # fmt: skip

    def told(self, row: Any) -> None:
        """Hear the answer: one row, with a value in each column for each of those asked of, and the punches around them."""
        columns = (row[name] or () for name in ("whose", "links", "learners", "hashes"))
        for c, namespace, link, learner, place in zip(self.asked, *columns, strict=True):
            c.namespace, c.link, c.learner, c.place = namespace, link, learner, place
            if place is not None and place not in self.spots:
                self.spots[place] = Spot(self.window)
            self.found[id(c.body)] = c
        around = (row[name] or () for name in ("near", "near_at", "near_record", "near_leader"))
        for n, at, record, leader in zip(*around, strict=True):
            place = self.asked[n - 1].place
            assert place is not None
            self.spots[place].know(Punch(at, record), leader)

    async def load(self, connection: Connection) -> Sieve:
        """Ask and hear in a round trip of its own; none where there is nothing to ask."""
        if self.asked:
            self.told(await connection.fetchrow(sql.passage_look, *self.questions()))
        return self

    def judge(self, body: dict[str, Any], record: int, school: str | None) -> tuple[dict[str, Any], int]:
        """Place one check-in under the number of its record. Gives its body as it is to be stored, and its disposition."""
        c = self.found.get(id(body))
        if c is None:
            return body, QUARANTINED if body.get("quarantine") else FACT
        reason = body.get("quarantine")
        changes: dict[str, Any] = {}
        if c.namespace is not None:
            changes = {"namespace": c.namespace, "local_id": c.local, "person_code": c.learner or c.local}
        if reason in (PERSON, UNREGISTERED) and (c.learner is not None and c.namespace is not None):
            reason = None
        elif c.namespace is not None and c.learner is None and reason != CLOCK:
            reason = PERSON
        if reason != body.get("quarantine"):
            changes["quarantine"] = reason
        disposition = FACT
        if reason is not None:
            disposition = QUARANTINED
            if reason in (CLOCK, PERSON):
                self.waits.append(
                    (record, reason, body["device"], c.namespace, c.local, school, device_time(body), c.received_at, c.at,
                     not body.get("historical"))
                )  # fmt: skip
        elif c.place is not None and c.at is not None:
            leader, displaced = self.spots[c.place].put(Punch(c.at, record))
            self.punches.append((c.place, c.at, record, leader, c.link))
            if displaced is not None:
                self.again.add(displaced)
            if leader != record:
                disposition, changes["merged_into"] = MERGED, leader
        return ({**body, **changes} if changes else body), disposition

    @property
    def rows(self) -> tuple[Any, ...]:
        """What was placed, what waits and what must be judged again, as `passages_write` takes them; empty where there is nothing."""
        if not (self.punches or self.waits or self.again):
            return ()
        punches = list(zip(*self.punches, strict=True)) or [()] * 5
        waits = list(zip(*self.waits, strict=True)) or [()] * 10
        return (*punches, *waits, sorted(self.again))

    async def write(self, connection: Connection) -> None:
        """Write it in a round trip of its own; none where there is nothing."""
        if rows := self.rows:
            await connection.execute(sql.passages_write, *rows)


async def warm(connection: Connection) -> None:
    """Have a new connection learn the statements above, with nothing to look at or to write."""
    await connection.fetchrow(sql.passage_look, *([],) * 6, timedelta())
    await connection.execute(sql.passages_write, *NO_PASSAGES)
