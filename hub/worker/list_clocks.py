"""What an answer tells of the clock of the gate that gave it, where its family says that its answers tell it.

One concern: the offset from one answer. Pure. It must never believe an answer that took long, or a clock that is ahead by just
its zone: that may be local time called universal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from hub.kernel.ports import Reply
from iot.clock import RESOLUTION_S, zone
from iot.dahua.listing import LIST as DAHUA
from iot.dahua.listing import PROFILES as DAHUA_PROFILES
from iot.hikvision.decode import PROFILES as HIKVISION_PROFILES
from iot.hikvision.listing import LIST as HIKVISION
from iot.profiles import Profiles
from iot.web import zone_of

_PROFILES: Mapping[str, Profiles] = {DAHUA.name: DAHUA_PROFILES, HIKVISION.name: HIKVISION_PROFILES}
"""Families that are asked at the device itself: what a cloud's clock says is the cloud's."""
_SLOW_MS = 10_000.0
_NEAR_ZONE_S = 120.0
_SAME_S = 2.0
"""Whole seconds, told somewhere between question and answer: less than this is no difference."""


def offset_told(entry: Mapping[str, Any], reply: Reply, received_at: datetime) -> float | None:
    """The device's clock minus the hub's in whole seconds, by an answer that came at `received_at`; None when it does not
    tell, or tells what is known (`entry["offset_s"]`)."""
    profiles = _PROFILES.get(str(entry.get("family")))
    settings = profiles.get(entry.get("profile")).settings if profiles is not None else {}
    if settings.get("answers_date") is not True or reply.elapsed_ms > _SLOW_MS:
        return None
    shown = _date(reply.headers.get("date", ""))
    if shown is None:
        return None
    middle = received_at - timedelta(milliseconds=reply.elapsed_ms / 2)
    # A clock that shows whole seconds is on average half of one further.
    offset = (shown - middle).total_seconds() + RESOLUTION_S / 2
    ahead = zone(zone_of(entry, settings)).utcoffset(received_at.replace(tzinfo=None))
    if ahead and abs(offset - ahead.total_seconds()) <= _NEAR_ZONE_S:
        return None
    known = entry.get("offset_s")
    near = _SAME_S + reply.elapsed_ms / 2000
    if abs(offset - (known or 0.0)) <= near:
        return None if known is not None else 0.0
    return float(round(offset))


def _date(value: str) -> datetime | None:
    """RFC 9110's date as UTC; None for what is none."""
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
