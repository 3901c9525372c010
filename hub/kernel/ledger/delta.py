"""The comparison: current records against what a counterparty was last given, and exactly the difference queued.

Page by page in key order, so that a kill leaves a place to go on from, and going over a page twice queues nothing twice.
What is compared is what would travel: a change in a field that does not, or a code that means the same, sends nothing. It
must never send, and never queue what has a delivery on its way.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from hub.kernel.breath import breathing
from hub.kernel.intake import order_hash, order_of
from hub.kernel.ledger.core import CLASSES, Core
from hub.kernel.ledger.dependencies import content_of
from hub.kernel.ledger.operations import note
from hub.kernel.ledger.rows import DELIVERY_COLUMNS
from hub.kernel.lifecycle import State, check
from hub.kernel.router import Route
from hub.kernel.store.db import Connection, sql
from mappings.canonical.registry import TYPES
from mappings.fieldmap import FieldMap, Unmapped

PAGE = 5_000
OF_A_COMPARISON = 0
"""`replay_of` of a delivery no earlier one is behind: it is beside what the record's own routing made."""
_COMPARED = check(None, State.READY, "compared")


class Compared(Struct, kw_only=True):
    """What a run over some pages found. `next`: where to go on, None at the end."""

    compared: int = 0
    unchanged: int = 0
    queued: int = 0
    on_their_way: int = 0
    """Different, but with a delivery open: that one brings it."""
    unmapped: int = 0
    """A code that must be mapped first; their own delivery waits for it, or did."""
    expired: int = 0
    """Bodies erased by law: there is nothing left to compare."""
    next: str | None = None

    def add(self, other: Compared) -> None:
        """Count another run's findings too, and go on where it stopped."""
        for name in ("compared", "unchanged", "queued", "on_their_way", "unmapped", "expired"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.next = other.next


class Candidate(Struct, frozen=True):
    """A current version whose content, as it would travel, is not what the counterparty was given."""

    key: str
    record: int
    school: str | None
    content: bytes
    order: int


async def compare(
    core: Core,
    actor: str,
    connector: int,
    maps: Mapping[str, FieldMap],
    *,
    after: str | None = None,
    most: int = 50_000,
) -> Compared:
    """Compare about `most` entities from `after` (as given in `next`) on and queue the differences.

    `maps`: field maps by name. Entities of every flow to the connector that sends only changes take part, type by type.
    """
    found = Compared()
    names = sorted(
        {t for f in core.router.flows.values() for t in f.records if route_to(core, connector, t) is not None}
    )
    place, _, key = (after or "").partition(":")
    for record_type in names:
        if record_type < place:
            continue
        route = route_to(core, connector, record_type)
        assert route is not None
        target = core.router.targets[route.flow, connector]
        field_map = maps[target.map].allowing(target.allow)
        last = key if record_type == place else ""
        while True:
            if found.compared >= most:
                found.next = f"{record_type}:{last}"
                return found
            page = await _page(core, actor, connector, record_type, last, field_map, route)
            if page is None:
                break
            part, last = page
            found.add(part)
    found.next = None
    return found


def route_to(core: Core, connector: int, record_type: str) -> Route | None:
    """The route to this connector that sends only changes."""
    for route in core.router.of(record_type):
        if route.connector == connector and core.router.targets[route.flow, connector].only_changes:
            return route
    return None


async def _page(
    core: Core, actor: str, connector: int, record_type: str, after: str, field_map: FieldMap, route: Route
) -> tuple[Compared, str] | None:
    """One page: compared without a lock, and what differs looked at again under its locks. None: there is no more."""
    spec = TYPES[record_type]
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(
            sql.delta_page, connector, record_type, after, PAGE, CLASSES[spec.retention], timeout=300
        )
    if not rows:
        return None
    found = Compared(compared=len(rows))
    different: list[Candidate] = []
    catalogue = core.catalogue
    async for r in breathing(rows):
        given, body, event = r["content"], r["body"], r["event"]
        if event == "CANCEL" and (given is None or r["cancelled"]):
            found.unchanged += 1
            continue
        if body is None:
            found.expired += 1
            continue
        meta = {"event": event, "version": r["version"], "updated_at": r["updated_at"], "key": r["key"]}
        try:
            content = content_of(event, field_map.apply(body, meta, catalogue))
        except Unmapped:
            found.unmapped += 1
            continue
        if content == given:
            found.unchanged += 1
        else:
            order = order_hash(order_of(record_type, r["key"], body))
            different.append(Candidate(r["key"], r["record"], r["school"], content, order))
    if different:
        async with core.pool.acquire() as connection, connection.transaction():
            queued = len(await queue(core, connection, connector, record_type, route, different))
            if queued:
                await note(
                    core, connection, actor, "compare", connector=connector, record_type=record_type, queued=queued
                )
        found.queued, found.on_their_way = queued, len(different) - queued
        if queued:
            core.on_commit("ready")
    return found, rows[-1]["key"]


async def queue(
    core: Core, connection: Connection, connector: int, record_type: str, route: Route, different: list[Candidate]
) -> list[str]:
    """Deliveries for what still differs and has none open; their keys. Whoever adds or ends deliveries of these is locked out."""
    await connection.fetchval(sql.order_locks, sorted({c.order for c in different}))
    rows = await connection.fetch(
        sql.delta_again, connector, record_type, [c.key for c in different], [c.order for c in different]
    )
    now = {r["key"]: r for r in rows}
    wanted = [
        c for c in different
        if (r := now.get(c.key)) is not None and not r["busy"] and r["record"] == c.record and r["content"] != c.content
    ]  # fmt: skip
    klass = CLASSES[TYPES[record_type].retention]
    ids = await core.ids.take(connection, len(wanted))
    await connection.copy_records_to_table(
        "deliveries",
        records=[
            (i, c.record, connector, klass, int(_COMPARED.target), c.order, core.ranks.next(connector, c.school, route.priority_s),
             None, route.flow, c.key, c.school, _COMPARED.cause, OF_A_COMPARISON)
            for i, c in zip(ids, wanted, strict=True)
        ],
        columns=DELIVERY_COLUMNS,
    )  # fmt: skip
    return [c.key for c in wanted]
