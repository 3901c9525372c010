"""Commands to a face terminal about its records: send a span again, and what its answer means.

One concern: those words. Pure. It must never send a second one while the first is not answered: the terminal refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import orjson
from msgspec import Struct

from hub.kernel.ports import Publication
from iot.clock import zone
from iot.face_mqtt.decode import PROFILES
from iot.fields import text

OPERATOR = "ManualPushRecords"
_PREFIX = "hub-records-"


class Answer(Struct, frozen=True):
    """What a terminal's answer means: `done`, `later` (after `after_s` seconds) or `failed`."""

    number: int
    code: str
    verdict: Literal["done", "later", "failed"]
    after_s: float = 0.0


def takes(entry: Mapping[str, Any]) -> bool:
    """Whether this terminal knows the command, as its profile says."""
    return bool(PROFILES.get(entry.get("profile")).settings["send_again"])


def send_again(entry: Mapping[str, Any], number: int, start: datetime, end: datetime) -> Publication:
    """Ask for the records of a span by the terminal's own clock, told in its zone."""
    settings = PROFILES.get(entry.get("profile")).settings
    here = zone(text(entry.get("zone")) or settings["zone"])
    times = [f"{t.astimezone(here):%Y-%m-%d %H:%M:%S}" for t in (start, end)]
    device = text(entry.get("id"), 64)
    info = {"facesluiceId": device, "TimeS": times[0], "TimeE": times[1]}
    told = {"operator": OPERATOR, "messageId": f"{_PREFIX}{number}", "info": info}
    return Publication(f"mqtt/face/{device}", orjson.dumps(told))


def answer(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> Answer | None:
    """What the advisory facts of a command's result say; None when they are about something else."""
    message = text(facts.get("id"), 60)
    digits = message.removeprefix(_PREFIX)
    if facts.get("operator") != f"{OPERATOR}-Ack" or digits == message or not (digits.isascii() and digits.isdigit()):
        return None
    settings = PROFILES.get(entry.get("profile")).settings
    code = text(facts.get("code"), 20)
    if code in settings["command_done"]:
        return Answer(int(digits[:15]), code, "done")
    after = settings["command_later"].get(code)
    return Answer(int(digits[:15]), code, "failed") if after is None else Answer(int(digits[:15]), code, "later", after)
