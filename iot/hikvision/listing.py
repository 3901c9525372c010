"""What a Hikvision terminal holds, asked page by page (`AcsEvent`) by time or by its own serial numbers, and where it is
told to push to (`httpHosts`).

One concern: those two conversations. Pure. It must never ask for a picture, keep a picture's address or a link's
password, or go on asking a terminal that gives pages again it gave before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import orjson

from hub.kernel.ports import Call, Numbers, Reply
from iot.clock import zone
from iot.fields import digest, lowered, number, pick, text
from iot.hikvision.body import without_credentials
from iot.hikvision.decode import PROFILES, passage_of
from iot.listing import Listed, Span, circling, onward, overlong, refused, unheeded, unreadable
from iot.web import zone_of

_PICTURE = re.compile(r"picture|pic$|url|image", re.IGNORECASE)
_MOST = 2_000
"""More entries in one answer are more than a terminal's page can hold."""


class HikvisionList:
    """See `iot.listing.Lister` and `NumberLister`. A place is `{position}`, entries read so far, with what `onward`
    remembers."""

    name = "hikvision"
    exact = True

    def ask(self, owner: Mapping[str, Any], span: Span, place: Mapping[str, Any] | None) -> Call:
        """`AcsEvent` from the place on. `searchID` is the same for every page of a span, also after a restart."""
        settings = PROFILES.get(owner.get("profile")).settings
        here = zone(zone_of(owner, settings))
        start, end = (t.astimezone(here).isoformat(timespec="seconds") for t in (span.start, span.end))
        name = text(owner.get("id"), 64)
        return _question(settings, place, {"searchID": digest(name, start, end), "startTime": start, "endTime": end})

    def ask_numbers(self, owner: Mapping[str, Any], numbers: Numbers, place: Mapping[str, Any] | None) -> Call:
        """`AcsEvent` by serial number; the times are as wide as the profile has them, for the terminal's clock may have
        been anywhere."""
        settings = PROFILES.get(owner.get("profile")).settings
        name = text(owner.get("id"), 64)
        condition = {
            "searchID": digest(name, "numbers", str(numbers.first), str(numbers.last)),
            "startTime": settings["numbers_from"],
            "endTime": settings["numbers_until"],
            "beginSerialNo": numbers.first,
            "endSerialNo": numbers.last,
        }
        return _question(settings, place, condition)

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
        """One page, of whatever size. A list that says MORE and brings nothing, or what it brought before, goes round
        in circles; one that says MORE beyond its own total has no end either."""
        return _read(owner, None, place, reply, tree, received_at)

    def read_numbers(
        self,
        owner: Mapping[str, Any],
        numbers: Numbers,
        place: Mapping[str, Any] | None,
        reply: Reply,
        tree: Any,
        received_at: datetime,
        devices: Mapping[str, Mapping[str, Any]],
    ) -> Listed:
        """One page, as by time. Entries with other numbers are left out; a page of nothing else is a fault, and what comes
        on pages with some of both is bounded by the entries the terminal says it has."""
        return _read(owner, numbers, place, reply, tree, received_at)

    def reach(self, owner: Mapping[str, Any]) -> timedelta | None:
        """A device lists itself alone."""
        return None

    def settled(self, owner: Mapping[str, Any], hub: str) -> Call | None:
        """`httpHosts/1`: push events as JSON to the hub's address; firmware loses this with an update or a reset."""
        address = urlsplit(hub)
        if not address.hostname:
            return None
        secure = address.scheme == "https"
        kind = "hostName" if re.search(r"[A-Za-z]", address.hostname) and ":" not in address.hostname else "ipAddress"
        told = {
            "id": "1",
            "url": address.path or "/",
            "protocolType": "HTTPS" if secure else "HTTP",
            "parameterFormatType": "JSON",
            "addressingFormatType": "hostname" if kind == "hostName" else "ipaddress",
            kind: address.hostname,
            "portNo": str(address.port or (443 if secure else 80)),
            "httpAuthenticationMethod": "none",
        }
        inner = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in told.items())
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><HttpHostNotification version="2.0">{inner}</HttpHostNotification>'
        )
        return _call("PUT", "ISAPI/Event/notification/httpHosts/1", body.encode(), "application/xml")


def _read(
    owner: Mapping[str, Any],
    numbers: Numbers | None,
    place: Mapping[str, Any] | None,
    reply: Reply,
    tree: Any,
    received_at: datetime,
) -> Listed:
    """One page of a list by time (`numbers` None) or by number."""
    if (fault := refused(reply.status)) is not None:
        return Listed(fault=fault)
    answer = lowered(lowered(tree).get("acsevent"))
    if not answer:
        return Listed(fault=unreadable())
    entries = answer.get("infolist")
    found = [e for e in entries[:_MOST] if isinstance(e, dict)] if isinstance(entries, list) else []
    more = text(answer.get("responsestatusstrg")).upper() == "MORE"
    seen = digest(*(f"{text(lowered(e).get('serialno'))}@{text(lowered(e).get('time'))}" for e in found))
    following = onward(place, seen) if more and found else None
    if more and following is None:
        return Listed(fault=circling())
    read, total = _position(place) + len(found), number(answer.get("totalmatches"))
    if more and total is not None and read > total:
        return Listed(fault=overlong())
    if numbers is not None and found:
        wanted = [e for e in found if _within(e, numbers)]
        if not wanted:
            return Listed(fault=unheeded())
    else:
        wanted = found
    name = text(owner.get("id"), 64)
    settings = PROFILES.get(owner.get("profile")).settings
    page = Listed()
    for entry in wanted:
        kept = {k: v for k, v in entry.items() if not _PICTURE.search(k)}
        # What stands in a list was stored, whatever the terminal says of it.
        event = {**lowered(kept), "currentevent": False}
        item = passage_of(name, event, received_at, owner, settings)
        if item.decoded.advisory is None:
            item.body, item.prompt = without_credentials(orjson.dumps(kept)), False
            item.attributes["serial"] = text(pick(event, ("serialno",)), 20)
            page.items.append((name, item))
    if following is not None:
        page.next = {"position": read, **following}
    return page


def _within(entry: Mapping[str, Any], numbers: Numbers) -> bool:
    serial = number(lowered(entry).get("serialno"))
    return serial is not None and numbers.first <= serial <= numbers.last


def _question(settings: Mapping[str, Any], place: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> Call:
    condition = {
        **asked,
        "searchResultPosition": _position(place),
        "maxResults": settings["list_page"],
        "major": settings["list_major"],
        "minor": 0,
        "picEnable": False,
        "timeReverseOrder": False,
    }
    return _call("POST", "ISAPI/AccessControl/AcsEvent?format=json", orjson.dumps({"AcsEventCond": condition}))


def _position(place: Mapping[str, Any] | None) -> int:
    position = (place or {}).get("position", 0)
    return position if isinstance(position, int) else 0


def _call(method: str, path: str, body: bytes, content_type: str = "application/json") -> Call:
    return Call(
        operation="list", deliveries=(), body=body, content_type=content_type, idempotent=True, method=method, path=path
    )


LIST = HikvisionList()
