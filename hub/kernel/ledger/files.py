"""Documents the hub keeps: encrypted in pieces, handed out piece by piece, erased when their time is over.

One concern: the pieces. A document is kept whole in one transaction: a kill before its commit leaves nothing. It must never
hold a document's bytes or name in clear, nor list what there is.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from msgspec import Struct

from hub.kernel.intake import Source
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import note
from hub.kernel.store.db import sql

PIECE = 262_144
"""Bytes of a piece before encryption: what one request for a few bytes costs at most."""

Seal = Callable[[bytes, bytes], bytes]
"""Authenticated encryption (or its undoing) of bytes, tied to their place."""


class File(Struct, frozen=True, kw_only=True):
    """A document, without its bytes."""

    id: uuid.UUID
    school: str | None
    content_type: str
    size: int
    piece: int
    digest: bytes
    name: str


def place_of(file: uuid.UUID, number: int) -> bytes:
    """What a piece's encryption is tied to, so that none can be put in another's place."""
    return b"file/" + file.bytes + number.to_bytes(4, "big")


def _name_place(file: uuid.UUID) -> bytes:
    return b"file-name/" + file.bytes


async def keep(
    core: Core,
    source: Source,
    file: uuid.UUID,
    school: str | None,
    content_type: str,
    name: str,
    body: bytes,
    seal: Seal,
    verdict: tuple[str, Any] = ("unsigned", None),
    digest: bytes | None = None,
) -> bool:
    """Keep a document with what was found on its signatures (state and details). False when this id is kept already: the same upload sent again.

    `digest`: the core's keyed hash of the body, where the caller has it already.
    """

    def sealed() -> tuple[bytes, list[tuple[uuid.UUID, int, bytes]]]:
        places = enumerate(range(0, len(body), PIECE))
        pieces = [(file, n, seal(body[at : at + PIECE], place_of(file, n))) for n, at in places]
        return digest or bytes.fromhex(core.hasher(body)), pieces

    # Hundreds of milliseconds for a large document: beside the loop.
    hashed, pieces = await asyncio.to_thread(sealed)

    async def once() -> bool:
        number = await core.source_id(source)
        async with core.pool.acquire() as connection, connection.transaction():
            made = await connection.fetchval(
                sql.file_add, file, number, school, content_type, len(body), PIECE, hashed, seal(name.encode(), _name_place(file)),
                *verdict,
            )  # fmt: skip
            if made is None:
                return False
            await connection.copy_records_to_table(
                "file_pieces", records=pieces, columns=("file", "number", "data"), timeout=60
            )
            await note(core, connection, f"{source.kind}:{source.name}", "file_kept", file=file.hex, bytes=len(body))
        return True

    return await core.again(once)


async def find(core: Core, file: uuid.UUID, unseal: Seal) -> File | None:
    """A document by its id; None when there is none, or it was erased."""
    async with core.pool.acquire() as connection:
        r = await connection.fetchrow(sql.file_row, file)
    if r is None or r["erased_at"] is not None:
        return None
    return File(
        id=r["id"], school=r["school"], content_type=r["content_type"], size=r["bytes"], piece=r["piece"], digest=r["digest"],
        name=unseal(r["name"], _name_place(file)).decode(),
    )  # fmt: skip


async def read(core: Core, file: File, first: int, last: int, unseal: Seal) -> AsyncIterator[bytes]:
    """The bytes `first` to `last` (both included), a piece at a time. Each piece is asked for by itself: a slow reader
    holds no connection. Raises LookupError when the document is erased meanwhile."""
    for number in range(first // file.piece, last // file.piece + 1):
        async with core.pool.acquire() as connection:
            r = await connection.fetchrow(sql.file_pieces, file.id, number, number)
        if r is None:
            raise LookupError(file.id.hex)
        start = number * file.piece
        plain = unseal(r["data"], place_of(file.id, number))
        yield plain[max(0, first - start) : last - start + 1]


async def bad(core: Core, connector: int, files: list[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the documents whose signatures do not hold and which nobody has let go to this connector."""
    async with core.pool.acquire() as connection:
        return {r["id"] for r in await connection.fetch(sql.files_bad, files, connector)}


async def let_go(core: Core, connector: int, subjects: list[str]) -> set[str]:
    """Those of the tasks' subjects about documents kept elsewhere that somebody has let go to this connector."""
    async with core.pool.acquire() as connection:
        return {r["subject"] for r in await connection.fetch(sql.files_let_go, subjects, connector)}


async def verdicts(core: Core, files: list[uuid.UUID]) -> dict[str, Any]:
    """By document (hex): `{state, signatures}` as found when it was taken in."""
    async with core.pool.acquire() as connection:
        rows = await connection.fetch(sql.files_verdicts, files)
    return {r["id"].hex: {"state": r["verdict_state"] or "unsigned", "signatures": r["verdict"] or []} for r in rows}


async def said(core: Core, actor: str, file: File, first: int, last: int) -> None:
    """Log that bytes of a document are about to be handed out."""
    async with core.pool.acquire() as connection:
        await note(core, connection, actor, "file_read", file=file.id.hex, first=first, last=last)


async def forget(core: Core, unlinked_days: int, kept_days: int) -> int:
    """Erase documents no filing named within `unlinked_days`, and those linked longer than `kept_days` ago. Returns how many."""
    gone = 0
    while True:
        async with core.pool.acquire() as connection, connection.transaction():
            found: list[Any] = [r["id"] for r in await connection.fetch(sql.files_expired, unlinked_days, kept_days)]
            if found:
                await connection.execute(sql.files_erase, found, timeout=300)
        gone += len(found)
        if len(found) < 500:
            return gone
