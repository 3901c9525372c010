"""HANET cameras that publish to the hub's own broker: `/topic/detected/<camera>`.

One concern: that form's words. Pure. It must never acknowledge anything (the cameras listen for nothing: what is lost is
found by the list), or believe a camera that names another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from hub.kernel.ports import NO_PROPERTIES, Decoded
from iot.fields import digest, homeless, lowered, mismatch, pick, refuse, text, unknown_device
from iot.hanet.decode import PROFILES, seen
from iot.web import noted, placed

_PREFIX = "/topic/detected/"


class HanetMqtt:
    """See `hub.kernel.ports.DeviceFamily`."""

    subscriptions: Sequence[str] = (f"{_PREFIX}+",)

    def device_of(self, topic: str) -> str | None:
        """The camera in the topic."""
        return _camera(topic)

    def decode(
        self,
        topic: str,
        payload: Any,
        received_at: datetime,
        device: Mapping[str, Any] | None,
        properties: Mapping[str, str] = NO_PROPERTIES,
    ) -> Decoded:
        """Decode one publication; see `hub.kernel.ports.DeviceFamily.decode`."""
        name = _camera(topic) or ""
        message = lowered(payload)
        if device is None:
            return unknown_device(name)
        if not placed(device):
            return homeless(name)
        if not message:
            return refuse("not_an_object", "Bản tin phải là một đối tượng JSON.", "The message must be a JSON object.")
        claimed = text(pick(message, ("camera_id", "deviceid")), 80)
        if claimed and claimed != name:
            return mismatch("/camera_id", claimed, name)
        settings = PROFILES.get(device.get("profile")).settings
        kind = text(pick(message, ("person_type",)))
        if kind in settings["strangers"] or kind not in settings["learners"]:
            told = noted(name, "stranger" if kind in settings["strangers"] else "other").decoded
            return told
        identity = text(pick(message, ("msg_id",)), 200)
        when = text(pick(message, ("date_time",)))
        # Without a name of its own the same person and second are the same sighting.
        parts = (identity,) if identity else (text(pick(message, ("person_id",)), 80), when)
        return seen(digest(name, "mqtt", *parts), message, received_at, {**device, "id": name}, settings).decoded


@lru_cache(maxsize=8192)
def _camera(topic: str) -> str | None:
    name = topic.removeprefix(_PREFIX)
    return name if name != topic and name and not set(name) & {"/", "+", "#"} else None


MQTT = HanetMqtt()
