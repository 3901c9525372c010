"""Rows made in bulk: synthetic learners, and tables filled with INSERT … SELECT.

One concern: data to measure with. What it fills in never goes through the code under measurement.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec

from benchmarks.rig import SCHOOL, Stage
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger.intake import accept
from hub.kernel.lifecycle import State
from hub.kernel.ports import Draft
from mappings.engine import TYPES, parse_item, today_of

_DAY = "((now() AT TIME ZONE 'UTC')::date - date '2020-01-01')::bigint << 37"


def learner(number: int, mark: str = "31", **data: Any) -> dict[str, Any]:
    """One learner as a school sends it: about 700 bytes."""
    full = {
        "learner_code": f"{mark}{number:08d}", "full_name": "Nguyễn Văn Mẫu", "birth_date": "2014-03-05", "sex": "Nam", "ethnicity": "01",
        "nationality": "VN", "school_code": SCHOOL, "class_code": f"6A{number % 9 + 1}", "grade": "6", "school_level": "03", "status": "studying",
        "residence": {"ward": "10507", "detail": f"Số {number % 200 + 1}, phố Ví Dụ"},
        "parents": [{"relation": "mother", "full_name": "Trần Thị Ví Dụ", "phone": "0901000000"}],
    }  # fmt: skip
    return {"event": "NEW", "updated_at": "2026-09-05T08:00:00+07:00", "data": full | data}


def checkin(number: int, mark: str) -> dict[str, Any]:
    """One passage of a gate, as pushed over REST."""
    return {
        "data": {
            "person_code": f"31{number:08d}", "device": "BENCH001", "school_code": SCHOOL,
            "device_time_raw": f"2026-09-05T07:{number // 60 % 60:02d}:{number % 60:02d}.{number:06d}",
            "direction": "in", "method": "face", "verify_status": "allowed",
        }
    }  # fmt: skip


def draft(stage: Stage, record_type: str, item: dict[str, Any]) -> Draft:
    """An item through the parser and the code tables."""
    found = parse_item(record_type, item, "", datetime.now(UTC))
    assert isinstance(found, Draft), found
    stage.core.catalogue.standardise_record(TYPES[record_type], found.body, today_of(found.updated_at))
    return found


def arrivals(stage: Stage, record_type: str, items: list[dict[str, Any]], mark: str) -> list[Arrival]:
    """Single pushes ready for the ledger."""
    source = Source("client", "bench")
    return [
        Arrival(
            source=source, type=record_type, body=msgspec.json.encode(item), content_type="application/json", digest=b"d" * 32,
            key=intake_key(source, mark, str(n)), drafts=[draft(stage, record_type, item)], school=SCHOOL,
        )
        for n, item in enumerate(items)
    ]  # fmt: skip


async def _reserve(stage: Stage, count: int) -> int:
    """The first of `count` ids nobody else will be given."""
    blocks = count // 1000 + 2
    return int(
        await stage.value(
            f"SELECT ({_DAY}) | setval('ids', nextval('ids') + $1::bigint * 1000) - $1::bigint * 1000", blocks
        )
    )


async def ready(
    stage: Stage, connector: int, flow: str, count: int, mark: str, *, state: int = 2, same_order: int = 1,
    parked_heads: bool = False, **data: Any,
) -> None:  # fmt: skip
    """`count` learners' records with one delivery each, in `state` (waiting: for an hour, unless released); `same_order` of them
    share an order key. With `parked_heads` the first of each key is parked, and the others are held behind it."""
    (answer,) = await accept(
        stage.core, arrivals(stage, "learner", [learner(0, f"{mark}t", **data)], f"{mark}-template")
    )
    base = await _reserve(stage, count)
    key, number = f"'{mark}' || lpad(g::text, 8, '0')", "'031214' || lpad(g::text, 6, '0')"
    personal = f", 'personal_number', {number}" if "personal_number" in data else ""
    await stage.owner.execute(
        f"""INSERT INTO records (id, class, message, pointer, type, key, event, version, updated_at, school, body, content, catalogue, disposition, due)
        SELECT {base} + g, class, message, pointer, type, {key}, event, version, updated_at, school,
               body || jsonb_build_object('learner_code', {key}{personal}), content, catalogue, 2, 0
        FROM records, generate_series(0, $2::int - 1) g WHERE message = $1""",
        answer.message, count,
    )  # fmt: skip
    await stage.owner.execute("DELETE FROM deliveries WHERE key = $1", f"{mark}t00000000")
    second = await _reserve(stage, count)
    await stage.owner.execute(
        f"""INSERT INTO deliveries (id, record, connector, class, state, order_key, rank, flow, key, school, cause, due_at)
        SELECT {second} + g, {base} + g, $1, (SELECT class FROM records WHERE id = {base}),
               CASE WHEN $7 AND g % $3::int = 0 THEN {State.PARKED:d} ELSE $2 END, hashtextextended('{mark}' || g / $3::int, 0),
               (extract(epoch FROM now()) * 1e6)::bigint + g, $4, {key}, $5,
               CASE WHEN $7 AND g % $3::int = 0 THEN 'needs_person' WHEN $2 = {State.WAITING:d} THEN 'try_later' ELSE 'routed' END,
               CASE WHEN $2 = {State.WAITING:d} THEN now() + interval '1 hour' END
        FROM generate_series(0, $6::int - 1) g""",
        connector, state, same_order, flow, SCHOOL, count, parked_heads,
    )  # fmt: skip
    await stage.owner.execute("ANALYZE records, deliveries")


async def history(stage: Stage, count: int) -> None:
    """`count` messages of the past with all that belongs to them: keys, results, records, closed deliveries, calls, replies, attempts."""
    base = await _reserve(stage, count)
    i = f"{base} + g"
    series = "FROM generate_series(0, $1::int - 1) g"
    body = """'{"learner_code": "3100000000", "full_name": "Nguyễn Văn Mẫu", "school_code": "31HP0123001"}'"""
    digest = "decode('6464646464646464646464646464646464646464646464646464646464646464', 'hex')"
    statements = [
        f"INSERT INTO intake_keys (digest, message, body_digest) SELECT gen_random_uuid(), {i}, {digest} {series}",
        f"""INSERT INTO messages (id, class, source, type, content_type, digest, body, outcome, items, rejected, records)
        SELECT {i}, 2, 1, 'learner', 'application/json', {digest}, {body}::text::bytea, 4, 1, 0, 1 {series}""",
        f"""INSERT INTO records (id, class, message, pointer, type, key, event, version, updated_at, body, content, catalogue, disposition, due)
        SELECT {i}, 2, {i}, '', 'learner', 'H' || ((g::bigint * 7919) % $1::int), 'NEW', 1, now(), {body}::jsonb, '\\x64', '1', 1, 1 {series}""",
        f"""INSERT INTO streams (type, key, version, event, content, record)
        SELECT 'learner', 'H' || ((g::bigint * 7919) % $1::int), 1, 'NEW', '\\x64', {i} {series} ON CONFLICT DO NOTHING""",
        f"""INSERT INTO deliveries_closed (id, class, seq, record, connector, state, attempts, created_at, flow, key, cause)
        SELECT {i}, 2, g, {i}, 1, 7, 1, now(), 'learners-to-ministry', 'H' || ((g::bigint * 7919) % $1::int), 'receipt' {series}""",
        f"""INSERT INTO attempts (id, class, delivery, call, number, kind, outcome, worker)
        SELECT {i}, 2, {i}, {i}, 1, 'send', 'Receipt', 'bench' {series}""",
        f"""INSERT INTO calls (id, class, connector, operation, deliveries, idempotent, method, path, headers, content_type, meta, digest, body, mapping)
        SELECT {i}, 2, 1, 'push', ARRAY[{i}], true, 'POST', '/', '{{}}', 'application/json', '{{}}', '\\x64', '\\x64', '1' {series}""",
        f"INSERT INTO replies (id, class, call, status, body, elapsed_ms) SELECT {i}, 2, {i}, 200, '\\x64', 1 {series}",
    ]

    async def lane() -> None:
        while statements:
            statement = statements.pop()
            async with stage.owner.acquire() as connection:
                await connection.execute(statement, count, timeout=1800)

    await asyncio.gather(lane(), lane())
    # What the filling left to be written is written now; a database that has run for months has statistics.
    async with stage.owner.acquire() as connection:
        await connection.execute("ANALYZE", timeout=600)
