"""HANET cameras: behind the vendor's cloud, as its webhook calls arrive, and at the hub's own broker.

One concern: the vendor's side of the wire. It must never know how the hub reads it: it is written from the facts, not
from the decoder."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from iot.gate import Entry, Gate, GateOptions
from iot.simulator import ListGate, Stored
from iot.webgate import WebGate

_LOCAL = timezone(timedelta(hours=7))


class HanetCamera(WebGate):
    """One camera. `client_secret`: what the account signs with; `with_time` False: only the naive date is sent;
    `embed` True: it puts the picture itself into the call, which the contract does not say."""

    def __init__(
        self, options: GateOptions, *, client_secret: str, with_time: bool = True, embed: bool = False
    ) -> None:
        super().__init__(options)
        self._secret = client_secret
        self._with_time = with_time
        self._embed = embed

    def _open(self) -> Any:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def _greet(self) -> None:
        return

    def _most(self) -> int:
        return 1

    def _name(self, number: int) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.options.device}/{self.options.seed}/{number}"))

    def _clock(self, shown: datetime) -> str:
        if self._with_time:
            return str(round(shown.timestamp() * 1000))
        return shown.astimezone(_LOCAL).strftime("%Y-%m-%d %H:%M:%S")

    async def _send(self, entries: Sequence[Entry]) -> bool:
        (entry,) = entries
        plan = entry.plan
        stranger = plan.verify == "unregistered"
        call: dict[str, Any] = {
            "action_type": "update",
            "data_type": "log",
            "aliasID": "" if stranger else plan.person,
            "personID": "" if stranger else "2390481234567890",
            "personName": "Trần Thị Mẫu",
            "personType": "2" if stranger else "0",
            "placeID": "12345",
            "deviceID": self.options.claims or self.options.device,
            "detected_image_url": f"https://pictures.example/{entry.event}.jpg",
            "id": entry.event,
            "hash": hashlib.md5((self._secret + entry.event).encode(), usedforsecurity=False).hexdigest(),
        }
        if self._with_time:
            call["time"] = int(entry.device_time)
        else:
            call["date"] = entry.device_time
        if self._embed:
            call["detected_image"] = base64.b64encode(self.picture(entry)).decode()
        try:
            status, _ = await self._ask(
                "POST", "hanet", data=json.dumps(call), headers={"Content-Type": "application/json"}
            )
        except aiohttp.ClientError:
            self.statuses.append(0)
            return False
        return status == 200


class HanetAtBroker(Gate):
    """One camera at the hub's broker: QoS 1, each sighting once, and nothing it listens to. Its books never hold an
    acknowledgement: that the broker took something (`handed_over`) says nothing of the hub.

    `compact` True: dates as `DDMMYYYYHHmmSS`, everything as text. `embed` True: the picture in the message."""

    def __init__(self, options: GateOptions, *, compact: bool = False, embed: bool = False) -> None:
        super().__init__(options)
        self._compact = compact
        self._embed = embed
        self._said = 0
        self.handed_over = 0
        """How many publications the broker has taken, of those since it was last switched on."""

    def _make_client(self, client_id: str) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, protocol=paho.MQTTv311
        )
        client.on_publish = lambda *_: self._taken()
        self._said = self.handed_over = 0  # what the client before had not handed over is gone with it
        return client

    def _taken(self) -> None:
        # In paho's thread, the only one that writes it. One said while the broker was away is taken later.
        self.handed_over += 1

    def _listens_to(self) -> None:
        return None

    def _will(self) -> None:
        return None

    def _greet(self) -> None:
        return

    async def _beat(self) -> None:
        return

    def _heard(self, payload: bytes) -> None:
        return

    async def _resend(self) -> None:
        return

    async def _settled(self) -> None:
        end = asyncio.get_running_loop().time() + self.options.patience_s
        while self.handed_over < self._said and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)

    def _name(self, number: int) -> str:
        return f"{self.options.seed}-{number}"

    def _clock(self, shown: datetime) -> str:
        if self._compact:
            return shown.astimezone(_LOCAL).strftime("%d%m%Y%H%M%S")
        return str(int(shown.timestamp()))

    def _send(self, entry: Entry, resend: bool) -> None:
        kind = 2 if entry.plan.verify == "unregistered" else 0
        told: dict[str, Any] = {
            "msg_id": entry.event,
            "camera_id": self.options.claims or self.options.device,
            "person_id": entry.plan.person,
            "person_type": str(kind) if self._compact else kind,
            "date_time": entry.device_time if self._compact else int(entry.device_time),
        }
        if self._embed:
            told["detected_image"] = self._picture(entry)
        self._client.publish(f"/topic/detected/{self.options.device}", json.dumps(told).encode(), 1)
        self._said += 1


class HanetPlace(ListGate):
    """The vendor's list of a place: `person/getCheckinByPlaceIdInTimestamp`. It does not tell the ids its webhook told.

    `aliases` False: of a person it tells the vendor's own number alone, as cameras at a broker do. `numbers`: which alias and which
    number of the vendor's it tells of a passage instead. `camera`: which saw a passage, where there are several. `spans`: what it
    was asked for, page by page: from, to."""

    def __init__(
        self,
        stored: list[Stored],
        *,
        camera: str | Callable[[Stored], str],
        place: str = "12345",
        aliases: bool = True,
        numbers: Callable[[Stored], tuple[str, str]] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(stored, **more)
        self._numbers = numbers or (lambda s: (s.person, "2390481234567890") if aliases else ("", s.person))
        self._camera = camera if callable(camera) else lambda _: camera
        self._place = place
        self.spans: list[tuple[datetime, datetime]] = []

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        asked = dict(parse_qsl(body.decode()))
        if not path.endswith("getCheckinByPlaceIdInTimestamp") or asked.get("placeID") != self._place:
            return 200, "application/json", b'{"returnCode": -1, "returnMessage": "placeID"}'
        start, end = int(asked["from"]), int(asked["to"])
        self.spans.append((datetime.fromtimestamp(start / 1000, UTC), datetime.fromtimestamp(end / 1000, UTC)))
        found = [s for s in self.stored if start <= s.at.timestamp() * 1000 < end]
        size, number = int(asked["size"]), 1 if self.circling else int(asked["page"])
        data = [
            {
                "aliasID": self._numbers(s)[0],
                "personID": self._numbers(s)[1],
                "personName": "Trần Thị Mẫu",
                "type": "0" if s.passed else "2",
                "deviceID": self._camera(s),
                "checkinTime": int(s.at.timestamp() * 1000),
                "avatar": f"https://pictures.example/{s.number}.jpg",
            }
            for s in found[(number - 1) * size : number * size]
        ]
        return 200, "application/json", json.dumps({"returnCode": 1, "data": data}).encode()
