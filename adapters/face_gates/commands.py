"""The commands of the `mqtt/face` dialect for people at a gate, as calls.

One concern: their shape and their pace, as the profile says. Pure. It must never put a picture itself into a command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta, timezone
from typing import Any

import orjson
from msgspec.structs import replace

from hub.kernel.ports import Call, Outgoing

_LOCAL = timezone(timedelta(hours=7))
_FLAGS = {"DataBegin": "BeginFlag", "DataEnd": "EndFlag"}


class Commands:
    """The commands as a profile describes them; `device`: the gate they go to."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        self._profile = profile

    def _person(self, one: Outgoing) -> dict[str, Any]:
        given = {k: v for k, v in one.mapped.items() if v is not None}
        info = {**given, "personType": self._profile["person_type"]}
        if "gender" in info:
            info["gender"] = self._profile["gender"].get(str(info["gender"]), 0)
        for name in ("validBegin", "validEnd"):
            if name in info:
                info[name] = str(info[name]).replace("T", " ")
        info["tempValid"] = int("validEnd" in info)
        return info

    def edit(self, device: str, one: Outgoing) -> Call:
        """One person, new or changed."""
        info = self._person(one)
        kind = "uri" if "picURI" in info else "plain"
        return self._call(device, "edit_person", "EditPerson", [one], {"facesluiceId": device, **info}, {}, kind)

    def addition(self, device: str, ones: Sequence[Outgoing]) -> Call:
        """Several people at once, their pictures by address."""
        people = [self._person(one) for one in ones]
        return self._call(device, "add_persons", "AddPersons", ones, people, {"PersonNum": len(ones), **_FLAGS}, "uri")

    def deletion(self, device: str, ones: Sequence[Outgoing]) -> Call:
        """People to be forgotten."""
        people = [_person_code(one) for one in ones]
        info = {"facesluiceId": device, "customId": people}
        return self._call(
            device, "delete_persons", "DeletePersons", ones, info, {"PersonNum": len(ones), **_FLAGS}, "plain"
        )

    def records(self, device: str, ones: Sequence[Outgoing], **again: int) -> Call:
        """The question for what the gate has stored of the last days (`drain_days`). `again`: `asks` as in `all_sent`, where it is
        asked once more for those it was asked for before."""
        last = max(one.updated_at for one in ones).astimezone(_LOCAL) + timedelta(days=1)
        first = last - timedelta(days=self._profile["drain_days"] + 1)
        info = {"facesluiceId": device, "TimeS": f"{first:%Y-%m-%d %H:%M:%S}", "TimeE": f"{last:%Y-%m-%d %H:%M:%S}"}
        made = self._call(device, "drain", "ManualPushRecords", ones, info, {}, "plain", *again.values())
        return replace(made, meta=made.meta | _attempts(ones) | again)

    def all_sent(self, device: str, ones: Sequence[Outgoing], asks: int) -> Call:
        """A question for one second long ago: refused while the gate still answers the one before, else without records. It names
        nobody: it stands for all it is asked for.

        `asks`: how often it was asked before."""
        first = min(one.updated_at for one in ones).astimezone(_LOCAL)
        then = (first - timedelta(days=3650)).replace(month=1, day=1)
        info = {"facesluiceId": device, "TimeS": f"{then:%Y-%m-%d} 00:00:00", "TimeE": f"{then:%Y-%m-%d} 00:00:01"}
        made = self._call(device, "drained", "ManualPushRecords", ones, info, {}, "plain", asks)
        return replace(made, meta=made.meta | _attempts(ones) | {"asks": asks})

    def _call(
        self,
        device: str,
        name: str,
        operator: str,
        ones: Sequence[Outgoing],
        info: Any,
        beside: Mapping[str, Any],
        gap: str,
        *step: int,
    ) -> Call:
        message = f"hub-{name}-{ones[0].delivery}-{ones[0].version}"
        if name != "edit_person":
            # A late answer to an earlier command is none to this one, which may be for others, or asked after a break: it has a
            # name of its own. One person's content is the same whenever it is told.
            whom = orjson.dumps([[[one.delivery, one.version, one.attempt] for one in ones], step])
            message += f"-{hashlib.blake2b(whom, digest_size=5).hexdigest()}"
        told = {"operator": operator, "messageId": message, **beside, "info": info}
        return Call(
            operation=name,
            deliveries=tuple(one.delivery for one in ones),
            body=orjson.dumps(told),
            content_type="application/json",
            idempotent=True,
            path=self._profile["topic"].format(device=device),
            headers={
                "reply-topic": self._profile["reply_topic"].format(device=device),
                "reply-key": "messageId",
                "reply-value": message,
                "gap-ms": str(self._profile["gap_ms"][gap]),
            },
            key=ones[0].key,
            meta={"device": device, "operator": operator},
        )


def device_of(one: Outgoing) -> str:
    """The gate a person goes to."""
    return str(one.body.get("device") or one.key.partition("/")[0])


def _attempts(ones: Sequence[Outgoing]) -> dict[str, Any]:
    return {"attempts": {str(one.delivery): one.attempt for one in ones}}


def _person_code(one: Outgoing) -> str:
    return str(one.body.get("person_code") or one.key.partition("/")[2])
