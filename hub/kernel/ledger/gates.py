"""The registry of gates: registered, enrolled by one-time code, rotated, moved, replaced, revoked, traced.

One concern: those facts, each in one transaction with its line of history and of the journal. What a kill leaves is the
fact with its history, or neither; a secret that was committed and never heard is lost, and a new code asks for another.
It must never return a secret but once, from the call that made it, nor keep a code in clear.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from hub.kernel.ledger import gate_ids
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import because, note
from hub.kernel.ports import COMMANDS_USER, PROBE, Text
from hub.kernel.store.db import Connection, sql

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}\Z")
"""A gate's name: safe in topics, addresses and a broker's files; `@` is kept for the generations of its secret."""
RESERVED = frozenset({"hub-bridge", "lt-bridge", "lt-keeper", COMMANDS_USER, COMMANDS_USER + PROBE})
"""The hub's own users at the broker: no gate may have their names."""
DIRECTIONS = ("in", "out", "unknown")
CODE_LIFE = timedelta(hours=72)
CODE_LONGEST = timedelta(days=14)
OVERLAP_LONGEST = timedelta(days=30)
TRACE_LONGEST, TRACE_LINES = timedelta(hours=1), 300
_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""No 0/O, 1/I/L, U: codes are read out over telephones."""
_CODE_LETTERS = 10
_BYTES = 16
SIGNING = b"gate-signing"
"""What a vendor's signing secret is sealed for: it is its account's, so a gate that is replaced hands it on as it is."""

Seal = Callable[[bytes, bytes], bytes]
"""Encrypts a secret for a gate: (secret, the gate's name) → sealed."""

_json = msgspec.json.Encoder().encode


class GateRefused(Exception):
    """Thao tác trên cổng bị từ chối. / The order about a gate is refused; `text` says why, `code` for machines."""

    def __init__(self, code: str, vi: str, en: str) -> None:
        super().__init__(f"{vi} / {en}")
        self.code = code
        self.text = Text(vi, en)


class Gate(Struct, frozen=True, kw_only=True):
    """A gate to register. `school`: its code; `direction`: in, out or unknown; `person_ids`: see `gate_ids`."""

    id: str
    family: str
    profile: str
    title: str
    school: str
    entrance: str
    direction: str
    zone: str = "Asia/Ho_Chi_Minh"
    serial: str | None = None
    model: str = ""
    person_ids: str = gate_ids.OWN


class Credential(Struct, frozen=True):
    """What a gate is given, once. `username` is for the broker; over HTTP the secret alone opens its address."""

    device: str
    family: str
    school: str
    username: str
    secret: str
    old_until: datetime | None = None

    def __repr__(self) -> str:
        return f"Credential({self.device!r})"


def username(device: str, generation: int) -> str:
    """A gate's name at the broker: a broker knows one password a name, so a rotation that overlaps takes a new name."""
    return device if generation == 1 else f"{device}@{generation}"


def new_secret() -> str:
    """128 random bits, in hex."""
    return secrets.token_hex(_BYTES)


def new_code() -> str:
    """A one-time code of about 49 bits: `7KMQ4-9XTRB`."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LETTERS))
    return f"{letters[:5]}-{letters[5:]}"


def code_hash(key: bytes, code: str) -> bytes:
    """What is stored of a code; blanks, dashes and case do not matter."""
    plain = "".join(c for c in code.upper() if c.isalnum())[:40]
    return hmac.new(key, plain.encode(), hashlib.sha256).digest()


async def _history(
    core: Core, connection: Connection, devices: Sequence[str], actor: str, kind: str, data: Sequence[dict[str, Any]]
) -> None:
    await connection.execute(sql.gate_note, list(devices), actor, kind, [_json(d) for d in data])
    said: dict[str, Any] = {"count": len(devices), "devices": list(devices)}
    if data:
        said = {"device": devices[0]} | data[0] if len(data) == 1 else said | because(data[0].get("why", ""))
    await note(core, connection, actor, f"gate_{kind}", **said)


async def _codes(
    connection: Connection, actor: str, devices: Sequence[str], key: bytes, life: timedelta
) -> dict[str, str]:
    made = {device: new_code() for device in devices}
    await connection.execute(sql.gate_codes_end, list(devices))
    await connection.execute(
        sql.gate_codes_add, [code_hash(key, c) for c in made.values()], list(made), actor, min(life, CODE_LONGEST)
    )
    return made


def faults(core: Core, gates: Sequence[Gate]) -> list[tuple[int, Text]]:
    """What is wrong with a list of gates, by place in it; empty: nothing the list alone can tell."""
    found: list[tuple[int, Text]] = []
    names, serials = Counter(g.id for g in gates), Counter((g.family, g.serial) for g in gates if g.serial)
    schools = {s.code for s in core.directory.all()}
    for place, g in enumerate(gates):
        if not ID.match(g.id) or g.id in RESERVED:
            found.append((place, Text(f"Mã cổng không hợp lệ: {g.id[:60]!r}", f"Not a gate's name: {g.id[:60]!r}")))
        if names[g.id] > 1:
            found.append((place, Text(f"Mã cổng lặp lại: {g.id[:60]}", f"The name is given twice: {g.id[:60]}")))
        if g.serial and serials[g.family, g.serial] > 1:
            found.append((place, Text(f"Số sê-ri lặp lại: {g.serial[:60]}", f"The serial is given twice: {g.serial[:60]}")))  # fmt: skip
        if g.school not in schools:
            found.append((place, Text(f"Không có trường {g.school[:40]!r}", f"There is no school {g.school[:40]!r}")))
        if (wrong := gate_ids.fault(g.person_ids)) is not None:
            found.append((place, wrong))
        if g.direction not in DIRECTIONS:
            found.append((place, Text(f"Chiều không hợp lệ: {g.direction[:20]!r}", f"Not a direction: {g.direction[:20]!r}")))  # fmt: skip
        if not g.entrance or len(g.entrance) > 120 or not g.title or len(g.title) > 120:
            found.append((place, Text("Thiếu tên cổng hoặc lối vào, hoặc quá dài", "Title or entrance is missing, or too long")))  # fmt: skip
    return found


async def register(
    core: Core, actor: str, gates: Sequence[Gate], seal: Seal, key: bytes, life: timedelta = CODE_LIFE
) -> dict[str, str]:
    """Register new gates, all or none; gives each its one-time code. `key`: for the hash of codes.

    Raises `GateRefused`: one is known, its serial is another's, its name an account's. See `faults` for what to check before.
    """
    ordered = sorted(gates, key=lambda g: g.id)
    names = [g.id for g in ordered]
    async with core.pool.acquire() as connection, connection.transaction():
        known = [r["id"] for r in await connection.fetch(sql.gates_known, names)]
        if known:
            shown = ", ".join(sorted(known)[:5])
            raise GateRefused("known", f"Đã đăng ký: {shown} ({len(known)})", f"Registered already: {shown} ({len(known)})")  # fmt: skip
        if taken := await gate_ids.taken(connection, {g.id: g.person_ids for g in ordered}):
            raise GateRefused("namespace", taken.vi, taken.en)
        sources = {r["name"]: r["id"] for r in await connection.fetch(sql.fleet_sources, names)}
        # Until it enrols nobody knows its secret.
        sealed = [seal(new_secret().encode(), name.encode()) for name in names]
        fields = ("id", "family", "profile", "title", "school", "entrance", "direction", "zone")
        columns = [[getattr(g, field) for g in ordered] for field in fields]
        more = sealed, [None] * len(names), [gate_ids.namespace_of(g.person_ids, g.id) for g in ordered]
        await connection.execute(sql.fleet_add, [sources[n] for n in names], *columns, *more)
        try:
            await connection.execute(sql.gates_describe, names, [g.serial for g in ordered], [g.model for g in ordered])
        except Exception as error:
            raise _serial_taken(error) from error
        data = [{k: v for k, v in msgspec.to_builtins(g).items() if k != "id" and v} for g in ordered]
        await _history(core, connection, names, actor, "registered", data)
        codes = await _codes(connection, actor, names, key, life)
    core.on_commit("devices")
    return codes


def _serial_taken(error: Exception) -> Exception:
    if getattr(error, "constraint_name", None) != "devices_serial":
        return error
    return GateRefused(
        "serial", "Số sê-ri đang thuộc một cổng khác.", "The serial belongs to another gate that is in use."
    )


async def new_codes(
    core: Core, actor: str, devices: Sequence[str], key: bytes, life: timedelta = CODE_LIFE, why: str = ""
) -> dict[str, str]:
    """New one-time codes; those the gates had end. Raises `GateRefused` for gates that are not in use."""
    names = sorted(set(devices))
    async with core.pool.acquire() as connection, connection.transaction():
        active = {r["id"] for r in await connection.fetch(sql.gates_known, names) if r["state"] == "active"}
        if missing := [n for n in names if n not in active]:
            raise _unknown(missing[0])
        codes = await _codes(connection, actor, names, key, life)
        await _history(core, connection, names, actor, "code", [because(why) for _ in names])
    return codes


async def enrol(core: Core, code: str, key: bytes, seal: Seal, serial: str | None = None) -> Credential | None:
    """Use a one-time code up: a new secret for its gate, told here and never again. None: no such code, used, expired,
    or its gate has another serial or is revoked; nobody is told which, and then the code is not used up."""
    async with core.pool.acquire() as connection, connection.transaction():
        device = await connection.fetchval(sql.gate_code_use, code_hash(key, code))
        row = await connection.fetchrow(sql.gate_lock, device) if device else None
        told = row["serial"] if row and serial is None else serial
        if row is None or row["state"] != "active" or (row["serial"] and row["serial"] != told):
            if device is not None:
                raise _Undo
            return None
        credential = await _give(connection, row, seal, timedelta(0))
        await _history(core, connection, [device], f"gate {device}", "enrolled", [{"generation": row["generation"]}])
    core.on_commit("devices")
    return credential


class _Undo(Exception):
    """Rolls a transaction back: the code was right and what came with it was not."""


async def enrolled(core: Core, code: str, key: bytes, seal: Seal, serial: str | None = None) -> Credential | None:
    """`enrol`, with every refusal the same."""
    try:
        return await enrol(core, code, key, seal, serial)
    except _Undo:
        return None


async def _give(connection: Connection, row: Any, seal: Seal, overlap: timedelta) -> Credential:
    secret = new_secret()
    done = await connection.fetchrow(sql.gate_secret_set, row["id"], seal(secret.encode(), row["id"].encode()), overlap)
    await connection.execute(sql.gate_list_tell, row["id"])
    return Credential(
        row["id"], row["family"], row["school"], username(row["id"], done["generation"]), secret, done["old_until"]
    )


async def _active(connection: Connection, device: str) -> Any:
    row = await connection.fetchrow(sql.gate_lock, device)
    if row is None or row["state"] != "active":
        raise _unknown(device)
    return row


def _unknown(device: str) -> GateRefused:
    return GateRefused(
        "unknown", f"Không có cổng đang dùng {device[:60]!r}", f"There is no gate in use {device[:60]!r}"
    )


async def rotate(core: Core, actor: str, device: str, seal: Seal, overlap: timedelta, why: str = "") -> Credential:
    """Give a gate a new secret; the present one opens for `overlap` longer. Raises `GateRefused`."""
    async with core.pool.acquire() as connection, connection.transaction():
        row = await _active(connection, device)
        credential = await _give(connection, row, seal, max(timedelta(0), min(overlap, OVERLAP_LONGEST)))
        await _history(core, connection, [device], actor, "rotated", [{"old_until": credential.old_until, "why": why}])
    core.on_commit("devices")
    return credential


async def sign(core: Core, actor: str, devices: Sequence[str], sealed: bytes | None, why: str = "") -> None:
    """Say what the vendor of these gates signs its calls with, sealed for `SIGNING`; None: nothing any more. Rotations of the
    gates' own secrets leave it as it is. Raises `GateRefused` when one is not in use; then none was changed."""
    names = sorted(set(devices))
    async with core.pool.acquire() as connection, connection.transaction():
        done = {r["id"] for r in await connection.fetch(sql.gates_sign, names, sealed)}
        if missing := [n for n in names if n not in done]:
            raise _unknown(missing[0])
        await _history(core, connection, names, actor, "signing", [because(why) | {"set": bool(sealed)}] * len(names))
    core.on_commit("devices")


async def move(
    core: Core, actor: str, device: str, school: str, entrance: str, direction: str, since: datetime, why: str
) -> None:
    """A gate stands somewhere else since (or from) a moment: what happened before it stays where it happened. Raises
    `GateRefused`."""
    if school not in {s.code for s in core.directory.all()}:
        raise GateRefused("school", f"Không có trường {school[:40]!r}", f"There is no school {school[:40]!r}")
    if direction not in DIRECTIONS or not 0 < len(entrance) <= 120:
        raise GateRefused("place", "Lối vào hoặc chiều không hợp lệ.", "The entrance or the direction does not fit.")
    async with core.pool.acquire() as connection, connection.transaction():
        row = await _active(connection, device)
        await connection.execute(sql.gate_place_first, device, actor, "")
        await connection.execute(sql.gate_place_add, device, school, entrance, direction, since, actor, why)
        await connection.fetch(sql.gates_settle, device)
        before = {"from": row["school"], "from_entrance": row["entrance"]}
        data = {**before, "school": school, "entrance": entrance, "direction": direction, "since": since, "why": why}
        await _history(core, connection, [device], actor, "moved", [data])
    core.on_commit("devices")


async def replace(
    core: Core, actor: str, device: str, new: str, serial: str | None, model: str, seal: Seal, key: bytes, why: str
) -> str:
    """A new device takes a gate's place; the old one is revoked and keeps its history. Gives the new one's code. Whose numbers
    it tells: `gate_ids.handed_on`. Raises `GateRefused`."""
    if not ID.match(new) or new in RESERVED:
        raise GateRefused("name", "Mã cổng mới không hợp lệ.", "The new gate's name does not fit.")
    async with core.pool.acquire() as connection, connection.transaction():
        row = await _active(connection, device)
        if await connection.fetch(sql.gates_known, [new]):
            raise GateRefused("known", f"Đã đăng ký: {new}", f"Registered already: {new}")
        await connection.fetch(sql.gates_revoke, [device])
        await connection.execute(sql.gate_codes_end, [device])
        (source,) = await connection.fetch(sql.fleet_sources, [new])
        place = [[row[name]] for name in ("family", "profile", "title", "school", "entrance", "direction", "zone")]
        sealed = seal(new_secret().encode(), new.encode())
        space = await gate_ids.handed_on(connection, row["namespace"], device, new)
        if taken := await gate_ids.taken(connection, {new: (word := gate_ids.said(space, new))}):
            raise GateRefused("namespace", taken.vi, taken.en)
        await connection.execute(sql.fleet_add, [source["id"]], [new], *place, [sealed], [row["signing"]], [space])
        try:
            await connection.execute(sql.gates_describe, [new], [serial], [model])
        except Exception as error:
            raise _serial_taken(error) from error
        await connection.execute(sql.gate_replaced, device, new)
        await _history(core, connection, [device], actor, "replaced", [{"by": new, "why": why}])
        await _history(core, connection, [new], actor, "registered", [{"replaces": device, "serial": serial, "model": model, "person_ids": word}])  # fmt: skip
        codes = await _codes(connection, actor, [new], key, CODE_LIFE)
    core.on_commit("devices")
    return codes[new]


async def revoke(core: Core, actor: str, devices: Sequence[str], why: str) -> list[str]:
    """Take gates' credentials away, at once and for good; gives those that had any. Whoever lets gates in hears the bell."""
    async with core.pool.acquire() as connection, connection.transaction():
        done = sorted(r["id"] for r in await connection.fetch(sql.gates_revoke, sorted(set(devices))))
        if done:
            await connection.execute(sql.gate_codes_end, done)
            await _history(core, connection, done, actor, "revoked", [{"why": why} for _ in done])
    core.on_commit("devices")
    return done


async def settle(core: Core) -> int:
    """Bring about what time has brought: moves, the end of old secrets and of traces. Repeating it changes nothing."""
    async with core.pool.acquire() as connection:
        moved = await connection.fetch(sql.gates_settle, None)
        ended = await connection.fetch(sql.gates_old_secrets_end)
        await connection.execute(sql.gate_traces_forget)
    if moved or ended:
        core.on_commit("devices")
    return len(moved) + len(ended)


async def history(core: Core, device: str) -> tuple[list[Any], list[Any]]:
    """A gate's history, newest first, and the places it stood at."""
    async with core.pool.acquire() as connection:
        lines = await connection.fetch(sql.gate_history_of, device)
        return list(lines), list(await connection.fetch(sql.gate_places_of, device))


# ------------------------------------------------------------------------------------------------ traces


async def trace(core: Core, actor: str, device: str, purpose: str, length: timedelta, most: int = TRACE_LINES) -> int:
    """Begin to note what a gate sends, for at most an hour and `most` lines; one that runs ends. Raises `GateRefused`."""
    async with core.pool.acquire() as connection, connection.transaction():
        await _active(connection, device)
        await connection.execute(sql.gate_trace_stop, device)
        number: int = await connection.fetchval(
            sql.gate_trace_start, device, actor, purpose, min(length, TRACE_LONGEST), most
        )
        await _history(core, connection, [device], actor, "traced", [{"purpose": purpose, "trace": number}])
    core.on_commit("devices")
    return number


async def stop_trace(core: Core, device: str) -> None:
    """End a gate's trace now."""
    async with core.pool.acquire() as connection:
        await connection.execute(sql.gate_trace_stop, device)
    core.on_commit("devices")


async def traced(core: Core, lines: Sequence[tuple[int, datetime, dict[str, Any]]]) -> None:
    """Add lines `(trace, at, what)` to traces that still run. May be lost."""
    async with core.pool.acquire() as connection:
        columns = [x[0] for x in lines], [x[1] for x in lines], [_json(x[2]) for x in lines]
        await connection.execute(sql.gate_trace_lines_add, *columns)


async def latest_trace(core: Core, device: str) -> tuple[Any, list[Any]] | None:
    """A gate's newest trace and its lines, newest first; None when there is none that is kept."""
    async with core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.gate_trace_latest, device)
        return None if row is None else (row, list(await connection.fetch(sql.gate_trace_lines_of, row["id"])))
