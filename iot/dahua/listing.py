"""Dahua access controllers: their records, asked for by time (`recordFinder`).

One concern: this family's words. Pure. It must never trust the device to keep to the span it was asked for, keep a
picture's address, or go on asking one that gives the same records again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hub.kernel.ports import Call, Reply
from iot import profiles
from iot.clock import read_epoch_ms
from iot.fields import digest, number, text
from iot.listing import Listed, Span, circling, refused, unreadable
from iot.web import Item, Passage, checkin, configured, zone_of

PROFILES = profiles.load(Path(__file__).parent)

_LINE = re.compile(r"records\[(\d{1,5})\]\.([A-Za-z]{1,40})=(.*)")
_FOUND = re.compile(r"(?:^|\n)found=(\d{1,6})\s")
_KEPT = frozenset({"recno", "userid", "cardno", "createtime", "status", "type", "method", "door", "errorcode"})
_MOST = 5_000


class DahuaList:
    """See `iot.listing.Lister`. A place is `{start, last}`: seconds since 1970 from which the next page is asked, and a
    digest of the page before."""

    name = "dahua"
    exact = True

    def ask(self, owner: Mapping[str, Any], span: Span, place: Mapping[str, Any] | None) -> Call:
        """Records from the place on, oldest first as far as firmware goes."""
        settings = PROFILES.get(owner.get("profile")).settings
        query = f"StartTime={_start(span, place)}&EndTime={int(span.end.timestamp())}&count={settings['list_page']}"
        return Call(
            operation="list",
            deliveries=(),
            body=b"",
            content_type="",
            idempotent=True,
            method="GET",
            path=f"cgi-bin/recordFinder.cgi?action=find&name=AccessControlCardRec&{query}",
        )

    def read(
        self,
        owner: Mapping[str, Any],
        span: Span,
        place: Mapping[str, Any] | None,
        reply: Reply,
        tree: Any,
        received_at: datetime,
        devices: Mapping[str, Mapping[str, Any]],
    ) -> Listed:
        """One page. Some firmware ignores the dates: what is outside the span is left out here, and a full page that
        leads no further ends the run with a fault, for what is newer would never be seen."""
        if (fault := refused(reply.status)) is not None:
            return Listed(fault=fault)
        body = reply.body.decode("utf-8", "replace").replace("\r\n", "\n")
        records = _records(body)
        if not records and not _FOUND.search(body + "\n"):
            return Listed(fault=unreadable())
        settings = PROFILES.get(owner.get("profile")).settings
        page = Listed()
        if len(records) >= settings["list_page"]:
            last = digest(*(f"{r.get('recno', '')}@{r.get('createtime', '')}" for r in records))
            newest = max((int(t) for r in records if (t := number(r.get("createtime"))) is not None), default=0)
            if (place is not None and place.get("last") == last) or newest <= _start(span, place):
                return Listed(fault=circling())
            if newest < span.end.timestamp():
                page.next = {"start": newest, "last": last}
        name = text(owner.get("id"), 64)
        for record in records:
            if (item := _passage(name, record, span, received_at, owner, settings)) is not None:
                page.items.append((name, item))
        return page

    def settled(self, owner: Mapping[str, Any], hub: str) -> Call | None:
        """It pushes nowhere."""
        return None


def _start(span: Span, place: Mapping[str, Any] | None) -> int:
    start = (place or {}).get("start")
    return start if isinstance(start, int) else int(span.start.timestamp())


def _records(body: str) -> list[dict[str, str]]:
    """`records[0].UserID=…` lines as records in their order; names in lower case."""
    found: dict[int, dict[str, str]] = {}
    for line in body.split("\n"):
        if (match := _LINE.fullmatch(line)) and match[2].lower() in _KEPT and len(found) <= _MOST:
            found.setdefault(int(match[1]), {})[match[2].lower()] = text(match[3], 80)
    return [found[index] for index in sorted(found)]


def _passage(
    name: str,
    record: Mapping[str, str],
    span: Span,
    received_at: datetime,
    owner: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Item | None:
    raw, seconds = record.get("createtime", ""), number(record.get("createtime"))
    moment = read_epoch_ms(int(seconds * 1000)) if seconds is not None else None
    if moment is not None and not span.start <= moment < span.end:
        return None
    person, status = record.get("userid", ""), record.get("status", "")
    passage = Passage(
        raw_time=raw,
        time=moment,
        zone=zone_of(owner, settings),
        dedupe=digest(name, record.get("recno", ""), person, raw),
        live=False,
        person=person,
        direction=settings["directions"].get(record.get("type", "").lower()) or configured(owner),
        method=settings["methods"].get(record.get("method", ""), "unknown"),
        verify="allowed" if not status or status in settings["passed"] else "refused",
    )
    kept = "\n".join(f"{key}={value}" for key, value in sorted(record.items()))
    return Item(decoded=checkin(owner, passage, received_at), body=kept.encode())


LIST = DahuaList()
