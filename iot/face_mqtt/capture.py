"""The second dialect of face terminals: `topic/face/capture/request/<id>` and the reply they wait for.

One concern: that dialect's words, turned into the first one's. Pure. It must never read a picture, or a person's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from hub.kernel.ports import Publication
from iot.fields import lowered, pick, text

SUBSCRIPTION = "topic/face/capture/request/+"
_TOPIC = re.compile(r"topic/face/capture/request/([^/+#]+)")
_DEVICE = ("device_no", "device_id", "facesluiceid")


def device_of(topic: str) -> str | None:
    """The id in the topic; None for a topic of the other dialect."""
    match = _TOPIC.fullmatch(topic)
    return match[1] if match else None


def as_record(message: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A capture as the first dialect's `info`, names in lower case. Nobody recognised: VerifyStatus 3."""
    found = {**lowered(pick(message, ("match",))), **message}
    person = pick(found, settings["capture_person"])
    info: dict[str, Any] = {
        "recordid": message.get("sequence_no"),
        "customid": person,
        "time": pick(message, ("cap_time",)),
        "verifystatus": "1" if text(person) else "3",
        "facesluiceid": pick(message, _DEVICE),
        "similarity1": pick(found, ("similarity", "score")),
    }
    if text(pick(message, ("realtime", "sendintime"))) == "0":
        info["sendintime"] = 0
    return info


def reply(name: str, message: Mapping[str, Any]) -> list[Publication]:
    """The acknowledgement the terminal waits for; none where it did not say which capture it is."""
    number, when = message.get("sequence_no"), text(message.get("cap_time"), 60)
    if type(number) is not int and not (type(number) is str and number.isprintable() and 0 < len(number) <= 60):
        return []
    told = {"reply": "ACK", "cmd": "face", "code": 0, "sequence_no": number, "cap_time": when}
    return [Publication(f"topic/face/capture/response/{name}", orjson.dumps(told))]
