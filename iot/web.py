"""Families of devices that speak HTTP: what a listener gives them, what they give back, and what they share.

One concern: the shapes between the gateway's device listeners and the families' pure code, and the check-in that all
of them make. Pure. It must never open a socket, read a clock or keep an image; a secret only passes through."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, TypeGuard

from msgspec import Struct, field

from hub.kernel.ports import Decoded, Draft
from iot.clock import EARLIEST, Estimate, judge
from iot.fields import homeless, is_identifier, refuse, text, unknown_device

Verify = Literal["none", "allowed", "refused", "unregistered"]
Method = Literal["face", "card", "finger", "unknown"]
Direction = Literal["in", "out", "unknown"]
NOBODY = "unknown"
"""The person of a passage that tells none."""


class Ask(Struct, frozen=True, kw_only=True):
    """One request without its body. `path`: below the family's own root; `query`: names in lower case."""

    method: str
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""


class Answer(Struct, frozen=True):
    """What the device is told, once everything is committed."""

    status: int = 200
    body: bytes = b"OK"
    content_type: str = "text/plain; charset=utf-8"


REFUSED = Answer(403, b"")
"""Strangers and liars: no positive answer, and no word on why."""


class Cut(Struct, frozen=True):
    """A piece of a request that goes to nobody: the listener keeps its keyed hash and size."""

    pointer: str
    content: bytes
    reason: str


class Unpacked(Struct, kw_only=True):
    """A request's body taken apart. `body`: the text that may hold facts; `broken`: it could not be taken apart, so of
    what is left only the beginning, before the first picture, may be kept."""

    body: bytes
    cuts: list[Cut] = field(default_factory=list)
    broken: bool = False


class Content(Struct, frozen=True, kw_only=True):
    """A body after the biometric firewall; `tree` is its JSON when `is_json`."""

    body: bytes
    is_json: bool = False
    tree: Any = None


class Item(Struct, kw_only=True):
    """One thing a request says.

    `body`: the part of the content it was read from, None for the whole. `prompt`: sent as it happened, as far as can
    be told, so its lag may teach the device's clock. `remember`: facts for the device's entry once this is stored, and for all
    gateways: `serial`, `covers`, `anew` (see `iot.hikvision.decode`), `stamp`.
    """

    decoded: Decoded
    body: bytes | None = None
    prompt: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    remember: dict[str, Any] = field(default_factory=dict)


class Served(Struct, kw_only=True):
    """What a family made of a request: the items to store, and the answer once they are."""

    items: list[Item] = field(default_factory=list)
    answer: Answer = Answer()


class WebFamily(Protocol):
    """One family of devices that speak HTTP. Pure like an adapter; nothing here raises for any request whatever.

    `device` is a registry entry: `id`, `profile`, `school`, `entrance`, `direction`, `zone`, `clock`
    (`iot.clock.Estimate` or None), what earlier items had remembered, and on a poll `command`.
    """

    name: str
    max_bytes: int
    """Largest body read."""

    def named(self, ask: Ask) -> str | None:
        """The device the request names outside its body; None where only the secret in the address tells."""
        ...

    def plain(self, device: Mapping[str, Any]) -> bool:
        """Whether this device may come without a secret in the address."""
        ...

    def polls(self, ask: Ask) -> bool:
        """Whether the request asks for a command."""
        ...

    def greets(self, ask: Ask) -> bool:
        """Whether the request is one a device begins with after a start."""
        ...

    def ignores(self, ask: Ask) -> str | None:
        """A body that must not even be read into memory: `biometric` or `other`; None for bodies to read."""
        ...

    def unpack(self, ask: Ask, body: bytes) -> Unpacked:
        """Take a body apart, before the firewall: pictures that stand in parts of their own leave here."""
        ...

    def sender(self, content: Content, device: Mapping[str, Any]) -> str | None:
        """For an entry that speaks for many devices (a vendor's account): the device meant. None: the entry itself."""
        ...

    def signed(self, content: Content, secret: str) -> bool:
        """Whether the content carries the family's signature with this secret; True for families without one."""
        ...

    def decode(
        self, ask: Ask, content: Content, received_at: datetime, device: Mapping[str, Any] | None, owner: str = ""
    ) -> Served:
        """Decode one request. `device` None: the sender is not registered. `owner`: the entry whose secret opened the
        door, when it is another than the device."""
        ...


class Plain:
    """A family's answers where it has nothing of its own to say: a gate with a secret path that speaks for itself, asks
    for nothing and signs nothing."""

    def named(self, ask: Ask) -> str | None:
        """The address tells."""
        return None

    def plain(self, device: Mapping[str, Any]) -> bool:
        """Never without a secret."""
        return False

    def polls(self, ask: Ask) -> bool:
        """It asks for nothing."""
        return False

    def greets(self, ask: Ask) -> bool:
        """It says nothing before its events."""
        return False

    def ignores(self, ask: Ask) -> str | None:
        """Every body is read."""
        return None

    def unpack(self, ask: Ask, body: bytes) -> Unpacked:
        """The body as it is; what does not begin as JSON does not hold together."""
        return Unpacked(body=body, broken=not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"))

    def sender(self, content: Content, device: Mapping[str, Any]) -> str | None:
        """The entry itself."""
        return None

    def signed(self, content: Content, secret: str) -> bool:
        """There is no signature."""
        return True


class Passage(Struct, frozen=True, kw_only=True):
    """One passage as a family read it. `time`: the device's time, aware, None when unreadable; `person` may be empty."""

    raw_time: str
    time: datetime | None
    zone: str
    dedupe: str
    live: bool
    person: str = ""
    known: bool = True
    """False: the device knows the person, the hub's codes do not."""
    direction: Direction = "unknown"
    method: Method = "unknown"
    verify: Verify = "allowed"


def lying(claimed: str, actual: str, pointer: str = "") -> Served:
    """A request that names another device than the one whose secret it came with: kept as invalid, refused."""
    decoded = refuse(
        "device_mismatch",
        f"Yêu cầu tự nhận là “{claimed[:64]}” nhưng đến bằng khóa của “{actual[:64]}”.",
        f"The request claims “{claimed[:64]}” but came with the secret of “{actual[:64]}”.",
        pointer,
        actual[:64],
    )
    return Served(items=[Item(decoded=decoded)], answer=REFUSED)


def unsigned(name: str) -> Served:
    """A request without the signature its sender must give: kept as invalid, refused."""
    decoded = refuse(
        "bad_signature",
        "Chữ ký (hash) của bản tin thiếu hoặc sai.",
        "The message's signature (hash) is missing or wrong.",
        "/hash",
        name[:64],
    )
    return turned_away(decoded)


def turned_away(decoded: Decoded) -> Served:
    """A request of nobody, or of a gate that belongs nowhere: kept as invalid, refused."""
    return Served(items=[Item(decoded=decoded)], answer=REFUSED)


def placed(device: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    """Whether a sender is registered and stands in a school."""
    return device is not None and bool(text(device.get("school")))


def unplaced(device: Mapping[str, Any] | None, called: str) -> Served:
    """The refusal of a sender that is not registered (known only as `called`) or stands in no school."""
    return turned_away(unknown_device(called) if device is None else homeless(text(device.get("id"), 64)))


def noted(device: str, kind: str, **facts: Any) -> Item:
    """A hint that is not stored: presence, a heartbeat, a stranger, an event that is no passage."""
    return Item(decoded=Decoded(advisory={"kind": kind, "device": device, **facts}))


def zone_of(device: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The zone a device's naive times are taken to be in: its entry's, else the profile's."""
    return text(device.get("zone"), 40) or str(settings["zone"])


def estimate_of(device: Mapping[str, Any]) -> Estimate | None:
    """What is known of a device's clock."""
    known = device.get("clock")
    return known if isinstance(known, Estimate) else None


def is_prompt(moment: datetime | None, received_at: datetime, known: Estimate | None, within_s: float) -> bool:
    """Whether an event came soon enough after it happened, by the device's clock as far as it is known, to count as
    live. A time that cannot be read, or from before there were gates, says nothing: then it counts as live."""
    if moment is None or moment < EARLIEST:
        return True
    expected = known.lag_s if known is not None and not known.kept else 0.0
    return (received_at - moment).total_seconds() - expected <= within_s


def configured(device: Mapping[str, Any]) -> Direction:
    """The gate's own direction, for events that do not say."""
    direction = device.get("direction")
    return direction if direction in ("in", "out") else "unknown"


def checkin(device: Mapping[str, Any], passage: Passage, received_at: datetime) -> Decoded:
    """The check-in of one passage. Invalid when the person's code or the raw time has no shape the model allows; times
    that cannot be right and people nobody knows are quarantined."""
    name, key = text(device.get("id"), 64), passage.dedupe
    if not passage.raw_time:
        return _bad(name, passage, "no_time", "Thiếu thời gian.", "The time is missing.")
    if passage.person and not is_identifier(passage.person):
        return _bad(
            name,
            passage,
            "person_code",
            "Mã người phải gồm chữ cái không dấu, chữ số và . _ / : -, tối đa 60 ký tự.",
            "The person code must be ASCII letters, digits and . _ / : -, at most 60 characters.",
        )
    school = text(device.get("school"))
    judged = judge(passage.time, received_at, passage.live, estimate_of(device))
    if passage.verify == "refused":
        not_attendance: str | None = "refused"
    else:
        stranger = passage.verify == "unregistered" or not passage.person or not passage.known
        not_attendance = "unregistered" if stranger else None
    body: dict[str, Any] = {
        "person_code": passage.person or NOBODY,
        "device": name,
        "school_code": school,
        "device_time_raw": passage.raw_time,
        "assumed_zone": passage.zone,
        "direction": passage.direction,
        "received_at": received_at.isoformat(),
        "estimated_offset_s": judged.offset_s,
        "corrected_time": judged.corrected.isoformat() if judged.corrected else None,
        "uncertainty_s": judged.uncertainty_s,
        "historical": not passage.live,
        "method": passage.method,
        "similarity": None,
        "verify_status": passage.verify,
        "quarantine": judged.quarantine or not_attendance,
        "images_removed": 0,
    }
    if entrance := text(device.get("entrance"), 250):
        body["entrance"] = entrance
    if passage.person and not passage.known:
        body["local_id"] = passage.person
    draft = Draft(
        type="checkin",
        key=f"{name}/{key}",
        body=body,
        event="NEW",
        updated_at=judged.corrected or received_at,
        school=school,
    )
    return Decoded(drafts=[draft], dedupe=key, historical=not passage.live)


def _bad(name: str, passage: Passage, code: str, vi: str, en: str) -> Decoded:
    # A registered device's own fault: it is kept and answered, so the device may forget it instead of sending it again.
    decoded = refuse(code, vi, en, key=f"{name}/{passage.dedupe}")
    decoded.dedupe, decoded.historical = passage.dedupe, not passage.live
    return decoded
