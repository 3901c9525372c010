"""`POST /v1/gates/enrol`: a gate, or whoever sets it up, turns a one-time code into its credentials.

One concern: that exchange. It must never tell why a code was refused, answer the same code twice, or let codes be
guessed: 49 bits, a bucket per address, and one for all addresses together. The counts are in this process only: what is
lost of them at a restart is worth a few guesses.
"""

from __future__ import annotations

import ipaddress
import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request

from hub.api.context import Hub
from hub.api.devices import FAMILIES
from hub.api.fields import LINE
from hub.api.problems import Problem
from hub.embedded.supervisor import read_status
from hub.gate_topics import gate_topics
from hub.kernel.ledger import gates
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import Text

router = APIRouter(prefix="/v1/gates", tags=["devices"])

PER_ADDRESS = (10.0, 10 / 60)
TOGETHER = (100.0, 10.0)
"""Tries at once, and how many come back a second. A truckload of gates is set up in minutes; a guesser needs ages."""
_ADDRESSES_MOST = 10_000

_NO = Text(
    "Mã không dùng được: sai, đã dùng, hết hạn hoặc không thuộc thiết bị này.",
    "The code cannot be used: wrong, used, expired, or not this device's.",
)


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    """`serial` is compared with the registered one where both are known."""

    code: Annotated[str, msgspec.Meta(min_length=8, max_length=40)]
    serial: Annotated[str, msgspec.Meta(max_length=80, pattern=LINE)] | None = None


class Buckets:
    """Tries by address."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float]] = {}

    def take(self, address: str) -> bool:
        """Count one try; False: too many."""
        now = time.monotonic()
        if len(self._known) > _ADDRESSES_MOST:
            self._known = {a: x for a, x in self._known.items() if now - x[1] < 60 or a == ""}
        return self._one(_network(address), *PER_ADDRESS, now) and self._one("", *TOGETHER, now)

    def _one(self, name: str, most: float, per_s: float, now: float) -> bool:
        tokens, at = self._known.get(name, (most, now))
        tokens = min(most, tokens + (now - at) * per_s)
        self._known[name] = (tokens - 1.0 if tokens >= 1.0 else tokens, now)
        return tokens >= 1.0


def _network(address: str) -> str:
    """Who asks: an IPv4 address, an IPv6 network: there one customer has 2^64 addresses."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:60]
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


@router.post("/enrol")
async def enrol(request: Request) -> dict[str, Any]:
    """`{"code": …, "serial"?: …}` → the gate's credentials, once. The answer is not repeated: one that is lost on the way
    takes a new code."""
    buckets: Buckets | None = getattr(request.app.state, "enrol_buckets", None)
    if buckets is None:
        buckets = request.app.state.enrol_buckets = Buckets()
    if not buckets.take(request.client.host if request.client else ""):
        text = Text("Thử quá nhiều lần; hãy chờ một phút.", "Too many tries; wait a minute.")
        raise Problem(429, "too_many_requests", text, headers={"Retry-After": "60"})
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > 2000:
            raise Problem(413, "too_large", Text("Nội dung quá lớn.", "The body is too large."))
    try:
        ask = msgspec.json.decode(body, type=Ask)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = Text(f"Nội dung không hợp lệ: {error}", f"The content is not valid: {error}")
        raise Problem(422, "invalid_enrolment", text) from error
    hub: Hub = request.app.state.hub
    key = hub.keys.hmac("gate-code")
    try:
        given = await gates.enrolled(hub.core, ask.code, key, hub.keys.encrypt, ask.serial)
    except TRANSIENT as error:
        text = Text("Chưa cấp được; hãy gọi lại.", "Nothing was given out; call again.")
        raise Problem(503, "busy", text, headers={"Retry-After": "5"}) from error
    if given is None:
        raise Problem(403, "code_refused", _NO)
    return credentials(hub, given)


def credentials(hub: Hub, given: gates.Credential) -> dict[str, Any]:
    """What a gate has to be told: its name, its secret, and where it goes with them."""
    told: dict[str, Any] = {"device": given.device, "family": given.family, "secret": given.secret}
    if given.old_until is not None:
        told["old_secret_until"] = given.old_until
    if given.family in FAMILIES:
        told["http"] = {"path": f"/gates/{given.secret}/{'iclock/' if given.family == 'zkteco' else given.family}"}
    topics = gate_topics(given.device, given.family, given.school)
    if topics is None:
        return told
    broker = (read_status(hub.settings.data_dir) or {}).get("notes", {}).get("broker") or {}
    told["mqtt"] = {
        "username": given.username, "client_id": given.username, "port": broker.get("port"), "tls_port": broker.get("tls_port"),
        "ca_pem": broker.get("ca_pem"), "subscribe": topics[0], "publish": topics[1],
    }  # fmt: skip
    return told
