"""The national public-service portal: filings and their progress, told as the one-stop service tells them.

One concern: canonical filings to `DongBoHoSoMC` and `CapNhatTienDoHoSoMC`, and the calls around them. It must never open a
socket or hold a session: `"session"` is put in by the connector's scheme. Answers are read in `answers`, lists in
`listings`, what the portal tells by itself in `events`.

A create is not idempotent and goes alone, so that a timeout leaves exactly one filing uncertain; answered "đã tồn tại"
it goes on as an update. An update states the whole filing and may be repeated. A progress notice repeated would stand
twice in the citizen's timeline, so its call is not idempotent either and by default goes alone too: a call is resent
with the very bytes it had, which for a batch half taken would double the other half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from adapters.kit import item_of
from adapters.public_service import events
from adapters.public_service.answers import Answers
from adapters.public_service.listings import Listings
from adapters.public_service.shapes import number_of
from hub.kernel.ports import Call, Draft, Inbound, Outgoing, Pulled, Reading, Reject, Reply, Settlement

JSON = "application/json; charset=utf-8"
SYNC, PROGRESS, LOOKUP = "DongBoHoSoMC", "CapNhatTienDoHoSoMC", "TraCuuHoSo"


class PublicService:
    """Adapter for the portal. `settings`: agency, path, notices per call; `profile`: result codes, what agrees."""

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        """Raises KeyError or ValueError when the profile lacks what it must say."""
        self._agency = settings["agency"]
        self._path: str = settings.get("path") or profile["path"]
        self._batch_max = min(int(settings.get("progress_batch", 1)), int(profile["progress_limit"]))
        self._cancelled: str = profile["cancel_status"]
        self._agrees: dict[str, list[str]] = {
            "create": profile["create_agrees_in"],
            "update": profile["update_agrees_in"],
        }
        self._answers = Answers(profile)
        self._listings = Listings(profile["pulls"], profile["paging"], self._agency, self._answers)
        self._events: Mapping[str, Any] = profile["callback"]
        self.pulls: Sequence[str] = tuple(profile["pulls"])

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
                number = number_of(one)
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
        data = {"MaHoSo": number_of(one)} | one.mapped
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
        data = [{"MaHoSo": number_of(one)} | one.mapped for one in notices]
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
        if call.operation == "progress":
            return self._answers.progress(call, reply)
        reading = self._answers.filing(call, reply)
        if reading is not None:
            return reading
        return Reading(next=self._sync("update", call.deliveries[0], orjson.loads(call.body)["data"][0]))

    # ------------------------------------------------------------------ what stayed uncertain

    def inquire(self, delivery: int, call: Call) -> Call:
        """`TraCuuHoSo` of the delivery's filing. Raises KeyError when the call has no such delivery."""
        place, (_, number) = item_of(call, delivery)
        sent = orjson.loads(call.body)["data"][place]
        names = self._agrees.get(call.operation, ["ThoiDiemXuLy", "TrangThai"])
        expect = {name.upper(): sent[name] for name in names if sent.get(name)}
        meta = {"of": call.operation, "number": number, "expect": expect}
        return self._call("inquire", (delivery,), {"service": LOOKUP, "MaHoSo": number}, number, meta, True)

    def settle(self, inquiry: Call, reply: Reply) -> Settlement:
        """Present when the filing is there with our content; absent when it is not, or still as before our update."""
        return self._answers.settled(inquiry, reply)

    # ------------------------------------------------------------------ lists, and what the portal tells by itself

    def pull(self, what: str, cursor: str | None, at: datetime) -> Call:
        """The first page of a list, asked for at `at`. Raises KeyError for a name that is not in `pulls`."""
        body, meta = self._listings.question(what, cursor, at)
        return self._call(what, (), body, what, meta, True)

    def pulled(self, what: str, call: Call, reply: Reply) -> Pulled:
        """A page of a list, and the question for the next one while there is more."""
        page, more = self._listings.page(what, call, reply)
        if more is not None:
            page.next = self._call(what, (), more[0], what, more[1], True)
        return page

    def decode(self, message: Inbound) -> list[Draft | Reject]:
        """What the portal told by itself about filings."""
        return events.decode(message, self._events)
