"""HANET cameras behind the vendor's cloud: calls of the webhook as check-ins.

One concern: this family's words. Pure. It must never take a call whose hash is not made with the account's secret,
keep an image's address, or count on the hash for more than it says: it covers the event's id, not the body, so a call
can be replayed and altered, and only the id's first call counts."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub.kernel.ports import Sighting
from iot import profiles
from iot.clock import read_epoch_ms, read_local, zone
from iot.fields import digest, is_identifier, lowered, pick, refuse, text
from iot.web import (
    NOBODY,
    Ask,
    Content,
    Item,
    Passage,
    Plain,
    Served,
    checkin,
    configured,
    estimate_of,
    is_prompt,
    lying,
    noted,
    placed,
    unplaced,
    zone_of,
)

PROFILES = profiles.load(Path(__file__).parent)

_SECONDS_BELOW = 100_000_000_000
"""Epoch times below this are seconds, above it milliseconds."""
_COMPACT = "%d%m%Y%H%M%S"


class Hanet(Plain):
    """The family. See `iot.web.WebFamily`."""

    name = "hanet"
    max_bytes = 262_144

    def sender(self, content: Content, device: Mapping[str, Any]) -> str | None:
        """The camera, when the entry is an account that relays."""
        if not PROFILES.get(device.get("profile")).settings["relays"]:
            return None
        return text(pick(lowered(content.tree), ("deviceid",)), 80)

    def signed(self, content: Content, secret: str) -> bool:
        """`hash` is MD5 of the account's client secret and the event's id."""
        message = lowered(content.tree)
        identity, given = pick(message, ("id",)), pick(message, ("hash",))
        if not secret or type(given) is not str or not text(identity, 200):
            return False
        wanted = hashlib.md5((secret + str(identity)).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(wanted.encode(), given.strip().lower().encode())

    def decode(
        self, ask: Ask, content: Content, received_at: datetime, device: Mapping[str, Any] | None, owner: str = ""
    ) -> Served:
        """Decode one call; see `iot.web.WebFamily.decode`."""
        message = lowered(content.tree)
        claimed = text(pick(message, ("deviceid",)), 80)
        if not placed(device):
            return unplaced(device, claimed or owner)
        name = text(device.get("id"), 64)
        if not content.is_json or not message:
            words = "Nội dung phải là một đối tượng JSON.", "The body must be a JSON object."
            return Served(items=[Item(decoded=refuse("not_an_object", *words, key=name))])
        if claimed and claimed != name:
            return lying(claimed, name, "/deviceID")
        kind = text(pick(message, ("data_type",))).lower()
        settings = PROFILES.get(device.get("profile")).settings
        person_type = text(pick(message, ("persontype",)))
        if kind != "log" or (person_type not in settings["learners"] and person_type not in settings["strangers"]):
            return Served(items=[noted(name, "other", operator=kind or "none")])
        if person_type in settings["strangers"]:
            return Served(items=[noted(name, "stranger")])
        identity = digest(owner or name, text(pick(message, ("id",)), 200))
        return Served(items=[seen(identity, message, received_at, device, settings)])


def seen(
    identity: str,
    message: Mapping[str, Any],
    received_at: datetime,
    device: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    listed: bool = False,
) -> Item:
    """The check-in of one sighting, however it came; names in lower case. `identity`: what makes it the same again;
    `listed`: it was asked for, so it is history."""
    assumed_zone = zone_of(device, settings)
    raw, moment = _when(message, assumed_zone)
    alias = text(pick(message, ("aliasid",)), 80)
    # The vendor's own number, kept apart from the hub's codes until somebody links it.
    vendor = f"hanet:{text(pick(message, ('personid', 'person_id')), 40)}"
    own = vendor if vendor != "hanet:" and is_identifier(vendor) else ""
    person, known = alias or own, bool(alias)
    live = not listed and is_prompt(moment, received_at, estimate_of(device), settings["live_within_s"])
    passage = Passage(
        raw_time=raw,
        time=moment,
        zone=assumed_zone,
        dedupe=identity,
        live=live,
        person=person,
        known=known,
        direction=configured(device),
        method="face",
    )
    decoded = checkin(device, passage, received_at)
    if moment is not None and decoded.drafts:
        at_ms = round(moment.timestamp() * 1000)
        decoded.sighting = Sighting(at_ms, alias, own or ("" if alias else NOBODY))
    return Item(decoded=decoded, prompt=not listed)


def _when(message: Mapping[str, Any], assumed_zone: str) -> tuple[str, datetime | None]:
    """The time as sent and as UTC: `time` (epoch, seconds or milliseconds) when it can be read, which needs no zone,
    else `date` as `YYYY-MM-DD HH:mm:ss`, `DDMMYYYYHHmmSS` or epoch."""
    forms = [text(pick(message, names)) for names in (("time", "checkintime"), ("date", "date_time"))]
    for raw in forms:
        if (moment := _read(raw, assumed_zone)) is not None:
            return raw, moment
    return next((raw for raw in forms if raw), ""), None


def _read(raw: str, assumed_zone: str) -> datetime | None:
    if not (raw.isascii() and raw.isdigit()):
        return read_local(raw, assumed_zone) if raw else None
    if len(raw) == 14:
        try:
            naive = datetime.strptime(raw, _COMPACT)  # noqa: DTZ007 - the zone comes next
            return naive.replace(tzinfo=zone(assumed_zone)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
    if not 10 <= len(raw) <= 13:
        return None
    value = int(raw)
    return read_epoch_ms(value * 1000 if value < _SECONDS_BELOW else value)


FAMILY = Hanet()
