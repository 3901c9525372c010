"""A gate of the hub's own topic tree, as it behaves at the broker.

One concern: this family's side of the wire. It must never know how the hub reads it: it is written from the README
and the schemas, not from the decoder."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from iot.gate import Entry, Gate, GateOptions


class NativeGate(Gate):
    """One gate: QoS 1, UTC milliseconds, birth and death, `is_historical`, and a resend until its `cmd` topic acks.

    `with_image` True: it also sends a picture, which the contract does not ask for and the hub must not keep.
    """

    def __init__(self, options: GateOptions, *, with_image: bool = True) -> None:
        super().__init__(options)
        self._with_image = with_image
        self._births = 0
        self._seq = 0
        self._base = f"campus/v1/{options.school}/{options.device}"

    def _make_client(self, client_id: str) -> paho.Client:
        # Its session is kept: commands sent while it is away reach it later.
        return paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, protocol=paho.MQTTv311
        )

    def _listens_to(self) -> tuple[str, int]:
        return f"{self._base}/cmd", 1

    def _will(self) -> tuple[str, bytes, int]:
        # Paho reconnects with the will it was given first, so the number names the run, not the connection.
        self._births += 1
        return f"{self._base}/state", json.dumps({"state": "death", "bd": self._births}).encode(), 1

    def _greet(self) -> None:
        birth = {"state": "birth", "bd": self._births, "time": time.time_ns() // 1_000_000, "seq": self._seq}
        self._say(f"{self._base}/state", json.dumps(birth).encode(), 1)

    async def _beat(self) -> None:
        return

    def _heard(self, payload: bytes) -> None:
        try:
            message = json.loads(payload)
        except ValueError:
            return
        acks = message.get("ack") if isinstance(message, dict) else None
        for event in acks if isinstance(acks, list) else ():
            self._acknowledged(str(event))

    def _name(self, number: int) -> str:
        self._seq = number
        return f"{self.options.device}-{self.options.seed}-{number}"

    def _clock(self, shown: datetime) -> str:
        return str(round(shown.timestamp() * 1000))

    def _send(self, entry: Entry, resend: bool) -> None:
        plan = entry.plan
        event: dict[str, Any] = {
            "id": entry.event,
            "seq": int(entry.event.rpartition("-")[2]),
            "person": plan.person if plan.verify != "unregistered" else None,
            "time": int(entry.device_time),
            "is_historical": resend or not plan.live,
            "direction": plan.direction,
            "method": "face",
            "similarity": round(90 + self._random.random() * 9, 2),
            "verify": plan.verify,
        }
        if self._with_image:
            event["image"] = self._picture(entry)
        topic = f"campus/v1/{self.options.claims or self.options.school}/{self.options.device}/evt"
        self._say(topic, json.dumps(event).encode(), 1)
