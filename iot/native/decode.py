"""Gates of the hub's own topic tree `campus/v1/{school}/{device}/{evt|state|cmd|res}`: events as check-ins, and their
acks.

One concern: this family's words, defined in its README and JSON Schemas. Pure. It must never keep an image or
anything taken from one, or acknowledge an event whose topic does not match the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import orjson

from hub.kernel.ports import NO_PROPERTIES, Decoded, Draft, Publication
from iot import profiles
from iot.clock import Estimate, judge, read_epoch_ms
from iot.fields import digest, is_identifier, mismatch, refuse, text, unknown_device

PROFILES = profiles.load(Path(__file__).parent)

_TOPIC = re.compile(r"campus/v1/([^/+#]+)/([^/+#]+)/(evt|state|res)")
_PLACE = re.compile(r" - at `\$([^`]*)`$")
Key = Annotated[
    str, msgspec.Meta(min_length=1, max_length=60, pattern=r"^[0-9A-Za-z](?:[0-9A-Za-z._/:-]*[0-9A-Za-z])?$(?!\n)")
]
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event at a gate, as `evt` carries it. Unknown members are ignored."""

    id: Key
    seq: Whole
    time: Whole
    person: Key | None = None
    is_historical: bool = False
    direction: Literal["in", "out", "unknown"] = "unknown"
    method: Literal["face", "card", "finger", "unknown"] = "unknown"
    similarity: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    verify: Literal["none", "allowed", "refused", "unregistered"] = "allowed"
    traceparent: Any = None
    """W3C's; one that is none costs no event: it is passed over. May also come as MQTT 5's user property of that name."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Birth and death of a gate's session, as `state` carries them; the death is the Will given at CONNECT."""

    state: Literal["birth", "death"]
    bd: Whole
    """Ties a death to its birth: a death whose number is not the last birth's is an old session's."""
    time: Whole | None = None
    seq: Whole | None = None
    firmware: Annotated[str, msgspec.Meta(max_length=60)] | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A gate's answer to a command, as `res` carries it."""

    id: Key
    code: int = 0


class Native:
    """The family. See `hub.kernel.ports.DeviceFamily`; `device["clock"]` may hold an `iot.clock.Estimate`."""

    subscriptions: Sequence[str] = ("campus/v1/+/+/evt", "campus/v1/+/+/state", "campus/v1/+/+/res")

    def device_of(self, topic: str) -> str | None:
        """The fourth level of the topic."""
        levels = _levels(topic)
        return levels[1] if levels else None

    def decode(
        self,
        topic: str,
        payload: Any,
        received_at: datetime,
        device: Mapping[str, Any] | None,
        properties: Mapping[str, str] = NO_PROPERTIES,
    ) -> Decoded:
        """Decode one publication; see `hub.kernel.ports.DeviceFamily.decode`."""
        levels = _levels(topic)
        if levels is None:
            return refuse(
                "unknown_topic", "Chủ đề không thuộc cây campus/v1.", "The topic is not in the campus/v1 tree."
            )
        school, name, channel = levels
        if device is None:
            return unknown_device(name)
        registered = text(device.get("school"))
        if registered != school:
            return mismatch("", school, registered)
        try:
            if channel == "evt":
                return _event(school, name, msgspec.convert(payload, Event), received_at, device, properties)
            if channel == "state":
                state = msgspec.convert(payload, State)
                return Decoded(advisory={"kind": "presence", "device": name, "trusted": True, **_state(state)})
            result = msgspec.convert(payload, Result)
            return Decoded(
                advisory={"kind": "command", "device": name, "operator": result.id, "code": str(result.code)}
            )
        except msgspec.ValidationError as error:
            return _unreadable(school, name, channel, payload, str(error))


@lru_cache(maxsize=8192)
def _levels(topic: str) -> tuple[str, str, str] | None:
    """School, device and channel of a topic; None for one outside the tree. Few topics are said again and again."""
    match = _TOPIC.fullmatch(topic)
    return (match[1], match[2], match[3]) if match else None


def _state(state: State) -> dict[str, Any]:
    facts: dict[str, Any] = {"state": "online" if state.state == "birth" else "offline", "bd": state.bd}
    if state.state == "birth" and state.seq is not None:
        facts["seq"] = state.seq
    if state.firmware:
        facts["firmware"] = text(state.firmware)
    return facts


def _unreadable(school: str, name: str, channel: str, payload: Any, words: str) -> Decoded:
    place = _PLACE.search(words)
    pointer = place.group(1).replace(".", "/") if place else ""
    reason = _PLACE.sub("", words)[:200]
    decoded = refuse(
        "schema",
        f"Bản tin {channel} không đúng lược đồ tại “{pointer or '/'}”: {reason}.",
        f"The {channel} message does not follow its schema at “{pointer or '/'}”: {reason}.",
        pointer,
        name,
    )
    event = payload.get("id") if channel == "evt" and isinstance(payload, dict) else None
    if isinstance(event, str) and is_identifier(event):
        # A registered gate's own fault: it is kept, so the gate may forget it instead of sending it forever.
        decoded.acks = [_ack(school, name, event)]
    return decoded


def _ack(school: str, name: str, event: str) -> Publication:
    return Publication(f"campus/v1/{school}/{name}/cmd", orjson.dumps({"ack": [event]}))


def _event(
    school: str,
    name: str,
    event: Event,
    received_at: datetime,
    device: Mapping[str, Any],
    properties: Mapping[str, str],
) -> Decoded:
    dedupe = digest(school, name, event.id)
    live = not event.is_historical
    known = device.get("clock")
    judged = judge(read_epoch_ms(event.time), received_at, live, known if isinstance(known, Estimate) else None)
    if event.verify == "refused":
        not_attendance: str | None = "refused"
    else:
        not_attendance = "unregistered" if event.verify == "unregistered" or event.person is None else None
    direction = event.direction
    if direction == "unknown" and device.get("direction") in ("in", "out"):
        direction = device["direction"]
    body: dict[str, Any] = {
        "person_code": event.person or "unknown",
        "device": name,
        "school_code": school,
        "device_time_raw": str(event.time),
        "assumed_zone": PROFILES.get(device.get("profile")).settings["clock_zone"],
        "direction": direction,
        "received_at": received_at.isoformat(),
        "estimated_offset_s": judged.offset_s,
        "corrected_time": judged.corrected.isoformat() if judged.corrected else None,
        "uncertainty_s": judged.uncertainty_s,
        "historical": not live,
        "method": event.method,
        "similarity": event.similarity,
        "verify_status": event.verify,
        "quarantine": judged.quarantine or not_attendance,
        "images_removed": 0,
    }
    if entrance := text(device.get("entrance"), 250):
        body["entrance"] = entrance
    draft = Draft(
        type="checkin",
        key=f"{name}/{dedupe}",
        body=body,
        event="NEW",
        updated_at=judged.corrected or received_at,
        school=school,
    )
    return Decoded(
        drafts=[draft],
        dedupe=dedupe,
        acks=[_ack(school, name, event.id)],
        historical=not live,
        number=event.seq,
        trace=_trace(event.traceparent) or (_trace(properties.get("traceparent")) if properties else None),
    )


def _trace(said: Any) -> str | None:
    """A trace in W3C's form, else None. The event's own member goes before the user property: it is what the gate keeps on
    its disk and sends again, while a property may be set by whatever passes the publication on."""
    return said if isinstance(said, str) and _TRACE.fullmatch(said) else None


FAMILY = Native()
