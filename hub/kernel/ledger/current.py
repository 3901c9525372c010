"""Current records of one school, for who takes them out of the hub as a file.

One concern: reading them in pages, and writing down first that it is done. It must never give a school's records to a caller that
has not said what for.
"""

from __future__ import annotations

from typing import Any

from hub.kernel.ledger.core import CLASSES, Core
from hub.kernel.ledger.operations import note
from hub.kernel.store.db import sql
from mappings.canonical.registry import TYPES

_PAGE = 2_000


class TooMany(Exception):
    """Quá nhiều bản ghi cho một tệp. / More records than one file may hold."""


async def taken_out(
    core: Core, actor: str, record_type: str, school: str, purpose: str, most: int
) -> list[dict[str, Any]]:
    """Bodies of the living records of a type and school, journaled first; bodies erased by law are left out. Raises `TooMany`."""
    async with core.pool.acquire() as connection, connection.transaction():
        await note(core, connection, actor, "export", type=record_type, school=school, purpose=purpose)
    bodies: list[dict[str, Any]] = []
    after, klass = "", CLASSES[TYPES[record_type].retention]
    async with core.pool.acquire() as connection:
        while rows := await connection.fetch(sql.current_page, record_type, after, _PAGE, klass, school):
            bodies += [r["body"] for r in rows if r["body"] is not None]
            if len(bodies) > most:
                raise TooMany(str(most))
            after = rows[-1]["key"]
    return bodies
