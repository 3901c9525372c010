"""What a load of gates says on the wire, family by family: one event as bytes, and what an answer acknowledges.

One concern: these families' words, as cheaply as they can be made: thousands of gates share a processor with the hub
they load. Written from the facts, not from the decoders. It must never open a socket or remember an event.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import orjson
from msgspec import Struct

_AHEAD_S = 7 * 3600
"""Gates here are set to Vietnamese time and never say so."""
_BOUNDARY = "MIME_boundary"
_FORM_HEAD = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="event_log"\r\nContent-Type: application/json\r\n\r\n'.encode()
_FORM_REST = (
    (
        f'\r\n--{_BOUNDARY}\r\nContent-Disposition: form-data; name="Picture"; filename="Picture.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    + b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"
    + bytes(range(256)) * 8
    + b"\xff\xd9"
    + f"\r\n--{_BOUNDARY}--\r\n".encode()
)
"""The small picture such a terminal sends along: the same every time, for it is thrown away unread."""


class Spec(Struct, frozen=True, kw_only=True):
    """One gate: who it is, where it stands, and its secret at the hub. `number`: its place in the fleet."""

    device: str
    family: str
    school: str
    number: int
    secret: str


class Event(Struct):
    """One passage at a gate. `name`: what an answer calls it; `raw`: its time as sent."""

    name: str
    person: str
    raw: str
    body: bytes
    due: float
    stored: bool
    sent: float = 0.0


@lru_cache(maxsize=4096)
def local(second: int) -> str:
    """A second since 1970 as a naive local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(second + _AHEAD_S))


def person(gate: int, number: int) -> str:
    """Who passes: the gate's 400 people, one after the other, so that nobody passes twice in one second."""
    return f"31{gate % 10_000:04d}{number % 400:04d}"


class Words(Protocol):
    """One family. `run` tells one run's events from another's."""

    def event(self, gate: Spec, run: int, number: int, at: float, due: float, stored: bool, picture: str) -> Event:
        """The gate's `number`-th event: happened at `at` (seconds since 1970), to be sent at `due`."""
        ...


class MqttWords(Words, Protocol):
    """A family at the broker."""

    qos: int
    silent: bool
    """Whether nothing ever tells these gates that an event has arrived: they send once, and hear nothing."""

    def publishes(self, gate: Spec) -> str:
        """The topic of its events."""
        ...

    def hears(self, gate: Spec) -> str:
        """The topic of what the hub tells it."""
        ...

    def acknowledged(self, payload: bytes) -> Sequence[str]:
        """The names of the events a message from the hub acknowledges."""
        ...


class WebWords(Words, Protocol):
    """A family that comes over HTTP."""

    most: int
    """Events in one request."""

    def request(self, gate: Spec, host: str, events: Sequence[Event], number: int) -> bytes:
        """A whole request with these events."""
        ...

    def yes(self, status: int, body: bytes, events: int) -> bool:
        """Whether the answer takes all of them."""
        ...


class Face:
    """Face terminals of the "mqtt/face" dialect: QoS 0, and an acknowledgement of their own."""

    qos = 0
    silent = False

    def publishes(self, gate: Spec) -> str:
        """Records."""
        return f"mqtt/face/{gate.device}/Rec"

    def hears(self, gate: Spec) -> str:
        """Acknowledgements and commands."""
        return f"mqtt/face/{gate.device}"

    def event(self, gate: Spec, run: int, number: int, at: float, due: float, stored: bool, picture: str) -> Event:
        """A record, with a picture when one is given."""
        name, who, raw = str(run * 100_000 + number), person(gate.number, number), local(int(at))
        more = f',"pic":"{picture}"' if picture else ""
        body = (
            f'{{"operator":"RecPush","messageId":"{name}","info":{{"customId":"{who}","personId":"{number % 400}","RecordID":"{name}",'
            f'"VerifyStatus":"1","PersonType":"0","similarity1":"94.000000","Sendintime":{0 if stored else 1},'
            f'"personName":"Nguyen Van Mau","facesluiceId":"{gate.device}","idCard":"","telnum":"","time":"{raw}",'
            f'"isNoMask":"0","PushType":0{more}}}}}'
        )
        return Event(name, who, raw, body.encode(), due, stored)

    def acknowledged(self, payload: bytes) -> Sequence[str]:
        """`PushAck` of a record."""
        found = orjson.loads(payload)
        return (str(found["info"]["SnapOrRecordID"]),) if found.get("operator") == "PushAck" else ()


class Native:
    """Gates of the hub's own tree: QoS 1, and acknowledgements that name events."""

    qos = 1
    silent = False

    def publishes(self, gate: Spec) -> str:
        """Events."""
        return f"campus/v1/{gate.school}/{gate.device}/evt"

    def hears(self, gate: Spec) -> str:
        """Acknowledgements and commands."""
        return f"campus/v1/{gate.school}/{gate.device}/cmd"

    def event(self, gate: Spec, run: int, number: int, at: float, due: float, stored: bool, picture: str) -> Event:
        """An event; the tree knows no pictures."""
        name, who, raw = f"{run:x}-{number}", person(gate.number, number), str(int(at * 1000))
        body = (
            f'{{"id":"{name}","seq":{number},"time":{raw},"person":"{who}","direction":"in","method":"face",'
            f'"similarity":97.25,"verify":"allowed","is_historical":{"true" if stored else "false"}}}'
        )
        return Event(name, who, raw, body.encode(), due, stored)

    def acknowledged(self, payload: bytes) -> Sequence[str]:
        """The names under `ack`."""
        return [str(name) for name in orjson.loads(payload).get("ack", ())]


class HanetAtBroker:
    """Cameras that publish to the hub's own broker: QoS 1, and nothing to listen to."""

    qos = 1
    silent = True

    def publishes(self, gate: Spec) -> str:
        """Sightings."""
        return f"/topic/detected/{gate.device}"

    def hears(self, gate: Spec) -> str:
        """Nothing."""
        return ""

    def event(self, gate: Spec, run: int, number: int, at: float, due: float, stored: bool, picture: str) -> Event:
        """A sighting; the hub knows the person by the vendor's own number."""
        name, who, raw = f"{run:x}-{number}", person(gate.number, number), str(int(at * 1000))
        body = (
            f'{{"msg_id":"{name}","camera_id":"{gate.device}","person_id":"{who}","person_name":"Tran Thi Mau",'
            f'"person_type":0,"date_time":"{raw}"}}'
        )
        return Event(name, f"hanet:{who}", raw, body.encode(), due, stored)

    def acknowledged(self, payload: bytes) -> Sequence[str]:
        """Nothing."""
        return ()


class ZkTeco:
    """ADMS: attendance lines, taken when the answer counts them."""

    most = 3

    def event(self, gate: Spec, run: int, number: int, at: float, due: float, stored: bool, picture: str) -> Event:
        """One line."""
        who, raw = person(gate.number, number), local(int(at))
        return Event(str(number), who, raw, f"{who}\t{raw}\t0\t15\t\t0\t0\t\n".encode(), due, stored)

    def request(self, gate: Spec, host: str, events: Sequence[Event], number: int) -> bytes:
        """A post of the attendance table."""
        path = f"/gates/{gate.secret}/iclock/cdata?SN={gate.device}&table=ATTLOG&Stamp={number}"
        return _post(path, host, b"".join(e.body for e in events), "text/plain")

    def yes(self, status: int, body: bytes, events: int) -> bool:
        """`OK: n`."""
        return status == 200 and body.strip() == b"OK: %d" % events


class Hikvision:
    """ISAPI: one event a request, as plain JSON or, every second terminal, as a form with a picture."""

    most = 1

    def event(self, gate: Spec, run: int, number: int, at: float, due: float, stored: bool, picture: str) -> Event:
        """An access event."""
        serial, who = run * 100_000 + number, person(gate.number, number)
        raw = local(int(at)).replace(" ", "T") + "+07:00"
        body = (
            f'{{"ipAddress":"192.0.2.31","channelID":1,"dateTime":"{raw}","activePostCount":1,"eventType":"AccessControllerEvent",'
            f'"eventState":"active","deviceID":"{gate.device}","AccessControllerEvent":{{"majorEventType":5,"subEventType":75,'
            f'"employeeNoString":"{who}","serialNo":{serial},"frontSerialNo":{serial - 1},"currentVerifyMode":"face",'
            f'"currentEvent":{"false" if stored else "true"},"attendanceStatus":"checkIn","picturesNumber":0}}}}'
        )
        return Event(str(serial), who, raw, body.encode(), due, stored)

    def request(self, gate: Spec, host: str, events: Sequence[Event], number: int) -> bytes:
        """One post."""
        body, kind = events[0].body, "application/json"
        if gate.number % 2:
            body, kind = _FORM_HEAD + body + _FORM_REST, f"multipart/form-data; boundary={_BOUNDARY}"
        return _post(f"/gates/{gate.secret}/hikvision", host, body, kind)

    def yes(self, status: int, body: bytes, events: int) -> bool:
        """Any 200."""
        return status == 200


class FaceOverHttp:
    """Face terminals in their HTTP-only mode: one record a request."""

    most = 1

    def event(self, gate: Spec, run: int, number: int, at: float, due: float, stored: bool, picture: str) -> Event:
        """A record, with a picture when one is given."""
        name, who, raw = str(run * 100_000 + number), person(gate.number, number), local(int(at))
        more = f',"SanpPic":"{picture}"' if picture else ""
        body = (
            f'{{"operator":"VerifyPush","info":{{"facesluiceId":"{gate.device}","RecordID":"{name}","CustomizeID":"{who}",'
            f'"PersonID":{number % 400},"VerifyStatus":"1","Similarity1":94.5,"Sendintime":{0 if stored else 1},'
            f'"CreateTime":"{raw}"{more}}}}}'
        )
        return Event(name, who, raw, body.encode(), due, stored)

    def request(self, gate: Spec, host: str, events: Sequence[Event], number: int) -> bytes:
        """One post."""
        return _post(f"/gates/{gate.secret}/face_http", host, events[0].body, "application/json")

    def yes(self, status: int, body: bytes, events: int) -> bool:
        """`{"code":200,…}`."""
        return status == 200 and body.startswith(b'{"code":200')


class Hanet:
    """The vendor's webhook: one call an event, signed over its id."""

    most = 1

    def event(self, gate: Spec, run: int, number: int, at: float, due: float, stored: bool, picture: str) -> Event:
        """A call of the vendor's cloud."""
        name, who, raw = f"{gate.device}-{run:x}-{number}", person(gate.number, number), str(int(at * 1000))
        signed = hashlib.md5((signing(gate) + name).encode(), usedforsecurity=False).hexdigest()
        body = (
            f'{{"action_type":"update","data_type":"log","aliasID":"{who}","personID":"2390481","personName":"Tran Thi Mau",'
            f'"personType":"0","placeID":"12345","deviceID":"{gate.device}","id":"{name}","time":{raw},"hash":"{signed}"}}'
        )
        return Event(name, who, raw, body.encode(), due, stored)

    def request(self, gate: Spec, host: str, events: Sequence[Event], number: int) -> bytes:
        """One post."""
        return _post(f"/gates/{gate.secret}/hanet", host, events[0].body, "application/json")

    def yes(self, status: int, body: bytes, events: int) -> bool:
        """Any 200."""
        return status == 200


MQTT: dict[str, MqttWords] = {"face_mqtt": Face(), "native": Native(), "hanet_mqtt": HanetAtBroker()}
WEB: dict[str, WebWords] = {"zkteco": ZkTeco(), "hikvision": Hikvision(), "hanet": Hanet(), "face_http": FaceOverHttp()}
LISTED = frozenset({"dahua"})
"""Families that say nothing until they are asked: `hub.simulate.gates_lists`."""


def signing(gate: Spec) -> str:
    """What a camera's vendor signs with: the account's secret, made from the gate's so that nobody has to keep it."""
    return hashlib.sha256(b"hanet" + gate.secret.encode()).hexdigest()[:32]


def _post(path: str, host: str, body: bytes, kind: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
