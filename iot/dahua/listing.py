"""Dahua access controllers: their records, asked for by time (`recordFinder`).

One concern: this family's words, and the walk over a span of which only so much is given at a time. Pure. It must never
take records for read that an answer had no room for, trust the device to keep to an order or to the span it was asked for,
keep a picture's address, or go on asking one that leads no further.

Which of the matching records a full answer holds (the oldest, the newest, any) is the firmware's affair. So a stretch of
time counts as read only when the device gave it with room to spare; else it is parted, and each part asked for. Every
question is about another stretch, ever shorter, so a walk ends whatever is answered; what is met twice has one name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from hub.kernel.ports import Call, Reply, Text
from iot import profiles
from iot.clock import read_epoch_ms
from iot.fields import digest, number, text
from iot.listing import Fault, Listed, Span, circling, refused, unreadable
from iot.web import Item, Passage, checkin, configured, zone_of

PROFILES = profiles.load(Path(__file__).parent)

_LINE = re.compile(r"records\[(\d{1,5})\]\.([A-Za-z]{1,40})=(.*)")
_FOUND = re.compile(r"(?:^|\n)found=\d{1,9}\s")
_CLAIM = re.compile(r"(?:^|\n)(?:found|totalCount)=(\d{1,9})(?=\s)")
_KEPT = frozenset({"recno", "userid", "cardno", "createtime", "status", "type", "method", "door", "errorcode"})
_MOST = 5_000
_PARTS = 32
_DEEP = 256
"""Stretches that wait at most: where `_PARTS` more would be too many one is halved, and a century of them has 32 halves."""
_CROWDED = 16
"""Seconds too full to be read, after which a walk is given up: so many are no crowd but an invention."""
_NEAR_S = 2
"""How far outside a stretch a record may lie, for firmware that takes its ends otherwise."""


class Walk(Struct):
    """Where a walk is. `stretches`: what is still to be read, seconds since 1970, both ends in it, the one being asked for
    first; `crowded`: seconds of more records than an answer holds; `last`: only those are left, to be asked for once more.
    """

    stretches: list[tuple[int, int]]
    crowded: list[int] = field(default_factory=list)
    last: bool = False


class DahuaList:
    """See `iot.listing.Lister`. A place is a `Walk`: with nothing lost at whichever page a run is broken off."""

    name = "dahua"
    exact = True

    def ask(self, owner: Mapping[str, Any], span: Span, place: Mapping[str, Any] | None) -> Call:
        """The records of the stretch that is next."""
        settings = PROFILES.get(owner.get("profile")).settings
        start, end = (_walk(place) or _begin(span)).stretches[0]
        return Call(
            operation="list",
            deliveries=(),
            body=b"",
            content_type="",
            idempotent=True,
            method="GET",
            path="cgi-bin/recordFinder.cgi?action=find&name=AccessControlCardRec"
            f"&StartTime={start}&EndTime={end + settings['list_end_s']}&count={settings['list_page']}",
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
        """One page. What is outside the span is left out here, for some firmware ignores the dates. Such a device that holds
        more than a page ends the run with a fault, as does a second with more records than a page: the latter only once
        everything else has been read."""
        if (fault := refused(reply.status)) is not None:
            return Listed(fault=fault)
        body = reply.body.decode("utf-8", "replace").replace("\r\n", "\n") + "\n"
        records = _records(body)
        if not records and not _FOUND.search(body):
            return Listed(fault=unreadable())
        settings = PROFILES.get(owner.get("profile")).settings
        known = _walk(place)
        walk = known or _begin(span)
        if (there := _there(body, len(records), settings)) > len(records):
            start, end = walk.stretches[0]
            if known is not None and _strayed(records, start, end):
                return Listed(fault=circling())
            if start < end:
                wanted = -(-there * 4 // (min(len(records) or there, settings["list_page"]) * 3))
                walk.stretches[:1] = _parted(start, end, wanted if len(walk.stretches) < _DEEP // 2 else 2)
            elif walk.last or len(walk.crowded) >= _CROWDED:
                return Listed(fault=_crowd(start))
            else:
                walk.crowded.append(start)
                del walk.stretches[0]
        else:
            del walk.stretches[0]
        if not walk.stretches and walk.crowded:
            walk = Walk([(second, second) for second in walk.crowded], last=True)
        page = Listed()
        if walk.stretches:
            page.next = {"stretches": walk.stretches, "crowded": walk.crowded, "last": walk.last}
        name = text(owner.get("id"), 64)
        for record in records:
            if (item := _passage(name, record, span, received_at, owner, settings)) is not None:
                page.items.append((name, item))
        return page

    def reach(self, owner: Mapping[str, Any]) -> timedelta | None:
        """A device lists itself alone."""
        return None

    def settled(self, owner: Mapping[str, Any], hub: str) -> Call | None:
        """It pushes nowhere."""
        return None


def _begin(span: Span) -> Walk:
    start = int(span.start.timestamp())
    return Walk([(start, max(start, int(span.end.timestamp())))])


def _walk(place: Mapping[str, Any] | None) -> Walk | None:
    """The walk a place tells of; None where it tells of none, and the whole span is to be read."""
    told = place or {}
    stretches, crowded = _pairs(told.get("stretches")), told.get("crowded")
    if not stretches or not isinstance(crowded, list) or not all(type(s) is int for s in crowded):
        return None
    return Walk(stretches, list(crowded), told.get("last") is True)


def _pairs(told: Any) -> list[tuple[int, int]]:
    if not isinstance(told, list | tuple) or len(told) > _DEEP:
        return []
    pairs = []
    for pair in told:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(type(end) is int for end in pair):
            return []
        if pair[0] > pair[1]:
            return []
        pairs.append((pair[0], pair[1]))
    return pairs


def _there(body: str, given: int, settings: Mapping[str, Any]) -> int:
    """How many records there are, as far as can be told: more than `given` where the answer is full, or tells of more than
    could be read in it."""
    claims = (int(claim) for claim in _CLAIM.findall(body) if settings["list_counts"])
    full = given >= min(int(settings["list_page"]), _MOST)
    return max([given + full, *claims])


def _parted(start: int, end: int, wanted: int) -> list[tuple[int, int]]:
    """A stretch of more than a second as some of about the same length, at least two."""
    parts = max(2, min(wanted, _PARTS, end - start + 1))
    ends = [start + (end - start + 1) * n // parts for n in range(parts + 1)]
    return [(first, following - 1) for first, following in pairwise(ends)]


def _strayed(records: Sequence[Mapping[str, str]], start: int, end: int) -> bool:
    """Whether the device gave what it was not asked for."""
    times = [t for r in records if (t := number(r.get("createtime"))) is not None]
    return any(not start - _NEAR_S <= t <= end + _NEAR_S for t in times)


def _crowd(second: int) -> Fault:
    when = f"{moment:%Y-%m-%d %H:%M:%S} UTC" if (moment := read_epoch_ms(second * 1000)) is not None else str(second)
    return Fault(
        "circle",
        Text(
            f"Thiết bị có nhiều bản ghi trong một, hai giây ({when}) hơn một trang chứa được; đã đọc những gì đọc được.",
            f"The device holds more records of a second or two ({when}) than a page has room for; what can be read was.",
        ),
    )


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
    # By whole seconds, as it is asked for: a run may begin and end within one.
    if moment is not None and not span.start.replace(microsecond=0) <= moment.replace(microsecond=0) <= span.end:
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
