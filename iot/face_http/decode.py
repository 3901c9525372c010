"""Face terminals in their HTTP-only mode: the records of the "mqtt/face" dialect, posted as `VerifyPush`.

One concern: this mode's words. Pure. It must never keep a picture, or trust a device id in the record over the secret in the
address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from iot import profiles
from iot.clock import read_local
from iot.fields import digest, lowered, number, pick, refuse, text
from iot.web import (
    Answer,
    Ask,
    Content,
    Direction,
    Item,
    Passage,
    Plain,
    Served,
    checkin,
    configured,
    lying,
    noted,
    placed,
    unplaced,
    zone_of,
)

PROFILES = profiles.load(Path(__file__).parent)

# Spellings in lower case; this mode's own first, then those of the dialect over MQTT.
_DEVICE = ("facesluiceid", "facesluiceld", "deviceid")
_PERSON = ("customizeid", "customid")
_TIME = ("createtime", "time")
_SIMILARITY = ("similarity1", "similarity")
_RECORDS = frozenset({"verifypush", "recpush"})
_STRANGERS = frozenset({"strsnappush", "snappush"})
_PRESENCE = {"online": "online", "heartbeat": "online", "offline": "offline"}
_TAKEN = Answer(200, b'{"code":200,"desc":"OK"}', "application/json")
"""What the terminal waits for, ten seconds; it sends the record again otherwise."""


class FaceHttp(Plain):
    """The family. See `iot.web.WebFamily`."""

    name = "face_http"
    max_bytes = 8_388_608

    def decode(
        self, ask: Ask, content: Content, received_at: datetime, device: Mapping[str, Any] | None, owner: str = ""
    ) -> Served:
        """Decode one request; see `iot.web.WebFamily.decode`."""
        if not placed(device):
            return unplaced(device, owner)
        name = text(device.get("id"), 64)
        message = lowered(content.tree) if content.is_json else {}
        if not message:
            words = (
                "Không đọc được bản tin: cần một đối tượng JSON.",
                "The message cannot be read: a JSON object is needed.",
            )
            return Served(items=[Item(decoded=refuse("unreadable", *words, key=name))], answer=_TAKEN)
        info = lowered(message.get("info")) or message
        settings = PROFILES.get(device.get("profile")).settings
        claimed = text(pick(info, _DEVICE), 80)
        if claimed and claimed != name:
            return lying(claimed, name, "/info/facesluiceId")
        operator = text(message.get("operator"))
        word = operator.lower()
        if word in _RECORDS:
            return Served(items=[_record(name, info, received_at, device, settings)], answer=_TAKEN)
        if word in _STRANGERS:
            # Somebody unknown is no fact about a learner: counted and answered, nothing of it is kept.
            return Served(items=[noted(name, "stranger")], answer=_TAKEN)
        if word in _PRESENCE:
            return Served(items=[noted(name, "presence", state=_PRESENCE[word], trusted=True)], answer=_TAKEN)
        decoded = refuse(
            "unknown_operator", f"Không hiểu lệnh “{operator}”.", f"Operator “{operator}” is not understood.", "/operator", name
        )  # fmt: skip
        return Served(items=[Item(decoded=decoded)], answer=_TAKEN)


def _record(
    name: str, info: Mapping[str, Any], received_at: datetime, device: Mapping[str, Any], settings: Mapping[str, Any]
) -> Item:
    raw_time, status = text(pick(info, _TIME)), text(info.get("verifystatus"))
    person = text(pick(info, _PERSON), 80)
    sent = info.get("sendintime")
    live = sent is None or str(sent).strip().lower() in settings["live_values"]
    assumed_zone = zone_of(device, settings)
    parts = {"record": text(info.get("recordid")), "person": person, "time": raw_time, "status": status}
    passage = Passage(
        raw_time=raw_time,
        time=read_local(raw_time, assumed_zone) if raw_time else None,
        zone=assumed_zone,
        dedupe=digest(name, *(parts[p] for p in settings["dedupe"])),
        live=live,
        person=person,
        direction=_direction(info.get("direction"), settings["directions"], device),
        method=settings["method"],
        verify=settings["verify_status"].get(status, "none"),
    )
    decoded = checkin(device, passage, received_at)
    similarity = number(pick(info, _SIMILARITY))
    for draft in decoded.drafts:
        draft.body["similarity"] = similarity if similarity is not None and 0 <= similarity <= 100 else None
    return Item(decoded=decoded, prompt=live)


def _direction(sent: Any, words: Mapping[str, Any], device: Mapping[str, Any]) -> Direction:
    word = text(sent).lower()
    if word in words["in"]:
        return "in"
    return "out" if word in words["out"] else configured(device)


FAMILY = FaceHttp()
