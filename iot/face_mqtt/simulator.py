"""A face terminal of the "mqtt/face" dialect, as it behaves at the broker.

One concern: this family's side of the wire. It must never know how the hub reads it: it is written from the facts,
not from the decoder."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from iot.gate import Entry, Gate, GateOptions

_LOCAL = timezone(timedelta(hours=7))
_STATUS = {"allowed": 1, "refused": 2, "unregistered": 3}
_HEARTBEAT_S = 30.0


class FaceGate(Gate):
    """One terminal: QoS 0, naive local time, a picture in every record, a resend every ten seconds until it hears an
    ack.

    It carries out commands: people added, changed and deleted (`people`), records sent again (`asked`: the spans). `codes`: what
    it answers to an operator instead, once each, in order. `mute`: it answers no command. `spoilt`: how its answer to an operator fails,
    once each, in order: `cut`, `other` (it names another command) or `late` (by `late_s`).
    `sending_s`: how long it sends the records it was asked for, and takes no second question meanwhile.

    `drift` True: firmware that spells and types some fields differently. A resend says `Sendintime` 0 and encodes the
    picture anew, as seen in the field."""

    def __init__(self, options: GateOptions, *, drift: bool = False) -> None:
        super().__init__(options)
        self._drift = drift
        self.people: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.commands: list[tuple[float, str]] = []
        self.codes: dict[str, list[str]] = {}
        self.mute = False
        self.spoilt: dict[str, list[str]] = {}
        self.late_s = 1.5
        self.sending_s = 0.0
        self.sending_until = 0.0

    def _make_client(self, client_id: str) -> paho.Client:
        return paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, protocol=paho.MQTTv311)

    def _listens_to(self) -> tuple[str, int]:
        return f"mqtt/face/{self.options.device}", 0

    def _will(self) -> tuple[str, bytes, int]:
        return "mqtt/face/basic", self._presence("Offline"), 0

    def _presence(self, operator: str) -> bytes:
        return json.dumps({"operator": operator, "info": {"facesluiceId": self.options.device}}).encode()

    def _greet(self) -> None:
        self._say("mqtt/face/basic", self._presence("Online"), 0)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            self._say("mqtt/face/heartbeat", self._presence("HeartBeat"), 0)

    def _heard(self, payload: bytes) -> None:
        try:
            message = json.loads(payload)
        except ValueError:
            return
        if not isinstance(message, dict) or not isinstance(info := message.get("info"), dict | list):
            return
        operator = message.get("operator")
        if operator in ("EditPerson", "AddPersons", "DeletePersons", "ManualPushRecords"):
            self._command(str(operator), message, info)
            return
        if not isinstance(info, dict):
            return
        if operator == "PushAck" and info.get("PushAckType") == 2:
            self._acknowledged(str(info.get("SnapOrRecordID")))
        elif operator == "RecPushAck" and info.get("result") == "ok":
            # This dialect names the person only: the oldest unacknowledged record of that person is meant.
            waiting = (e for e in self.books() if not e.acked and e.plan.person == info.get("customId"))
            if (entry := next(waiting, None)) is not None:
                self._acknowledged(entry.event)

    def _command(self, operator: str, message: dict[str, Any], info: Any) -> None:
        self.commands.append((time.monotonic(), operator))
        if self.mute:
            return
        waiting = self.codes.get(operator)
        code = waiting.pop(0) if waiting else "200"
        if operator == "ManualPushRecords" and code == "200":
            # One question at a time: the next one is refused while this one's records are being sent.
            code = "468" if time.monotonic() < self.sending_until else code
            self.sending_until = max(self.sending_until, time.monotonic() + self.sending_s * (code == "200"))
        if code == "200":
            self._obey(operator, info)
        told = {"operator": f"{operator}-Ack", "messageId": message.get("messageId"), "code": code}
        told["info"] = {"facesluiceId": self.options.device, "result": "ok" if code == "200" else "fail"}
        self._answer(operator, told)

    def _answer(self, operator: str, told: dict[str, Any]) -> None:
        failing = self.spoilt.get(operator)
        how = failing.pop(0) if failing else ""
        if how == "other":
            told["messageId"] = "hub-another"
        answer, topic = json.dumps(told).encode(), f"mqtt/face/{self.options.device}/Ack"
        if how == "late":
            asyncio.get_running_loop().call_later(self.late_s, self._say, topic, answer, 0)
        else:
            self._say(topic, answer[: len(answer) // 2] if how == "cut" else answer, 0)

    def _obey(self, operator: str, info: Any) -> None:
        match operator:
            case "EditPerson":
                self.people[info["customId"]] = info
            case "AddPersons":
                self.people |= {person["customId"]: person for person in info}
            case "DeletePersons":
                for person in info["customId"]:
                    self.people.pop(person, None)
            case "ManualPushRecords":
                self.asked.append((info["TimeS"], info["TimeE"]))
                for entry in self.books():
                    if info["TimeS"] <= entry.device_time <= info["TimeE"]:
                        self._send(entry, resend=True)
                        entry.published += 1

    def _name(self, number: int) -> str:
        return str(number)

    def _clock(self, shown: datetime) -> str:
        return shown.astimezone(_LOCAL).strftime("%Y-%m-%d %H:%M:%S")

    def _send(self, entry: Entry, resend: bool) -> None:
        plan, device = entry.plan, self.options.claims or self.options.device
        known = plan.verify != "unregistered"
        info: dict[str, Any] = {
            "customId": plan.person if known else "",
            "personId": entry.event,
            "RecordID": entry.event,
            "VerifyStatus": str(_STATUS[plan.verify]),
            "PersonType": "0",
            "similarity1": f"{90 + self._random.random() * 9:.6f}",
            "Sendintime": 1 if plan.live and not resend else 0,
            "direction": {"in": "entr", "out": "exit"}.get(plan.direction, "unknow"),
            "facesluiceId": device,
            "idCard": "",
            "telnum": "",
            "time": entry.device_time,
            "isNoMask": "0",
            "PushType": 0,
            "pic": self._picture(entry),
        }
        if self._drift:
            info["facesluiceld"] = info.pop("facesluiceId")
            info["CustomizeID"] = info.pop("customId")
            info["RecordID"] = int(info["RecordID"])
            info["VerifyStatus"] = int(info["VerifyStatus"])
            info["Sendintime"] = str(info["Sendintime"])
            info["SanpPic"] = info.pop("pic")
        message = {"operator": "RecPush", "messageId": f"{self.options.device}-{entry.event}", "info": info}
        self._say(f"mqtt/face/{self.options.device}/Rec", json.dumps(message).encode(), 0)
