"""The national public-service portal: filings and their progress, told as the one-stop service tells them.

One concern: canonical filings to `DongBoHoSoMC` and `CapNhatTienDoHoSoMC`, their answers, and `TraCuuHoSo` for what
stayed uncertain. It must never open a socket or hold a session: `"session"` is put in by the connector's scheme.

A create is not idempotent and goes alone, so that a timeout leaves exactly one filing uncertain; answered "đã tồn tại"
it goes on as an update. An update states the whole filing and may be repeated. A progress notice repeated would stand
twice in the citizen's timeline, so its call is not idempotent either and by default goes alone too: a call is resent
with the very bytes it had, which for a batch half taken would double the other half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from adapters.kit import CONTRACT, code_of, http_outcome, json_object, judged, text_of
from hub.kernel.ports import Call, NeedsPerson, Outcome, Outgoing, Reading, Receipt, Reply, Settlement, Text, Unknown

JSON = "application/json; charset=utf-8"
SYNC, PROGRESS, LOOKUP = "DongBoHoSoMC", "CapNhatTienDoHoSoMC", "TraCuuHoSo"


class PublicService:
    """Adapter for the portal. `settings`: agency, path, notices per call; `profile`: result codes, what agrees."""

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        """Raises KeyError or ValueError when the profile lacks what it must say."""
        self._agency = settings["agency"]
        self._path: str = settings.get("path") or profile["path"]
        self._success = frozenset(profile["success"])
        self._batch_max = min(int(settings.get("progress_batch", 1)), int(profile["progress_limit"]))
        self._cancelled: str = profile["cancel_status"]
        self._agrees: dict[str, list[str]] = {
            "create": profile["create_agrees_in"],
            "update": profile["update_agrees_in"],
        }
        self._progress_list: str = profile["progress_list"]
        self._exists, self._absent = profile["already_exists"], profile["not_found"]
        self._refusals: dict[str, dict[str, Any]] = profile["refusals"]

    # ------------------------------------------------------------------ out

    def render(self, batch: Sequence[Outgoing]) -> list[Call]:
        """A call per filing; progress notices by `progress_batch`, never two of one filing in a call.

        Raises ValueError for other record types: a flow that routes them here is wrong.
        """
        calls: list[Call] = []
        notices: list[Outgoing] = []
        files: set[str] = set()
        for one in batch:
            if one.type == "filing":
                calls.append(self._filing(one))
            elif one.type == "filing_progress":
                number = _number(one)
                if number in files or len(notices) >= self._batch_max:
                    calls.append(self._progress(notices))
                    notices, files = [], set()
                notices.append(one)
                files.add(number)
            else:
                raise ValueError(f"public_service: không nhận loại / does not take record type {one.type!r}")
        if notices:
            calls.append(self._progress(notices))
        return calls

    def _filing(self, one: Outgoing) -> Call:
        data = {"MaHoSo": _number(one)} | one.mapped
        if one.event == "CANCEL":
            data.setdefault("TrangThaiHoSo", self._cancelled)
        return self._sync("create" if one.event == "NEW" else "update", one.delivery, data)

    def _sync(self, operation: str, delivery: int, data: dict[str, Any]) -> Call:
        updating = operation == "update"
        body = {"service": SYNC, "isUpdating": "True" if updating else "False", "data": [data]}
        return self._call(
            operation, (delivery,), body, data["MaHoSo"], {"items": [[delivery, data["MaHoSo"]]]}, updating
        )

    def _progress(self, notices: list[Outgoing]) -> Call:
        data = [{"MaHoSo": _number(one)} | one.mapped for one in notices]
        items = [[one.delivery, row["MaHoSo"]] for one, row in zip(notices, data, strict=True)]
        deliveries = tuple(one.delivery for one in notices)
        return self._call(
            "progress", deliveries, {"service": PROGRESS, "data": data}, items[0][1], {"items": items}, False
        )

    def _call(
        self,
        operation: str,
        deliveries: tuple[int, ...],
        body: dict[str, Any],
        key: str,
        meta: dict[str, Any],
        safe: bool,
    ) -> Call:
        return Call(
            operation=operation,
            deliveries=deliveries,
            body=orjson.dumps({"madonvi": self._agency, **body}),
            content_type=JSON,
            idempotent=safe,
            path=self._path,
            headers={"Accept": "application/json"},
            key=key,
            meta=meta,
        )

    # ------------------------------------------------------------------ back

    def read(self, call: Call, reply: Reply) -> Reading:
        """What the portal did. A create that "already exists" goes on with the update of the same content."""
        whole = http_outcome(reply, "public_service")
        if whole is not None:
            return _all(call.deliveries, whole)
        answer = json_object(reply.body)
        code = code_of(_upper(answer).get("ERROR_CODE")) if answer is not None else None
        if answer is None or code is None:
            return _all(call.deliveries, Unknown(reason="unreadable_answer"))
        rows = _rows(answer)
        if call.operation == "progress" and code in self._success:
            return self._read_progress(call, rows)
        number = call.key or ""
        told = rows if rows and code in self._success else [_upper(answer)]
        if call.operation == "create" and any(self._says(self._exists, row) for row in told):
            data = orjson.loads(call.body)["data"][0]
            return Reading(next=self._sync("update", call.deliveries[0], data))
        if code not in self._success:
            return _all(call.deliveries, self._refused(reply, told[0], number))
        # A single filing's success may come with or without a row that repeats its number.
        said = [self._row({"MAHOSO": number} | row, number) for row in told]
        return _all(call.deliveries, said[0] if all(o == said[0] for o in said) else Unknown(reason="answered_twice"))

    def _read_progress(self, call: Call, rows: list[dict[str, Any]]) -> Reading:
        told: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            told.setdefault(text_of(row.get("MAHOSO")), []).append(row)
        outcomes: dict[int, Outcome] = {}
        for delivery, number in call.meta["items"]:
            mine = [self._row(row, number) for row in told.get(number, ())]
            if not mine:
                outcomes[delivery] = Unknown(reason="missing_from_answer")
            else:
                outcomes[delivery] = mine[0] if all(o == mine[0] for o in mine) else Unknown(reason="answered_twice")
        return Reading(outcomes=outcomes)

    def _row(self, row: dict[str, Any], number: str) -> Outcome:
        """One item of a successful answer; it may still be a refusal, or about another filing."""
        if text_of(row.get("MAHOSO")) != number:
            return Unknown(reason="answer_about_another_filing")
        if (code_of(row.get("ERROR_CODE", "0")) or "") in self._success:
            return Receipt(reference=text_of(row.get("MABIENNHAN"), 100) or number)
        return self._refused(None, row, number)

    def _refused(self, reply: Reply | None, row: dict[str, Any], number: str) -> Outcome:
        code, message = code_of(row.get("ERROR_CODE")), text_of(row.get("MESSAGE"))
        rule = self._refusals.get(code or "")
        if rule is None and self._says(self._absent, row):
            rule = self._refusals.get(self._absent["codes"][0])
        if rule is None:
            if reply is not None and reply.status >= 400:
                return NeedsPerson(cause="contract_refused", subject=f"{code}"[:60], message=CONTRACT)
            return Unknown(reason=f"unlisted error code {code}")
        told = Text(*(rule[lang].replace("{message}", message).replace("{subject}", number) for lang in ("vi", "en")))
        scope = rule.get("scope", "delivery")
        subject = (
            "public_service" if scope == "connector" else message[:100] if rule["reason"] == "code_refused" else number
        )
        return judged(
            rule["kind"], reason=rule["reason"], message=told, subject=subject, after_s=rule.get("after_s"), scope=scope
        )

    def _says(self, sign: Mapping[str, Any], row: dict[str, Any]) -> bool:
        code = code_of(row.get("ERROR_CODE"))
        if code is None or code in self._success:
            return False
        if code in sign["codes"]:
            return True
        return code not in self._refusals and sign["phrase"] in text_of(row.get("MESSAGE")).lower()

    # ------------------------------------------------------------------ what stayed uncertain

    def inquire(self, delivery: int, call: Call) -> Call:
        """`TraCuuHoSo` of the delivery's filing. Raises KeyError when the call has no such delivery."""
        for place, (mine, number) in enumerate(call.meta["items"]):
            if mine == delivery:
                sent = orjson.loads(call.body)["data"][place]
                names = self._agrees.get(call.operation, ["ThoiDiemXuLy", "TrangThai"])
                expect = {name.upper(): sent[name] for name in names if sent.get(name)}
                meta = {"of": call.operation, "number": number, "expect": expect}
                return self._call("inquire", (delivery,), {"service": LOOKUP, "MaHoSo": number}, number, meta, True)
        raise KeyError(delivery)

    def settle(self, inquiry: Call, reply: Reply) -> Settlement:
        """Present when the filing is there with our content; absent when it is not, or still as before our update."""
        answer = json_object(reply.body) if 200 <= reply.status < 300 else None
        if answer is None:
            return Settlement(verdict="unclear", detail=f"HTTP {reply.status}")
        head, number, of = _upper(answer), inquiry.meta["number"], inquiry.meta["of"]
        if self._says(self._absent, head):
            return Settlement(verdict="absent")
        if code_of(head.get("ERROR_CODE")) not in self._success or not isinstance(head.get("RESULT"), list):
            return Settlement(verdict="unclear", detail=f"error_code {code_of(head.get('ERROR_CODE'))}")
        found = [row for row in _rows(answer) if row.get("MAHOSO") == number]
        if not found:
            # Rows about other filings only are no answer to this question. Nor is an empty list where the filing must be
            # there: it was taken before any update or notice of it was sent.
            return Settlement(verdict="unclear" if head["RESULT"] or of != "create" else "absent")
        if of == "progress":
            steps = found[0].get(self._progress_list)
            if not isinstance(steps, list):
                return Settlement(verdict="unclear", detail="no list of progress notices in the answer")
            there = any(_agrees(_upper(step), inquiry.meta["expect"]) for step in steps)
            return Settlement(verdict="present" if there else "absent", reference=number if there else None)
        if _agrees(found[0], inquiry.meta["expect"]):
            return Settlement(verdict="present", reference=number)
        # A create must not overwrite a filing that bears its number but is not ours: a person decides.
        return Settlement(verdict="unclear" if of == "create" else "absent", detail="held with other content")


def _number(one: Outgoing) -> str:
    """The file number: the map gives it; a filing's own key is the same."""
    value = one.mapped.get("MaHoSo") or one.body.get("file_number")
    return value if isinstance(value, str) else one.key


def _upper(row: Any) -> dict[str, Any]:
    """Keys in upper case, as the portal sends those of results; anything but an object is empty."""
    return {key.upper(): value for key, value in row.items()} if isinstance(row, dict) else {}


def _rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    result = _upper(answer).get("RESULT")
    return [_upper(row) for row in result if isinstance(row, dict)] if isinstance(result, list) else []


def _agrees(row: dict[str, Any], expect: Mapping[str, Any]) -> bool:
    return all(text_of(row.get(name)) == text_of(value) for name, value in expect.items())


def _all(deliveries: Iterable[int], outcome: Outcome) -> Reading:
    return Reading(outcomes=dict.fromkeys(deliveries, outcome))
