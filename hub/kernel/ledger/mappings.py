"""What calls were mapped by, kept for whoever asks later what made a request.

A kill after `keep` leaves a version no call names. It must never change what is kept: its name is its hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from hub.kernel.ledger.core import Core
from hub.kernel.store.db import Connection, sql
from mappings.versions import DOCUMENT, Version, named_in

_NAMED = 64
"""Hex digits of a version's hash."""


@lru_cache(maxsize=1024)
def digest_of(mapping: str) -> bytes:
    """The hash at the end of a call's mapping; empty for one named before versions were kept."""
    _, _, said = mapping.rpartition("@")
    return bytes.fromhex(said) if len(said) == _NAMED else b""


async def keep(core: Core, versions: Iterable[Version]) -> None:
    """Keep what these consist of. Call it before anything is stored that names one."""
    parts = {hashed: content for version in versions for hashed, content in version.parts.items()}
    # In one order everywhere, so that two that keep the same do not wait for each other.
    hashes = sorted(parts)
    async with core.pool.acquire() as connection:
        await connection.execute(sql.mappings_keep, hashes, [parts[h] for h in hashes])


async def kept(connection: Connection, mappings: Iterable[str]) -> dict[bytes, dict[str, bytes]]:
    """The files of these versions by name, by the version's hash; one that is not kept whole is not there."""
    documents = await _parts(connection, {d for m in mappings if (d := digest_of(m))})
    names = {digest: named_in(document) for digest, document in documents.items()}
    parts = await _parts(connection, {hashed for named in names.values() for hashed in named.values()})
    return {
        digest: {DOCUMENT: documents[digest]} | {name: parts[hashed] for name, hashed in named.items()}
        for digest, named in names.items()
        if parts.keys() >= set(named.values())
    }


async def _parts(connection: Connection, hashes: set[bytes]) -> dict[bytes, bytes]:
    rows = await connection.fetch(sql.mappings_parts, sorted(hashes)) if hashes else []
    return {r["digest"]: r["content"] for r in rows}
