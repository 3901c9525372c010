"""The Ministry's data centre: batches of versioned records pushed as JSON.

One concern: canonical deliveries to the record contract (`idbanghi`, `sukien`, `phienban` …) and answers back. It must
never open a socket, read a clock or hold a token. What the Ministry has not published stands in the profile.

A push is idempotent by contract: the receiver ignores a version not above the one it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson

from adapters.kit import everyone, http_outcome, item_of, json_object
from adapters.ministry.answers import Answers, by_id
from adapters.ministry.holdings import Holdings
from hub.kernel.ports import Call, Outgoing, Pulled, Reading, Receipt, Reply, Settlement, Unknown

JSON = "application/json; charset=utf-8"


class Ministry:
    """Adapter for the Ministry. `settings`: `province_code`, `source`; `profile`: paths, tables, result codes."""

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        """Raises KeyError or ValueError when the profile lacks what it must say."""
        self._province = settings["province_code"]
        self._source = settings["source"]
        self._tables: dict[str, str] = profile["tables"]
        self._push_path: str = profile["push_path"]
        self._inquiry_path: str = profile["inquiry_path"]
        self._batch_max = int(profile["batch_max"])
        self._zone = ZoneInfo(profile["timezone"])
        self._answers = Answers(profile)
        self._holdings = Holdings(profile["listing"], profile["tables"], profile["accepted"])
        self.pulls: Sequence[str] = self._holdings.names

    def render(self, batch: Sequence[Outgoing]) -> list[Call]:
        """One call per table and at most `batch_max` records; one key at most once per call, so answers are clear.

        Raises ValueError for a record type without a table: a flow that routes it here is wrong.
        """
        return [self._call(table, chunk) for table, chunk in self._chunks(batch)]

    def _chunks(self, batch: Sequence[Outgoing]) -> Iterator[tuple[str, list[Outgoing]]]:
        open_chunks: dict[str, tuple[list[Outgoing], set[str]]] = {}
        for one in batch:
            table = self._tables.get(one.type)
            if table is None:
                raise ValueError(f"ministry: không có bảng cho loại / no table for record type {one.type!r}")
            chunk, keys = open_chunks.setdefault(table, ([], set()))
            if one.key in keys or len(chunk) >= self._batch_max:
                yield table, chunk
                chunk, keys = open_chunks[table] = ([], set())
            chunk.append(one)
            keys.add(one.key)
        for table, (chunk, _) in open_chunks.items():
            yield table, chunk

    def _call(self, table: str, chunk: list[Outgoing]) -> Call:
        body = {"matinh": self._province, "nguon": self._source, "banghi": [self._record(one) for one in chunk]}
        return Call(
            operation="push",
            deliveries=tuple(one.delivery for one in chunk),
            body=orjson.dumps(body),
            content_type=JSON,
            idempotent=True,
            path=self._push_path.format(table=table),
            headers={"Accept": "application/json"},
            key=chunk[0].key,
            meta={"table": table, "items": [[one.delivery, one.key, one.version, one.attempt] for one in chunk]},
        )

    def _record(self, one: Outgoing) -> dict[str, Any]:
        at = one.updated_at.astimezone(self._zone).strftime("%Y-%m-%dT%H:%M:%S")
        envelope = {
            "idbanghi": one.key,
            "sukien": one.event,
            "phienban": one.version,
            "thoigiancapnhat": at,
            "ngaycapnhat": at[:10],
        }
        # The envelope twice: first for its place, again so that no mapped field can stand in for it.
        return envelope | one.mapped | envelope

    def read(self, call: Call, reply: Reply) -> Reading:
        """Every item of the answer by `idbanghi`; an item missing or told in two ways is Unknown.

        Where a learner sent under a temporary code was given a lasting one, that is a record of its own.
        """
        whole = http_outcome(call, reply, "ministry")
        if whole is not None:
            return everyone(call, whole)
        answer = json_object(reply.body)
        rows = answer.get("ketqua") if answer is not None else None
        if answer is None or not isinstance(rows, list | None):
            return everyone(call, Unknown(reason="unreadable_answer"))
        if not rows:
            return everyone(call, self._answers.whole(reply, answer))
        told, reading = by_id(rows), Reading()
        sent: list[dict[str, Any]] = []
        for place, (delivery, key, version, attempt) in enumerate(call.meta["items"]):
            said = told.get(key)
            if said is None:
                unknown = "missing_from_answer" if key not in told else "answered_twice"
                reading.outcomes[delivery] = Unknown(reason=unknown)
                continue
            if not sent and not self._answers.plain(said):
                sent = _sent(call)  # only where what was sent says something about the answer
            record = sent[place] if sent else {}
            outcome = reading.outcomes[delivery] = self._answers.item(record, said, version, attempt)
            if isinstance(outcome, Receipt) and call.meta["table"] == self._tables.get("learner"):
                reading.records += self._answers.code_given(record, said)
        return reading

    def inquire(self, delivery: int, call: Call) -> Call:
        """Ask which version of the record the Ministry holds. Raises KeyError when the call has no such delivery."""
        _, (_, key, version, _) = item_of(call, delivery)
        path = self._inquiry_path.format(table=call.meta["table"], id=quote(key, safe=""))
        return Call(
            operation="inquire",
            deliveries=(delivery,),
            body=b"",
            content_type=JSON,
            idempotent=True,
            method="GET",
            path=path,
            headers={"Accept": "application/json"},
            key=key,
            meta={"id": key, "version": version},
        )

    def pull(self, what: str, cursor: str | None, at: datetime) -> Call:
        """The first page of what is held of a type, `holds:<type>`. Raises KeyError for a name that is not in `pulls`."""
        return self._holdings.question(what, cursor)

    def pulled(self, what: str, call: Call, reply: Reply) -> Pulled:
        """A page of what is held: a draft each, whose body is `{version, content, group}`; none of it is a record to store."""
        return self._holdings.page(what, reply, call)

    def settle(self, inquiry: Call, reply: Reply) -> Settlement:
        """Present when the version held is ours or higher; absent when it is lower or there is none."""
        return self._answers.settled(inquiry, reply)


def _sent(call: Call) -> list[dict[str, Any]]:
    """The records of a call, as they were sent."""
    records: list[dict[str, Any]] = orjson.loads(call.body)["banghi"]
    return records
