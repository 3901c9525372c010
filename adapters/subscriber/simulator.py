"""A stand-in for a subscriber: checks signature, envelope and id strictly, and takes each event once.

One concern: what a careful receiver of signed CloudEvents does. It must never take an unsigned or stale request, a second
event under a known id, or an envelope whose id is not the one signed for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import orjson

from adapters.books import Effect
from adapters.contract import types_of
from adapters.twin import Ask, Say, Twin

EVENT = types_of(Path(__file__).parent / "contract" / "event.schema.json")["event"]
KEY = b"simulated-subscriber-signing-key"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
TOLERANCE_S = 300
_EVENTS = {"new": "NEW", "corrected": "UPDATE", "withdrawn": "CANCEL"}


class Simulator(Twin):
    """`POST /` with one event. `gone`: answers 410 to everything. `conflict`: says 409, not 200, to a known id."""

    system: ClassVar[str] = "subscriber"

    def __init__(self, **common: Any) -> None:
        self.taken: dict[str, str] = {}
        self.gone = False
        self.conflict = False
        super().__init__(**common)

    def restore(self, effect: Effect) -> None:
        """The ids taken, each with its event's digest."""
        self.taken[effect.content["id"]] = effect.content["digest"]

    def authorised(self, url: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """Signed for this moment. Raises ValueError for a body that is no text."""
        body.decode()
        at = str(int(time.time()))
        number = next((v for n, v in headers.items() if n.lower() == "webhook-id"), "none")
        signed = {"webhook-id": number, "webhook-timestamp": at, "webhook-signature": f"v1,{_mac(number, at, body)}"}
        return headers | {"Content-Type": "application/cloudevents+json; charset=utf-8"} | signed, body

    def answer(self, ask: Ask) -> Say:
        """One request."""
        if self.gone:
            return self._refused("gone", 410)
        if not _signed(ask):
            return self._refused("signature", 401)
        media = ask.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if ask.method != "POST" or media != "application/cloudevents+json":
            return self._refused("media_type", 400)
        try:
            told = orjson.loads(ask.body)
            event = msgspec.convert(told, EVENT)
        except (orjson.JSONDecodeError, msgspec.ValidationError) as error:
            return self._refused("schema", 400, str(error))
        if event.id != ask.headers.get("webhook-id"):
            return self._refused("other_id", 400)
        digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
        if (held := self.taken.get(event.id)) is not None:
            if held != digest:
                return self._refused("id_reused", 400)
            self.books.repeat()
            return Say.of({"id": event.id, "duplicate": True}, 409 if self.conflict else 200)
        self.taken[event.id] = digest
        self.books.put(
            key=event.subject,
            version=event.data.version,
            event=_EVENTS[event.data.change],
            type="checkin",
            content={"id": event.id, "digest": digest, "data": told["data"]},
        )
        return Say.of({"id": event.id}, 202)

    def _refused(self, why: str, status: int, detail: str = "") -> Say:
        self.books.refuse(why)
        return Say.of({"error": why, "detail": detail[:300]}, status)


def _mac(number: str, at: str, body: bytes) -> str:
    return base64.b64encode(hmac.digest(KEY, f"{number}.{at}.".encode() + body, "sha256")).decode()


def _signed(ask: Ask) -> bool:
    """Standard Webhooks: an id without dots, a whole number of seconds not far from now, one good `v1` among those given."""
    number, at = ask.headers.get("webhook-id", ""), ask.headers.get("webhook-timestamp", "")
    if not number or "." in number or not (at.isascii() and at.isdigit() and len(at) < 12):
        return False
    if abs(time.time() - int(at)) > TOLERANCE_S:
        return False
    right = _mac(number, at, ask.body).encode()
    given = [one.partition(",") for one in ask.headers.get("webhook-signature", "").split(" ")]
    return any(v == "v1" and hmac.compare_digest(mac.encode("utf-8", "replace"), right) for v, _, mac in given)


if __name__ == "__main__":
    Simulator.main()
