"""Face terminals of the "mqtt/face" dialect: their publications as check-ins, and the acknowledgements they wait for.

One concern: this family's words. Pure. It must never keep an image or anything taken from one, trust an identity that
is only in the payload, or acknowledge a record of a device it was not told about."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from hub.kernel.ports import NO_PROPERTIES, Decoded, Draft, Publication
from iot import profiles
from iot.clock import Estimate, judge, read_local
from iot.face_mqtt import capture
from iot.fields import (
    digest,
    homeless,
    is_device_id,
    is_identifier,
    lowered,
    mismatch,
    number,
    pick,
    refuse,
    text,
    unknown_device,
)

PROFILES = profiles.load(Path(__file__).parent)

# Spellings seen in the field, in lower case; the contract's own first.
_DEVICE = ("facesluiceid", "facesluiceld", "deviceid")
_PERSON = ("customid", "customizeid")
_RECORD = ("recordid",)
_STATUS = ("verifystatus",)
_TIME = ("time", "createtime")
_SIMILARITY = ("similarity1", "similarity")
_SNAP = ("snapid",)
_RECORDS = frozenset({"recpush", "verifypush"})
_STRANGERS = frozenset({"strsnappush", "snappush"})
_TOPIC = re.compile(r"mqtt/face/([^/+#]+)/(Rec|Snap|Ack)")
_PRESENCE = {"online": "online", "offline": "offline", "heartbeat": "online"}
_STRANGER, _RECORD_ACK = 1, 2


class FaceMqtt:
    """The family. See `hub.kernel.ports.DeviceFamily`; `device["clock"]` may hold an `iot.clock.Estimate`."""

    subscriptions: Sequence[str] = (
        "mqtt/face/+/Rec",
        "mqtt/face/+/Snap",
        "mqtt/face/+/Ack",
        "mqtt/face/basic",
        "mqtt/face/heartbeat",
        capture.SUBSCRIPTION,
    )

    def device_of(self, topic: str) -> str | None:
        """The id in `mqtt/face/<id>/…` or in the second dialect's topic; None for `basic` and `heartbeat`, which all devices share."""
        levels = _levels(topic)
        return levels[0] if levels else None

    def decode(
        self,
        topic: str,
        payload: Any,
        received_at: datetime,
        device: Mapping[str, Any] | None,
        properties: Mapping[str, str] = NO_PROPERTIES,
    ) -> Decoded:
        """Decode one publication; see `hub.kernel.ports.DeviceFamily.decode`."""
        message = lowered(payload)
        operator = text(message.get("operator"))
        info = lowered(message.get("info"))
        levels = _levels(topic)
        if levels is None:
            return _presence(topic, operator.lower(), info, device)
        name, channel = levels
        if device is None:
            return unknown_device(name)
        if not message:
            return refuse("not_an_object", "Bản tin phải là một đối tượng JSON.", "The message must be a JSON object.")
        if channel == "Ack":
            advisory = {
                "kind": "command",
                "device": name,
                "operator": operator,
                "id": text(message.get("messageid"), 120),
                "code": text(pick(message, ("code",)) or pick(info, ("code",))),
            }
            return Decoded(advisory=advisory)
        if channel == "Capture":
            info = capture.as_record(message, PROFILES.get(device.get("profile")).settings)
        claimed = text(pick(info, _DEVICE), 80)
        if claimed and claimed != name:
            return mismatch("/info/facesluiceId", claimed, name)
        word = operator.lower()
        if channel == "Capture" and text(message.get("cmd")).lower() in ("", "face"):
            decoded = _record(name, message, info, received_at, device)
            decoded.acks = capture.reply(name, message) if decoded.dedupe is not None else []
            return decoded
        if channel == "Rec" and word in _RECORDS:
            return _record(name, message, info, received_at, device)
        if channel == "Snap" and word in _STRANGERS:
            return _stranger(name, message, info)
        return refuse(
            "unknown_operator",
            f"Không hiểu lệnh “{operator}” trên chủ đề {channel}.",
            f"Operator “{operator}” is not understood on topic {channel}.",
            "/operator",
            name,
        )


@lru_cache(maxsize=8192)
def _levels(topic: str) -> tuple[str, str] | None:
    """Device and channel of a topic; None for a shared one. Few topics are said again and again."""
    if (captured := capture.device_of(topic)) is not None:
        return captured, "Capture"
    match = _TOPIC.fullmatch(topic)
    return (match[1], match[2]) if match else None


def _record(
    name: str, message: Mapping[str, Any], info: Mapping[str, Any], received_at: datetime, device: Mapping[str, Any]
) -> Decoded:
    school = text(device.get("school"))
    if not school:
        return homeless(name)
    settings = PROFILES.get(device.get("profile")).settings
    record, person = pick(info, _RECORD), text(pick(info, _PERSON), 80)
    raw_time = text(pick(info, _TIME))
    status_sent = text(pick(info, _STATUS))
    sent = pick(info, ("sendintime",))
    live = sent is None or (str(sent).strip().lower() in settings["live_values"])
    ack = _record_ack(name, message, record, person, received_at, settings)
    parts = {"record": text(record), "person": person, "time": raw_time, "status": status_sent}
    dedupe = digest(name, *(parts[p] for p in settings["dedupe"]))

    def bad(pointer: str, code: str, vi: str, en: str) -> Decoded:
        # A registered device's own fault: it is kept, so the device may forget it instead of sending it forever.
        decoded = refuse(code, vi, en, pointer, f"{name}/{dedupe}")
        decoded.acks, decoded.dedupe, decoded.historical = ack, dedupe, not live
        return decoded

    if not parts["record"]:
        return bad(
            "/info/RecordID", "no_record_id", "Thiếu số bản ghi (RecordID).", "The record number (RecordID) is missing."
        )
    if not raw_time:
        return bad("/info/time", "no_time", "Thiếu thời gian (time).", "The time is missing.")
    if person and not is_identifier(person):
        return bad(
            "/info/customId",
            "person_code",
            "Mã người (customId) phải gồm chữ cái không dấu, chữ số và . _ / : -, tối đa 60 ký tự.",
            "The person code (customId) must be ASCII letters, digits and . _ / : -, at most 60 characters.",
        )
    verify = settings["verify_status"].get(status_sent, "none")
    assumed_zone = text(device.get("zone")) or settings["zone"]
    device_time = read_local(raw_time, assumed_zone)
    known = device.get("clock")
    judged = judge(device_time, received_at, live, known if isinstance(known, Estimate) else None)
    if verify == "refused":
        not_attendance: str | None = "refused"
    else:
        not_attendance = "unregistered" if verify == "unregistered" or not person else None
    similarity = number(pick(info, _SIMILARITY))
    body: dict[str, Any] = {
        "person_code": person or "unknown",
        "device": name,
        "school_code": school,
        "device_time_raw": raw_time,
        "assumed_zone": assumed_zone,
        "direction": _direction(info.get("direction"), settings["directions"], device.get("direction")),
        "received_at": received_at.isoformat(),
        "estimated_offset_s": judged.offset_s,
        "corrected_time": judged.corrected.isoformat() if judged.corrected else None,
        "uncertainty_s": judged.uncertainty_s,
        "historical": not live,
        "method": settings["method"],
        "similarity": similarity if similarity is not None and 0 <= similarity <= 100 else None,
        "verify_status": verify,
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
    return Decoded(drafts=[draft], dedupe=dedupe, acks=ack, historical=not live)


def _direction(sent: Any, words: Mapping[str, Sequence[str]], configured: Any) -> str:
    word = text(sent).lower()
    for direction, spellings in words.items():
        if word in spellings:
            return direction
    return configured if configured in ("in", "out") else "unknown"


def _record_ack(
    name: str, message: Mapping[str, Any], record: Any, person: str, received_at: datetime, settings: Mapping[str, Any]
) -> list[Publication]:
    if settings["ack"] == "RecPushAck":
        info = {"customId": person, "result": settings["ack_result"], "timestamp": int(received_at.timestamp())}
        return [_reply(name, "RecPushAck", message, info)]
    if type(record) is not int and not (type(record) is str and record.isprintable() and 0 < len(record) <= 60):
        return []
    return [_reply(name, "PushAck", message, {"PushAckType": _RECORD_ACK, "SnapOrRecordID": record})]


def _reply(name: str, operator: str, message: Mapping[str, Any], info: dict[str, Any]) -> Publication:
    reply: dict[str, Any] = {"operator": operator}
    if identity := text(message.get("messageid"), 120):
        reply["messageId"] = identity
    reply["info"] = info
    return Publication(f"mqtt/face/{name}", orjson.dumps(reply))


def _stranger(name: str, message: Mapping[str, Any], info: Mapping[str, Any]) -> Decoded:
    """A snapshot of somebody unknown is no fact about a learner: counted and acknowledged, nothing of it is kept."""
    snap = pick(info, _SNAP)
    acks = []
    if type(snap) is int or (type(snap) is str and snap.isprintable() and 0 < len(snap) <= 60):
        acks = [_reply(name, "PushAck", message, {"PushAckType": _STRANGER, "SnapOrRecordID": snap})]
    return Decoded(advisory={"kind": "stranger", "device": name}, acks=acks)


def _presence(topic: str, word: str, info: Mapping[str, Any], device: Mapping[str, Any] | None) -> Decoded:
    """Shared topics: whoever may publish there may claim to be any device, so nothing but a hint comes of it. `device`: the entry
    of the one that is claimed, for the words it wants to be answered with; without it the default profile's."""
    claimed = text(pick(info, _DEVICE), 80)
    state = _PRESENCE.get(word)
    if state is None or topic not in ("mqtt/face/basic", "mqtt/face/heartbeat") or not is_device_id(claimed):
        return refuse(
            "unknown_presence",
            "Bản tin hiện diện không có lệnh hoặc mã thiết bị hợp lệ.",
            "The presence message has no known operator or no valid device id.",
            "/operator",
        )
    advisory = {
        "kind": "heartbeat" if word == "heartbeat" else "presence",
        "device": claimed,
        "state": state,
        "trusted": False,
    }
    if word != "online":
        return Decoded(advisory=advisory)
    result = PROFILES.get(device.get("profile") if device is not None else None).settings["online_ack_result"]
    return Decoded(
        advisory=advisory, acks=[_reply(claimed, "Online-Ack", {}, {"facesluiceId": claimed, "result": result})]
    )


FAMILY = FaceMqtt()
