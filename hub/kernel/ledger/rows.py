"""The rows of one intake and the writing of them: a few in one statement, many by COPY.

One concern: getting rows into tables in as few round trips as their number deserves. It must never decide what a row
says, nor be called outside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from hub.kernel.store.db import Connection, sql

MESSAGE_COLUMNS = (
    "id", "class", "source", "type", "school", "content_type", "digest", "body", "removed", "attributes", "upload", "chunk",
    "duplicate_of", "outcome", "items", "rejected", "records",
)  # fmt: skip
RESULT_COLUMNS = ("message", "class", "outcome", "items", "rejected", "records")
REJECT_COLUMNS = ("message", "class", "pointer", "code", "key", "text")
JOURNAL_COLUMNS = ("id", "class", "actor", "kind", "connector", "subject", "ids", "data")
LEAVED_COLUMNS = (*JOURNAL_COLUMNS, "leaves")
"""Of entries that speak of many: with the hashes their root is made of."""
RECORD_COLUMNS = (
    "id", "class", "message", "pointer", "type", "key", "event", "version", "updated_at", "school", "body", "content",
    "catalogue", "disposition", "due",
)  # fmt: skip
STREAM_COLUMNS = ("type", "key", "version", "event", "content", "identity", "record", "school")
DELIVERY_COLUMNS = (
    "id", "record", "connector", "class", "state", "order_key", "rank", "due_at", "flow", "key", "school", "cause",
    "replay_of",
)  # fmt: skip

FEW = 64
"""Up to here one statement with arrays is cheaper than a COPY for each table; above it COPY is, ever more so."""


NO_PASSAGES: tuple[Any, ...] = ([],) * 16
"""`Rows.passages` of nothing, as statements take it."""


class Rows(Struct):
    """What one transaction of intake writes, table by table, in the tables' columns."""

    messages: list[tuple[Any, ...]] = field(default_factory=list)
    results: list[tuple[Any, ...]] = field(default_factory=list)
    """What became of messages that were stored before."""
    rejects: list[tuple[Any, ...]] = field(default_factory=list)
    inbox: list[tuple[Any, ...]] = field(default_factory=list)
    journal: list[tuple[Any, ...]] = field(default_factory=list)
    records: list[tuple[Any, ...]] = field(default_factory=list)
    new_streams: list[tuple[Any, ...]] = field(default_factory=list)
    streams: list[tuple[Any, ...]] = field(default_factory=list)
    """Streams that are there already and move on."""
    deliveries: list[list[Any]] = field(default_factory=list)
    passages: tuple[Any, ...] = ()
    """What is kept of check-ins beside their records (`Sieve.rows`)."""

    async def write(self, connection: Connection) -> None:
        """Write everything. The order keys and entities spoken of must be locked."""
        if max(len(self.messages), len(self.records), len(self.deliveries)) <= FEW:
            await connection.execute(
                sql.intake_write, self.messages, self.journal, self.records, [*self.new_streams, *self.streams],
                [tuple(d) for d in self.deliveries], *(self.passages or NO_PASSAGES),
            )  # fmt: skip
            many: tuple[tuple[str, Sequence[Any], tuple[str, ...]], ...] = ()
        else:
            if self.passages:
                await connection.execute(sql.passages_write, *self.passages)
            if self.streams:
                await connection.execute(sql.streams_write, self.streams)
            many = (
                ("records", self.records, RECORD_COLUMNS),
                ("streams", self.new_streams, STREAM_COLUMNS),
                ("deliveries", self.deliveries, DELIVERY_COLUMNS),
                ("messages", self.messages, MESSAGE_COLUMNS),
                ("journal", self.journal, LEAVED_COLUMNS),
            )
        for table, rows, columns in (
            *many,
            ("message_results", self.results, RESULT_COLUMNS),
            ("rejects", self.rejects, REJECT_COLUMNS),
            ("inbox", self.inbox, ("message", "class")),
        ):
            if rows:
                await connection.copy_records_to_table(table, records=rows, columns=columns)
