"""A stand-in for face terminals' command channel: one HTTP path per topic, the answer a terminal would publish.

One concern: what a terminal does with a command, held strictly. It must never take a person twice as two, or more in one
command than the limits allow.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, ClassVar

import orjson
import yaml

from adapters.books import Effect
from adapters.twin import Ask, Say, Twin

PROFILE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "profile-face-mqtt.yaml").read_text("utf-8"))
_ACCOUNT = "Basic " + base64.b64encode(b"hub:simulated-broker-password").decode()


class Simulator(Twin):
    """`POST /mqtt/face/<id>` with a command. `refuse`: code to answer with instead, by customId."""

    system: ClassVar[str] = "face_gates"

    def __init__(self, **common: Any) -> None:
        self.people: dict[tuple[str, str], dict[str, Any]] = {}
        self.refuse: dict[str, str] = {}
        super().__init__(**common)

    def restore(self, effect: Effect) -> None:
        """People as last told."""
        device, _, person = effect.key.partition("/")
        if effect.event == "CANCEL":
            self.people.pop((device, person), None)
        else:
            self.people[device, person] = effect.content

    def authorised(self, url: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """The broker's account."""
        return headers | {"Authorization": _ACCOUNT}, body

    def answer(self, ask: Ask) -> Say:
        """One command."""
        parts = ask.path.strip("/").split("/")
        if ask.headers.get("Authorization") != _ACCOUNT:
            self.books.refuse("credentials")
            return self.expired(ask)
        try:
            told = orjson.loads(ask.body)
        except orjson.JSONDecodeError:
            told = None
        if len(parts) != 3 or not isinstance(told, dict) or not isinstance(told.get("operator"), str):
            self.books.refuse("unreadable")
            return Say.of({"error": "unreadable"}, 400)
        code = self._do(parts[2], told)
        if code != "200":
            self.books.refuse(code)
        said = {"operator": f"{told['operator']}-Ack", "messageId": told.get("messageId"), "code": code}
        return Say.of(said | {"info": {"facesluiceId": parts[2], "result": "ok" if code == "200" else "fail"}})

    def _do(self, device: str, told: dict[str, Any]) -> str:
        info, wrapped = told.get("info"), (told.get("DataBegin"), told.get("DataEnd")) == ("BeginFlag", "EndFlag")
        match told["operator"]:
            case "EditPerson" if isinstance(info, dict) and isinstance(info.get("customId"), str) and info.get("name"):
                return self._keep(device, [info])
            case "AddPersons" if wrapped and isinstance(info, list) and 0 < len(info) <= PROFILE["add_max"]:
                return self._keep(device, info) if all(isinstance(p, dict) and p.get("picURI") for p in info) else "400"
            case "DeletePersons" if wrapped and isinstance(info, dict) and isinstance(info.get("customId"), list):
                if len(info["customId"]) > PROFILE["delete_max"]:
                    return "400"
                for person in info["customId"]:
                    known = self.people.pop((device, str(person)), None)
                    if known is not None or not self._gone(device, str(person)):
                        self._note(device, str(person), "CANCEL", {})
                return "200"
            case "ManualPushRecords" if isinstance(info, dict) and info.get("TimeS") and info.get("TimeE"):
                return "200"
        return "400"

    def _keep(self, device: str, people: list[dict[str, Any]]) -> str:
        for person in people:
            if code := self.refuse.get(str(person.get("customId"))):
                return code
        for person in people:
            key = (device, str(person["customId"]))
            if self.people.get(key) != person:
                self.people[key] = person
                self._note(*key, "UPDATE", person)
        return "200"

    def _note(self, device: str, person: str, event: str, content: dict[str, Any]) -> None:
        version = 1 + sum(1 for e in self.books.effects if e.key == f"{device}/{person}")
        self.books.put(key=f"{device}/{person}", version=version, event=event, type="gate_person", content=content)

    def _gone(self, device: str, person: str) -> bool:
        last = [e.event for e in self.books.effects if e.key == f"{device}/{person}"]
        return bool(last) and last[-1] == "CANCEL"


if __name__ == "__main__":
    Simulator.main()
