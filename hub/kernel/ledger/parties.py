"""Machine clients and devices: registration, revocation, what is seen of them; and the receipts their messages got.

It must never return a secret in clear: what is stored of clients is a keyed hash, of devices a sealed secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hub.kernel.access import Scope
from hub.kernel.intake import Source
from hub.kernel.ledger import gate_numbers, gates, silence
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.gate_ids import namespace_of
from hub.kernel.ledger.operations import note
from hub.kernel.store.db import sql

_NOW = object()


async def clients(core: Core) -> list[Any]:
    """Active machine clients."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.clients_all))


async def add_client(
    core: Core,
    actor: str,
    name: str,
    title: str,
    secret_hash: bytes,
    key_hash: bytes | None,
    scope: Scope,
    rights: list[str],
) -> None:
    """Register a client, or give an existing one new credentials."""
    source = await core.source_id(Source("client", name))
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            sql.client_add, source, name, title, secret_hash, key_hash, scope.kind, scope.code, rights
        )
        await note(
            core,
            connection,
            actor,
            "client",
            subject=source,
            client=name,
            scope=scope.kind,
            code=scope.code,
            rights=rights,
        )


async def block_client(core: Core, actor: str, name: str) -> bool:
    """Take a client's access away. False when it had none."""
    async with core.pool.acquire() as connection, connection.transaction():
        done = await connection.fetchval(sql.client_block, name)
        if done:
            await note(core, connection, actor, "client_blocked", client=name)
    return bool(done)


async def devices(core: Core, about: Sequence[str] | None = None) -> list[Any]:
    """Active devices with their sealed secrets. `about`: these alone, and those that may be of one vendor's account with them."""
    async with core.pool.acquire() as connection:
        return list(await connection.fetch(sql.devices_all, about))


async def add_device(
    core: Core,
    actor: str,
    device: str,
    *,
    family: str,
    profile: str,
    title: str,
    school: str,
    entrance: str,
    direction: str,
    zone: str,
    person_ids: str,
    secret: bytes,
    signing: bytes | None = None,
) -> None:
    """Register a device, or change what is registered; `secret` and `signing` (see `gates.sign`; None: as it was) are sealed
    with the hub's key. `person_ids`: whose its person numbers are (see `gate_ids`; raises `ValueError`)."""
    namespace = namespace_of(person_ids, device)
    source = await core.source_id(Source("device", device))
    async with core.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            sql.device_add, source, device, family, profile, title, school, entrance, direction, zone, secret, signing,
            namespace,
        )  # fmt: skip
        await note(
            core,
            connection,
            actor,
            "device",
            subject=source,
            device=device,
            family=family,
            school=school,
            entrance=entrance,
        )
    core.on_commit("devices")


async def revoke_device(core: Core, actor: str, device: str) -> bool:
    """Revoke a device's credentials. False when it was not active."""
    async with core.pool.acquire() as connection, connection.transaction():
        done = await connection.fetchval(sql.device_revoke, device)
        if done:
            await note(core, connection, actor, "device_revoked", device=device)
    core.on_commit("devices")
    return bool(done)


async def touch_devices(core: Core, facts: dict[str, dict[str, Any]]) -> None:
    """Add to what is seen of devices, by device: `state` (online, offline), `offset_s`, and counts since the last call:
    `events`, of them `live`, `quarantined`, `images`, and `trace` lines (see `hub.worker.bridge_registry.Gates`). May be lost.
    `numbers` (`gate_numbers.Seen`): what it numbers by itself.

    Of passages that were read from a list, `noise` counts by when they happened what `live` counts for now; `happened` is the
    newest passage's time, and `seen` when the device itself was heard of. Left out: now. None: not known, and what stands
    there stays; the counts of a device that was never heard of are lost."""
    names = sorted(facts)
    heard = {n: facts[n].get("seen", _NOW) is not None for n in names}
    told = [n for n in names if heard[n] or any(facts[n].get(count) for count in ("events", "images"))]
    if told:
        rows = [facts[n] for n in told]
        seen = {n: facts[n]["numbers"] for n in told if "numbers" in facts[n]}
        async with core.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                sql.device_touch, told, [{"online": True, "offline": False}.get(r.get("state", "")) for r in rows], [r.get("offset_s") for r in rows],
                [int(r.get("events", 0)) for r in rows], [int(r.get("quarantined", 0)) for r in rows], [int(r.get("images", 0)) for r in rows],
                [r.get("happened") for r in rows], [r.get("seen") for r in rows],
                [r.get("happened", _NOW) is not None for r in rows], [heard[n] for n in told],
            )  # fmt: skip
            if seen:
                await gate_numbers.note(connection, seen)
    noise: list[silence.Noise] = [(n, None, int(facts[n]["live"])) for n in names if facts[n].get("live")]
    noise += [(n, at, count) for n in names for at, count in facts[n].get("noise", {}).items()]
    if noise:
        await silence.add_noise(core, noise)
    if lines := [line for n in names for line in facts[n].get("trace", ())]:
        await gates.traced(core, lines)


async def rejects(core: Core, found: Mapping[str, Any], most: int) -> list[Any]:
    """Up to `most` rejects of a receipt, as `receipt` gave it; that itself brings the first thousand."""
    async with core.pool.acquire() as connection:
        ids = [m["duplicate_of"] or m["id"] for m in found["messages"]]
        return list(await connection.fetch(sql.receipt_rejects, ids, most))


async def receipt(core: Core, number: int, after: int, limit: int) -> dict[str, Any] | None:
    """What became of a message or a bulk upload: its messages, a page of records with their deliveries, its rejects."""
    async with core.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        upload = await connection.fetchrow(sql.receipt_upload, number)
        messages = await connection.fetch(sql.receipt_messages, number)
        if upload is None and not messages:
            return None
        source = upload or await connection.fetchrow(sql.receipt_source, messages[0]["source"])
        ids = [m["duplicate_of"] or m["id"] for m in messages]
        records = await connection.fetch(sql.receipt_records, ids, after, limit)
        rejects = await connection.fetch(sql.receipt_rejects, ids, 1000)
        deliveries = await connection.fetch(sql.receipt_deliveries, [r["id"] for r in records])
    return {
        "upload": upload,
        "source": source,
        "messages": messages,
        "records": records,
        "rejects": rejects,
        "deliveries": deliveries,
    }
