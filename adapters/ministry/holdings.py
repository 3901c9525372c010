"""The Ministry's listing of what it holds: a page's question and what its answer says, record by record.

One concern: that conversation, by the profile's `listing`. It must never raise for any answer, nor take a page that leads back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from adapters.kit import CONTRACT, code_of, http_outcome, json_object, text_of
from hub.kernel.ports import Call, Draft, NeedsPerson, Pulled, Reject, Reply, Text, Unknown

_PREFIX = "holds:"
_UNTIMED = datetime(1970, 1, 1, tzinfo=UTC)
"""A listing does not say when."""
_WRONG = Text("Dòng danh sách không đọc được.", "The listed row cannot be read.")


class Holdings:
    """`listing` of the profile: `path` with `{table}`, `page`."""

    def __init__(self, listing: Mapping[str, Any], tables: Mapping[str, str], accepted: Iterable[str]) -> None:
        """Raises KeyError when the profile lacks what it must say."""
        self._path: str = listing["path"]
        self._size = int(listing["page"])
        self._tables = {_PREFIX + record_type: (record_type, table) for record_type, table in tables.items()}
        self._accepted = frozenset(accepted)
        self.names = tuple(sorted(self._tables))

    def question(self, what: str, cursor: str | None) -> Call:
        """The page behind the record `cursor`. Raises KeyError for an unknown name."""
        _, table = self._tables[what]
        after = f"&sau={quote(cursor, safe='')}" if cursor else ""
        return Call(
            operation="list", deliveries=(), body=b"", content_type="application/json; charset=utf-8", idempotent=True, method="GET",
            path=f"{self._path.format(table=table)}?soluong={self._size}{after}", headers={"Accept": "application/json"}, key=what,
            meta={"after": cursor},
        )  # fmt: skip

    def page(self, what: str, reply: Reply, call: Call) -> Pulled:
        """The rows of an answer; `cursor` and `next` while it says there are more."""
        whole = http_outcome(call, reply, "ministry")
        if whole is not None:
            return Pulled(fault=whole)
        answer = json_object(reply.body)
        rows = answer.get("banghi") if answer is not None else None
        if answer is None or reply.status >= 400 or code_of(answer.get("ma")) not in self._accepted:
            if answer is not None and 400 <= reply.status < 500:
                said = text_of(answer.get("thongbao"))
                return Pulled(fault=NeedsPerson(cause="contract_refused", subject=said or "listing", message=CONTRACT))
            return Pulled(fault=Unknown(reason="unreadable_answer"))
        following = answer.get("tiep")
        if not isinstance(rows, list) or not isinstance(following, str | None):
            return Pulled(fault=Unknown(reason="unreadable_answer"))
        if following is not None and (not rows or following <= (call.meta["after"] or "")):
            # It would be asked for the same again, for ever.
            return Pulled(fault=Unknown(reason="listing_does_not_advance"))
        record_type, _ = self._tables[what]
        page = Pulled(cursor=following, next=self.question(what, following) if following is not None else None)
        for n, row in enumerate(rows):
            read = _row(record_type, row, f"/banghi/{n}")
            (page.drafts if isinstance(read, Draft) else page.rejects).append(read)  # type: ignore[arg-type]
        return page


def _row(record_type: str, row: Any, pointer: str) -> Draft | Reject:
    told = row if isinstance(row, dict) else {}
    key, version, content = told.get("idbanghi"), told.get("phienban"), told.get("mabam")
    fine = isinstance(key, str) and 0 < len(key) <= 200 and "\0" not in key
    if not fine or type(version) is not int or not 0 < version < 2**31 or not _is_hash(content):
        return Reject(pointer=pointer, code="unreadable", message=_WRONG, key=key if fine else None)
    body = {"version": version, "content": content, "group": text_of(told.get("malop"), 50)}
    school = text_of(told.get("matruong"), 20) or None
    return Draft(type=record_type, key=str(key), body=body, updated_at=_UNTIMED, school=school, pointer=pointer)


def _is_hash(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) == 32 and len(bytes.fromhex(value)) == 16
    except ValueError:
        return False
