"""A Hikvision access terminal that pushes events (ISAPI), as it behaves on the wire.

One concern: this family's side of the wire. It must never know how the hub reads it: it is written from the facts,
not from the decoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import aiohttp

from iot.gate import Entry, GateOptions
from iot.simulator import ListGate, Stored
from iot.webgate import WebGate

_LOCAL = timezone(timedelta(hours=7))
_MINOR = {"allowed": 75, "refused": 76, "unregistered": 76}
_STATUS = {"in": "checkIn", "out": "checkOut"}
Shape = Literal["multipart", "untyped", "json", "xml"]


class HikvisionGate(WebGate):
    """One terminal. `shape`: how its firmware packs an event (`untyped`: multipart without a content type on the
    request or the parts). A resend is marked `currentEvent` false when `honest`, as some firmware does not."""

    def __init__(self, options: GateOptions, *, shape: Shape = "multipart", honest: bool = True) -> None:
        super().__init__(options)
        self._shape = shape
        self._honest = honest

    def _open(self) -> Any:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def _greet(self) -> None:
        return

    def _most(self) -> int:
        return 1

    def _name(self, number: int) -> str:
        return str(100 + number)

    def _clock(self, shown: datetime) -> str:
        return shown.astimezone(_LOCAL).isoformat(timespec="seconds")

    async def _send(self, entries: Sequence[Entry]) -> bool:
        (entry,) = entries
        body, kind = self._packed(entry)
        headers = {"Content-Type": kind} if kind else {}
        try:
            skipped = [] if kind else ["Content-Type"]
            status, _ = await self._ask("POST", "hikvision", data=body, headers=headers, skip_auto_headers=skipped)
        except aiohttp.ClientError:
            self.statuses.append(0)
            return False
        return status == 200

    def _event(self, entry: Entry) -> dict[str, Any]:
        plan, serial = entry.plan, int(entry.event)
        current = plan.live and not (self._honest and entry.published)
        return {
            "ipAddress": "192.0.2.31",
            "channelID": 1,
            "dateTime": entry.device_time,
            "activePostCount": 1 + entry.published,
            "eventType": "AccessControllerEvent",
            "eventState": "active",
            "deviceID": self.options.claims or self.options.device,
            "AccessControllerEvent": {
                "majorEventType": 5,
                "subEventType": _MINOR[plan.verify],
                "employeeNoString": plan.person if plan.verify == "allowed" else "",
                "serialNo": serial,
                "frontSerialNo": serial - 1,
                "currentVerifyMode": "face",
                "currentEvent": current,
                "attendanceStatus": _STATUS.get(plan.direction, "undefined"),
                "pictureURL": f"http://admin:mat-khau@192.0.2.31/picture/{serial}.jpg",
                "picturesNumber": 1,
            },
        }

    def _packed(self, entry: Entry) -> tuple[bytes, str]:
        event = self._event(entry)
        if self._shape == "xml":
            inner = event.pop("AccessControllerEvent")
            plain = "".join(f"<{k}>{_word(v)}</{k}>" for k, v in event.items())
            nested = "".join(f"<{k}>{_word(v)}</{k}>" for k, v in inner.items())
            text = (
                '<?xml version="1.0" encoding="UTF-8"?>\n<EventNotificationAlert version="2.0" '
                'xmlns="http://www.isapi.org/ver20/XMLSchema">\n'
                f"{plain}<AccessControllerEvent>{nested}</AccessControllerEvent>\n</EventNotificationAlert>\n"
            )
            return text.encode(), "application/xml"
        told = json.dumps(event).encode()
        if self._shape == "json":
            return told, "application/json"
        typed = self._shape == "multipart"
        line = b"--MIME_boundary\r\n"
        as_json = b"Content-Type: application/json\r\n" if typed else b""
        as_jpeg = b"Content-Type: image/jpeg\r\n" if typed else b""
        body = (
            line + b'Content-Disposition: form-data; name="event_log"\r\n' + as_json + b"\r\n" + told + b"\r\n"
            + line + b'Content-Disposition: form-data; name="Picture"; filename="Picture.jpg"\r\n' + as_jpeg
            + b"\r\n" + self.picture(entry) + b"\r\n--MIME_boundary--\r\n"
        )  # fmt: skip
        return body, "multipart/form-data; boundary=MIME_boundary" if typed else ""


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


class HikvisionStore(ListGate):
    """The terminal's memory, asked by `AcsEvent`; pages hold `size` whatever is asked for. Its pictures' addresses carry
    its password, as some firmware's do. `numbers` False: firmware that does not know serial numbers in a question.
    `hosts`: what it was told about where to push."""

    def __init__(self, stored: list[Stored], *, size: int = 30, numbers: bool = True, **more: Any) -> None:
        super().__init__(stored, **more)
        self._size = size
        self._numbers = numbers
        self.hosts: list[bytes] = []
        self.bodies: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        if path.startswith("/ISAPI/Event/notification/httpHosts"):
            self.hosts.append(body)
            return 200, "application/xml", b"<ResponseStatus><statusCode>1</statusCode></ResponseStatus>"
        if path != "/ISAPI/AccessControl/AcsEvent":
            return 404, "text/plain", b""
        asked = json.loads(body)["AcsEventCond"]
        self.bodies.append(asked)
        start, end = datetime.fromisoformat(asked["startTime"]), datetime.fromisoformat(asked["endTime"])
        first, last = asked.get("beginSerialNo") or 0, asked.get("endSerialNo") or 2**53
        if not self._numbers:
            first, last = 0, 2**53
        found = [s for s in self.stored if start <= s.at <= end and first <= s.number <= last]
        begin = 0 if self.circling else asked["searchResultPosition"]
        part = found[begin : begin + self._size]
        more = self.circling or begin + len(part) < len(found)
        told = {
            "AcsEvent": {
                "searchID": asked["searchID"],
                "responseStatusStrg": "MORE" if more else "OK" if found else "NO MATCH",
                "numOfMatches": len(part),
                "totalMatches": len(found),
                "InfoList": [
                    {
                        "major": 5,
                        "minor": 75 if s.passed else 76,
                        "time": s.at.astimezone(_LOCAL).isoformat(timespec="seconds"),
                        "employeeNoString": s.person,
                        "name": "Trần Thị Mẫu",
                        "serialNo": s.number,
                        "currentVerifyMode": "face",
                        "pictureURL": f"http://admin:mat-khau@192.0.2.31/picture/{s.number}.jpg",
                    }
                    for s in part
                ],
            }
        }
        return 200, "application/json", json.dumps(told).encode()
