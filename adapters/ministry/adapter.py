"""The Ministry's data centre: batches of versioned records pushed as JSON.

One concern: canonical deliveries to the record contract (`idbanghi`, `sukien`, `phienban` …) and answers back. It must
never open a socket, read a clock or hold a token. What the Ministry has not published stands in the profile.

A push is idempotent by contract: the receiver ignores a version not above the one it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson

from adapters.kit import CONTRACT, code_of, http_outcome, json_object, judged, text_of
from hub.kernel.ports import Call, NeedsPerson, Outcome, Outgoing, Reading, Receipt, Reply, Settlement, Text, Unknown

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
        self._accepted = frozenset(profile["accepted"])
        self._held = frozenset(profile["already_held"])
        self._refusals: dict[str, dict[str, Any]] = profile["refusals"]
        self._patience = int(profile["dependency_patience"])
        self._absent_code: str = profile["absent_code"]

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
        """Every item of the answer by `idbanghi`; an item missing or told in two ways is Unknown."""
        items: list[list[Any]] = call.meta["items"]
        whole = http_outcome(reply, "ministry")
        if whole is not None:
            return _all(call.deliveries, whole)
        answer = json_object(reply.body)
        rows = answer.get("ketqua") if answer is not None else None
        if answer is None or not isinstance(rows, list | None):
            return _all(call.deliveries, Unknown(reason="unreadable_answer"))
        if not rows:
            return _all(call.deliveries, self._refused_whole(reply, answer))
        told = _by_id(rows)
        outcomes: dict[int, Outcome] = {}
        for place, (delivery, key, version, attempt) in enumerate(items):
            said = told.get(key)
            if said is None:
                outcomes[delivery] = Unknown(reason="missing_from_answer" if key not in told else "answered_twice")
            else:
                outcomes[delivery] = self._item(call, place, said, version, attempt)
        return Reading(outcomes=outcomes)

    def _refused_whole(self, reply: Reply, answer: dict[str, Any]) -> Outcome:
        """An answer without items: certain only when it says refusal, by a known code or by HTTP 4xx."""
        code = code_of(answer.get("ma"))
        rule = self._refusals.get(code or "")
        if rule is not None and rule["kind"] != "never":
            return self._by_rule(rule, "ministry", text_of(answer.get("thongbao")))
        if reply.status >= 400:
            return NeedsPerson(
                cause="contract_refused", subject=f"HTTP {reply.status} {code or ''}".strip(), message=CONTRACT
            )
        return Unknown(reason="items_missing_from_answer")

    def _item(self, call: Call, place: int, said: dict[str, Any], version: int, attempt: int) -> Outcome:
        code = code_of(said.get("ma"))
        message = text_of(said.get("thongbao"))
        reference = text_of(said.get("mabiennhan"), 100) or None
        if code in self._accepted:
            return Receipt(reference=reference)
        if code in self._held:
            return Receipt(
                reference=reference, detail=f"already held: version {text_of(said.get('phienban'), 20)} ≥ {version}"
            )
        rule = self._refusals.get(code or "")
        if rule is None:
            return Unknown(reason=f"unlisted result code {code}")
        subject = code or ""
        if wanted := rule.get("subject_field"):
            subject = text_of(orjson.loads(call.body)["banghi"][place].get(wanted), 100) or subject
        elif rule["reason"] == "code_refused":
            subject = message[:100] or subject
        if rule["reason"] == "missing_dependency" and attempt > self._patience:
            rule = rule | {"kind": "person"}
        return self._by_rule(rule, subject, message)

    @staticmethod
    def _by_rule(rule: dict[str, Any], subject: str, message: str) -> Outcome:
        told = Text(*(rule[lang].replace("{message}", message).replace("{subject}", subject) for lang in ("vi", "en")))
        after, scope = rule.get("after_s"), rule.get("scope", "delivery")
        return judged(rule["kind"], reason=rule["reason"], message=told, subject=subject, after_s=after, scope=scope)

    def inquire(self, delivery: int, call: Call) -> Call:
        """Ask which version of the record the Ministry holds. Raises KeyError when the call has no such delivery."""
        for mine, key, version, _ in call.meta["items"]:
            if mine == delivery:
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
        raise KeyError(delivery)

    def settle(self, inquiry: Call, reply: Reply) -> Settlement:
        """Present when the version held is ours or higher; absent when it is lower or there is none."""
        answer = json_object(reply.body)
        if answer is None or reply.status not in (200, 404):
            return Settlement(verdict="unclear", detail=f"HTTP {reply.status}")
        if reply.status == 404:
            # A 404 without the contract's own code may come from a proxy that knows nothing of the record.
            absent = code_of(answer.get("ma")) == self._absent_code
            return Settlement(verdict="absent" if absent else "unclear")
        version = answer.get("phienban")
        if answer.get("idbanghi") != inquiry.meta["id"] or type(version) is not int:
            return Settlement(verdict="unclear", detail="the answer names another record or no version")
        held = f"version {version}"
        return Settlement(verdict="present" if version >= inquiry.meta["version"] else "absent", detail=held)


def _by_id(rows: Iterable[Any]) -> dict[str, dict[str, Any] | None]:
    """Answer rows by `idbanghi`; None where two rows contradict each other."""
    told: dict[str, dict[str, Any] | None] = {}
    for row in rows:
        key = row.get("idbanghi") if isinstance(row, dict) else None
        if not isinstance(key, str):
            continue
        before = told.get(key, row)
        told[key] = row if before is not None and before.get("ma") == row.get("ma") else None
    return told


def _all(deliveries: Iterable[int], outcome: Outcome) -> Reading:
    return Reading(outcomes=dict.fromkeys(deliveries, outcome))
