"""Check-ins to any service that takes CloudEvents 1.0 over a webhook: first of all, a school–family message service.

One concern: one event per delivery, and what its receiver's answer means. Pure. It must never tell more of a person than the
passage itself (no picture, no similarity, no name), and never put a person's code where only envelopes are read: `id` and
`subject` are digests.

What a kill leaves: an event sent and not concluded is sent again under the same id, by which the receiver knows it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson

from adapters.kit import CONTRACT, everyone, http_outcome, json_object
from hub.kernel.ports import Call, NeedsPerson, Outcome, Outgoing, Reading, Receipt, Reply, Text, Unknown

_LOCAL = timezone(timedelta(hours=7))
_GONE = Text(
    "Bên nhận trả lời 410: không nhận nữa. Hãy hỏi lại bên nhận rồi mở lại hoặc bỏ kết nối.",
    "The subscriber answered 410 Gone: it wants nothing more. Ask them, then resume or remove the connector.",
)


class Subscriber:
    """See `hub.kernel.ports.Adapter`. Settings: `source`, `receipt`; the profile names the event type and the media type."""

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        """Raises KeyError when the profile lacks what it must say."""
        self._source: str = settings["source"]
        self._by_status = settings["receipt"] == "status"
        self._types: Mapping[str, str] = profile["types"]
        self._media: str = profile["content_type"]
        self._changes: Mapping[str, str] = profile["changes"]
        self._repeated: str = profile["repeated"]

    def render(self, batch: Sequence[Outgoing]) -> list[Call]:
        """One event, one call. Raises ValueError for other record types: a flow that routes them here is wrong."""
        return [self._told(one) for one in batch]

    def read(self, call: Call, reply: Reply) -> Reading:
        """What the answer means for the call's one delivery."""
        return everyone(call, self._outcome(call, reply))

    # -- out

    def _told(self, one: Outgoing) -> Call:
        if one.type not in self._types:
            raise ValueError(f"subscriber: không nhận loại / does not take record type {one.type!r}")
        number = event_id(one)
        data = {name: value for name, value in one.mapped.items() if value is not None}
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": number,
            "source": self._source,
            "type": self._types[one.type],
            "subject": subject(one),
            "datacontenttype": "application/json",
        }
        data.pop("time", None)
        if (at := _moment(one.mapped.get("time"))) is not None:
            event["time"] = data["time"] = (
                at  # without a trusted time both are left out: no other is put in their place
            )
        event["data"] = data | {"change": self._changes[one.event], "version": one.version}
        return Call(
            operation="tell",
            deliveries=(one.delivery,),
            body=orjson.dumps(event),
            content_type=self._media,
            idempotent=True,
            headers={"webhook-id": number},
            key=one.key,
            meta={"id": number},
        )

    # -- back

    def _outcome(self, call: Call, reply: Reply) -> Outcome:
        if reply.status == 410:
            return NeedsPerson(cause="endpoint_gone", subject=self._source, message=_GONE, scope="connector")
        if (outcome := http_outcome(call, reply, self._source)) is not None:
            return outcome
        number = str(call.meta.get("id", ""))
        said = json_object(reply.body) or {}
        named = bool(number) and said.get("id") == number
        if named and (reply.status < 300 or reply.status == 409):
            again = reply.status == 409 or said.get(self._repeated) is True
            return Receipt(reference=number, detail="duplicate" if again else None)
        if reply.status >= 300:
            return NeedsPerson(cause="contract_refused", subject=f"HTTP {reply.status}", message=CONTRACT)
        if self._by_status and not reply.body.lstrip().startswith(b"<"):
            return Receipt(reference=number)
        return Unknown(reason="the answer does not name the event")


def event_id(one: Outgoing) -> str:
    """The event's id: the same whenever this version of this record is told, by whichever delivery."""
    return _name([one.type, one.key, one.version, one.event])


def subject(one: Outgoing) -> str:
    """The passage's own name, the same for every version: a correction or withdrawal is known by it."""
    return f"{one.type}/{_name([one.type, one.key])}"


def _name(parts: list[Any]) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:lienthong:{orjson.dumps(parts).decode()}"))


def _moment(value: Any) -> str | None:
    """An instant as RFC 3339 in Vietnam's time, to the second; None for what is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    return value.astimezone(_LOCAL).isoformat(timespec="seconds")
