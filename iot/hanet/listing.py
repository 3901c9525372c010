"""What HANET's cloud holds of a place, asked page by page: for what its webhook or its broker never brought.

One concern: that list. Pure. It must never keep a picture's address, or store anything of a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson

from hub.kernel.ports import Call, Reply, Text
from iot.fields import digest, lowered, pick, text
from iot.hanet.decode import PROFILES, seen
from iot.listing import Fault, Listed, Span, circling, onward, refused, unreadable
from iot.web import placed

_KEPT = (
    "id",
    "aliasid",
    "personid",
    "persontype",
    "type",
    "deviceid",
    "placeid",
    "checkintime",
    "time",
    "date",
    "place",
)
_MOST = 2_000


class HanetList:
    """See `iot.listing.Lister`. The entry asked is a camera or the vendor's account; its `place` says which place. A place
    in the list is `{page}` with what `onward` remembers."""

    name = "hanet"
    exact = False

    def ask(self, owner: Mapping[str, Any], span: Span, place: Mapping[str, Any] | None) -> Call:
        """The sightings of the place in the span. The token is the connector's to add."""
        settings = PROFILES.get(owner.get("profile")).settings
        asked = {
            "placeID": text(owner.get("place"), 40),
            "from": str(int(span.start.timestamp() * 1000)),
            "to": str(int(span.end.timestamp() * 1000)),
            "page": str(_page(place)),
            "size": str(settings["list_page"]),
        }
        return Call(
            operation="list",
            deliveries=(),
            body=urlencode(asked).encode(),
            content_type="application/x-www-form-urlencoded",
            idempotent=True,
            path=settings["list_path"],
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
        """One page: a full one means that there may be more. Cameras that are not registered are passed over."""
        if (fault := refused(reply.status)) is not None:
            return Listed(fault=fault)
        answer = lowered(tree)
        entries = answer.get("data")
        code = text(answer.get("returncode"))
        if code not in ("", "1") or (not isinstance(entries, list) and code != "1"):
            said = Text(f"HANET không trả danh sách (mã {code}).", f"HANET gives no list (code {code}).")
            return Listed(fault=Fault("later", said) if code else unreadable())
        found = [lowered(e) for e in entries[:_MOST] if isinstance(e, dict)] if isinstance(entries, list) else []
        settings = PROFILES.get(owner.get("profile")).settings
        page = Listed()
        if len(found) >= settings["list_page"]:
            last = digest(*(f"{text(e.get('personid'))}@{text(pick(e, ('checkintime', 'time')))}" for e in found))
            if (following := onward(place, last)) is None:
                return Listed(fault=circling())
            page.next = {"page": _page(place) + 1, **following}
        for entry in found:
            name = text(entry.get("deviceid"), 64)
            device = devices.get(name)
            if not placed(device) or text(pick(entry, ("persontype", "type"))) not in settings["learners"]:
                continue
            kept = {k: entry[k] for k in _KEPT if k in entry}
            identity = text(entry.get("id"), 200)
            person = text(entry.get("aliasid"), 80) or text(entry.get("personid"), 80)
            when = text(pick(entry, ("checkintime", "time", "date")))
            named = (text(owner.get("id"), 64), identity) if identity else ("listed", name, person, when)
            item = seen(digest(*named), kept, received_at, device, settings, listed=True)
            item.body = orjson.dumps(kept)
            page.items.append((name, item))
        return page

    def reach(self, owner: Mapping[str, Any]) -> timedelta | None:
        """A place's list tells of all its cameras."""
        return timedelta(days=PROFILES.get(owner.get("profile")).settings["list_days"])

    def settled(self, owner: Mapping[str, Any], hub: str) -> Call | None:
        """The webhook's address is kept in the vendor's cloud by a person."""
        return None


def _page(place: Mapping[str, Any] | None) -> int:
    page = (place or {}).get("page", 1)
    return page if isinstance(page, int) else 1


LIST = HanetList()
