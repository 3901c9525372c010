"""Hikvision access terminals (ISAPI event push): passed and refused persons as check-ins, holes in their numbering.

One concern: this family's words. Pure. It must never keep a picture or its address, take an event that is not on the
profile's allow-list for a passage, or trust a device id in the event over the secret in the address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from iot import profiles
from iot.clock import read_local
from iot.fields import digest, lowered, number, pick, refuse, text
from iot.hikvision.body import read_xml, unpack
from iot.web import (
    Ask,
    Content,
    Item,
    Passage,
    Plain,
    Served,
    Unpacked,
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

# Spellings of push, catch-up and XML, in lower case.
_EVENT = ("accesscontrollerevent", "acsevent", "eventnotificationalert")
_PERSON = ("employeenostring", "employeeno")
_TIME = ("datetime", "time")
_LARGEST_SERIAL = 2**53


class Hikvision(Plain):
    """The family. See `iot.web.WebFamily`. Remembers `serial`, the number of the last live event committed, and tells `covers`
    (see `_numbers`): what is missing nobody can say who hears but a part of what a terminal pushes."""

    name = "hikvision"
    max_bytes = 8_388_608

    def unpack(self, ask: Ask, body: bytes) -> Unpacked:
        """See `iot.hikvision.body`."""
        return unpack(ask.content_type, body)

    def decode(
        self, ask: Ask, content: Content, received_at: datetime, device: Mapping[str, Any] | None, owner: str = ""
    ) -> Served:
        """Decode one request; see `iot.web.WebFamily.decode`."""
        if not placed(device):
            return unplaced(device, owner)
        name = text(device.get("id"), 64)
        outer = lowered(content.tree) if content.is_json else lowered(read_xml(content.body))
        if not outer:
            words = (
                "Không đọc được sự kiện: cần JSON hoặc XML không khai báo DOCTYPE.",
                "The event cannot be read: JSON, or XML without a DOCTYPE, is needed.",
            )
            return Served(items=[Item(decoded=refuse("unreadable", *words, key=name))])
        if alert := lowered(outer.get("eventnotificationalert")):
            outer = alert
        event = {**outer, **lowered(pick(outer, _EVENT))}
        settings = PROFILES.get(device.get("profile")).settings
        claimed = text(pick(event, ("deviceid",)), 80)
        if claimed and claimed != name and settings["check_device_id"]:
            return lying(claimed, name, "/deviceID")
        if text(event.get("eventtype")).lower() == "heartbeat":
            return Served(items=[noted(name, "heartbeat", state="online", trusted=True)])
        return Served(items=[passage_of(name, event, received_at, device, settings)])


def passage_of(
    name: str,
    event: Mapping[str, Any],
    received_at: datetime,
    device: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Item:
    """What one event says, pushed or listed; `event` has its names in lower case."""
    code = f"{_whole(pick(event, ('majoreventtype', 'major')))}/{_whole(pick(event, ('subeventtype', 'minor')))}"
    raw_time = text(pick(event, _TIME))
    assumed_zone = zone_of(device, settings)
    moment = read_local(raw_time, assumed_zone) if raw_time else None
    current = _current(event)
    live = current and is_prompt(moment, received_at, estimate_of(device), settings["live_within_s"])
    remember = _numbers(event, device, settings, live)
    meaning = settings["events"].get(code)
    if meaning is None:
        other = noted(name, "other", operator=code)
        other.remember = remember
        return other
    person = text(pick(event, _PERSON), 80)
    # The same instant, however a push and a list write it down.
    instant = moment.isoformat() if moment is not None else raw_time
    parts = {"serial": _whole(event.get("serialno")), "person": person, "time": instant, "event": code}
    passage = Passage(
        raw_time=raw_time,
        time=moment,
        zone=assumed_zone,
        dedupe=digest(name, *(parts[p] for p in settings["dedupe"])),
        live=live,
        person=person,
        direction=settings["attendance"].get(text(event.get("attendancestatus")).lower()) or configured(device),
        method=meaning["method"],
        verify=meaning["verify"],
    )
    decoded = checkin(device, passage, received_at)
    return Item(decoded=decoded, prompt=current, remember=remember)


def _current(event: Mapping[str, Any]) -> bool:
    """False when the device marks the event as a replay from its storage."""
    sent = event.get("currentevent")
    return sent is not False and text(sent).lower() != "false"


def _numbers(
    event: Mapping[str, Any], device: Mapping[str, Any], settings: Mapping[str, Any], live: bool
) -> dict[str, Any]:
    """What to remember of an event's serial number: `serial`, the highest so far; `covers`, first and last of the numbers
    that are accounted for by it; `anew`, when the device has begun to count again.

    `frontSerialNo` is the number of the event before; without it the numbers are taken to follow one another. Events
    that are no passage count too, or every door opened would look like a hole. A replay closes a hole, and opens none."""
    serial = _serial(event.get("serialno"))
    if serial is None:
        return {}
    front = _serial(event.get("frontserialno"))
    first = front + 1 if front is not None and front < serial else serial
    last = device.get("serial")
    if isinstance(last, int) and serial <= last:
        if live and last - serial > settings["restart_below"]:
            return {"serial": serial, "covers": [first, serial], "anew": True}
        return {"covers": [first, serial]}
    return {"serial": serial, "covers": [first, serial]} if live else {}


def _serial(value: Any) -> int | None:
    found = number(value)
    return int(found) if found is not None and 0 <= found < _LARGEST_SERIAL and found == int(found) else None


def _whole(value: Any) -> str:
    """A whole number as sent in whichever type, without leading zeros; other text as it is."""
    found = _serial(value)
    return str(found) if found is not None else text(value)


FAMILY = Hikvision()
