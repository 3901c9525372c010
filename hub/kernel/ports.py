"""The shapes at the hub's edges: what adapters, device families and connectors give and get.

One concern: types and protocols shared by siblings that never import one another. It must never import anything
of the project, open a socket, read a clock or hold a secret. All times are timezone-aware `datetime` unless a
field's name says otherwise; all bodies are `bytes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, Protocol

from msgspec import Struct, field
from msgspec.structs import force_setattr

Event = Literal["NEW", "UPDATE", "CANCEL"]


class Text(Struct, frozen=True):
    """One sentence for people, in both languages of the hub."""

    vi: str
    en: str


def said(error: BaseException, why: object = "") -> Text:
    """What an exception says to people: its class's docstring, `Vietnamese. / English.`, and `why` in brackets."""
    vi, _, en = " ".join((error.__doc__ or "").split()).partition(" / ")
    more = f" ({why})" if str(why) else ""
    return Text(vi + more, en + more)


# --------------------------------------------------------------------------------------------- inbound


class Inbound(Struct, frozen=True, kw_only=True):
    """A message as a decoder sees it. `body` has been through the biometric firewall already."""

    source: str
    """Who sent it: an API client's id, a device's id or a connector's id."""
    type: str
    """Record type asked for (`learner`, `checkin` …), or the message kind in the counterparty's contract."""
    content_type: str
    body: bytes
    received_at: datetime
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Transport facts that matter to decoding: MQTT topic, SOAP action, selected HTTP headers."""


class Draft(Struct, frozen=True, kw_only=True):
    """A canonical record before the ledger has given it id and version."""

    type: str
    key: str
    """Business key: unique within the type, the same for every version of one entity."""
    body: dict[str, Any]
    """The canonical model as plain data. Each code is `{system, code, canonical|None}`."""
    event: Event = "UPDATE"
    """NEW and UPDATE are settled by the ledger from the entity's history; CANCEL is kept as said."""
    updated_at: datetime
    school: str | None = None
    """School the record belongs to: decides who may see it."""
    pointer: str = ""
    """RFC 6901 pointer to the item in the message it came from; empty for the whole body."""


class Reject(Struct, frozen=True, kw_only=True):
    """One item refused, with the place and the reason. Everything beside it goes on."""

    pointer: str
    code: str
    message: Text
    key: str | None = None


Purpose = Literal["snapshot", "enrolment", "template", "unknown"]
_PURPOSES: tuple[tuple[Purpose, re.Pattern[str]], ...] = (
    ("template", re.compile(r"template|feature|embedding|descriptor|vector|minutiae|print|biodata|fingertmp")),
    (
        "enrolment",
        re.compile(r"regist|enrol|avatar|profile|portrait|userpic|userphoto|biophoto|idcard|anhthe|chandung"),
    ),
    (
        "snapshot",
        re.compile(r"snap|sanp|scene|captur|detect|crop|attphoto|^(?:full|big|small|face)?(?:pic|picture)s?$"),
    ),
)
_LETTERS = re.compile(r"[^a-z]+")


@lru_cache(maxsize=4096)
def purpose_of(pointer: str) -> Purpose:
    """What an image or template was sent for, by the name of the field it stood in; `unknown` where the name does not say."""
    named = next((level for level in reversed(pointer.split("/")) if not level.isdigit()), "")
    bare = _LETTERS.sub("", named.lower())
    return next((purpose for purpose, words in _PURPOSES if words.search(bare)), "unknown")


class Removed(Struct, frozen=True):
    """What the biometric firewall took out of one place: never the content itself. When is its message's `received_at`."""

    pointer: str
    digest: str
    """Keyed hash (hex) of the removed bytes."""
    bytes: int
    reason: str
    purpose: Purpose | None = None
    """What it was sent for: worked out from the pointer where it is not given, as in entries kept before it was noted."""

    def __post_init__(self) -> None:
        if self.purpose is None:
            force_setattr(self, "purpose", purpose_of(self.pointer[-200:]))


# ------------------------------------------------------------------------------------------- workbooks


class BookRefused(Exception):
    """Sổ tính không nhận được. / The workbook cannot be taken; `code` and `text` say why."""

    def __init__(self, code: str, text: Text) -> None:
        super().__init__(text.en)
        self.code = code
        self.text = text


class BookRow(Struct, kw_only=True):
    """One row of a workbook or CSV file as an item a school could have pushed."""

    pointer: str
    """`/sheets/<number of the sheet>/<number of the row>`, both as people count, from 1."""
    item: dict[str, Any]
    """`{data: …}`, as `parse_item` takes it."""
    columns: dict[str, str]
    """Path of a field in the item (`data/birth_date`) → letters of the column it came from."""
    rejects: list[Reject] = field(default_factory=list)
    """Cells that cannot be what their column asks for: `<pointer>/<letters>`."""
    beside: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Items of other types the row holds too: (type, item)."""


class Book(Struct, kw_only=True):
    """What a workbook or CSV file holds for one record type."""

    rows: list[BookRow]
    ignored: list[str]
    """Headers nobody knows, whose columns were passed over: `<sheet>!<letters> <header>`."""


class Workbooks(Protocol):
    """Capability of adapters whose counterparty gives schools workbook templates. Pure."""

    types: Sequence[str]
    """Record types there is a template for."""

    def read(self, record_type: str, body: bytes, *, csv: bool, given: Mapping[str, Any], codes: Any) -> Book:
        """The rows of a cleaned workbook. `given`: fields every row has that no column tells (the school …), and `today`, the
        day whose codes count. `codes`: the catalogue in force. Raises `BookRefused`."""
        ...

    def blank(self, record_type: str, codes: Any) -> bytes:
        """An empty template with its category sheets."""
        ...

    def filled(self, record_type: str, bodies: Sequence[Mapping[str, Any]], codes: Any) -> bytes:
        """The template with a row for each canonical record."""
        ...

    def marked(self, body: bytes, *, csv: bool, faults: Sequence[tuple[str, str]]) -> bytes:
        """The workbook with each fault's cell marked and commented. `faults`: (pointer, sentence in Vietnamese)."""
        ...


# -------------------------------------------------------------------------------------------- outbound


class Outgoing(Struct, frozen=True, kw_only=True):
    """One delivery as an adapter sees it when rendering."""

    delivery: int
    record: int
    type: str
    key: str
    event: Event
    version: int
    updated_at: datetime
    school: str | None
    body: dict[str, Any]
    """The canonical record."""
    mapped: dict[str, Any]
    """The flow's field map applied: the counterparty's field names and codes."""
    attempt: int = 1


class Call(Struct, frozen=True, kw_only=True):
    """One request to a counterparty, rendered but without credentials: these bytes are what is kept and resent."""

    operation: str
    deliveries: tuple[int, ...]
    body: bytes
    content_type: str
    idempotent: bool
    """True when the counterparty's contract makes a repeat harmless. False: an intent is stored before the first byte."""
    method: str = "POST"
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    """Business key an inquiry would ask for; required when the adapter offers `inquire`."""
    meta: dict[str, Any] = field(default_factory=dict)


class Reply(Struct, frozen=True, kw_only=True):
    """What came back for one call. `status` is HTTP's; transports without one say 200."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    """Header names in lower case."""
    elapsed_ms: float = 0.0


class Receipt(Struct, frozen=True, kw_only=True, tag=True):
    """The counterparty has taken it, for good."""

    reference: str | None = None
    detail: str | None = None


class TryLater(Struct, frozen=True, kw_only=True, tag=True):
    """Certainly not taken; worth trying again after `after_s` seconds (None: the retry policy decides)."""

    reason: str
    after_s: float | None = None


class NeverTry(Struct, frozen=True, kw_only=True, tag=True):
    """Certainly not taken, and the same content never will be."""

    reason: str
    message: Text


class NeedsPerson(Struct, frozen=True, kw_only=True, tag=True):
    """A person must act first. Scope `delivery` parks this one; `connector` pauses the whole connector."""

    cause: str
    subject: str
    """What the task is about within the cause, e.g. a code or an account: deliveries with the same one share a task."""
    message: Text
    scope: Literal["delivery", "connector"] = "delivery"


class Unknown(Struct, frozen=True, kw_only=True, tag=True):
    """It may or may not have been taken."""

    reason: str


class InProgress(Struct, frozen=True, kw_only=True, tag=True):
    """The counterparty has taken it up and will finish later: it is asked again after `after_s` seconds.

    `state` is what the adapter needs to go on (see `Converser`); the ledger keeps it, so it must hold nothing personal.
    """

    state: dict[str, str]
    after_s: float
    reference: str | None = None


Outcome = Receipt | TryLater | NeverTry | NeedsPerson | Unknown | InProgress


class Reading(Struct, kw_only=True):
    """What a reply means. A delivery of the call found in neither `outcomes` nor `next` is Unknown."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    records: list[Draft] = field(default_factory=list)
    """Records the reply gives rise to (a verification result, a progress notice)."""
    next: Call | None = None
    """The conversation goes on with this call, for the deliveries it names."""


class Settlement(Struct, frozen=True, kw_only=True):
    """The answer to an inquiry about an uncertain delivery."""

    verdict: Literal["present", "absent", "unclear"]
    reference: str | None = None
    detail: str | None = None
    going_on: InProgress | None = None
    """With *present*: it is there, and the conversation about it goes on from here."""


class Adapter(Protocol):
    """A translation for one kind of system. Pure: no socket, no clock, no secret.

    Built as `AdapterClass(settings, profile)`; `settings` follow the manifest's `settings` schema, `profile` is the
    chosen assumptions profile (a mapping read from the adapter's folder).
    """

    def render(self, batch: Sequence[Outgoing]) -> list[Call]:
        """Turn deliveries into calls; every delivery appears in exactly one call."""
        ...

    def read(self, call: Call, reply: Reply) -> Reading:
        """Say what a reply means for each delivery of the call. Raises nothing for any bytes whatever."""
        ...


class Inquirer(Protocol):
    """Capability of adapters whose counterparty can be asked whether something arrived."""

    def inquire(self, delivery: int, call: Call) -> Call:
        """The question that settles `delivery` of an uncertain `call`. Always idempotent."""
        ...

    def settle(self, inquiry: Call, reply: Reply) -> Settlement:
        """Read the answer."""
        ...


class Converser(Protocol):
    """Capability of adapters whose counterparty takes a request now and answers it later."""

    def resume(self, one: Outgoing, state: Mapping[str, str]) -> Call:
        """The next call of a conversation begun with `InProgress`. Always idempotent."""
        ...


class Pulled(Struct, kw_only=True):
    """What one page of a pull brought. Stored with its cursor in one transaction."""

    drafts: list[Draft] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    cursor: str | None = None
    """Where the next pull goes on; None: as it was."""
    next: Call | None = None
    """More pages: the conversation goes on with this call."""
    fault: Outcome | None = None
    """Set instead of everything else when the answer was none: TryLater, NeedsPerson or Unknown."""


class Puller(Protocol):
    """Capability of adapters whose counterparty only lists: the hub asks on a schedule."""

    pulls: Sequence[str]
    """Names of what can be pulled (`catalogue`, `questions` …), as declared in the manifest."""

    def pull(self, what: str, cursor: str | None) -> Call:
        """The question for `what` from `cursor` on. Always idempotent."""
        ...

    def pulled(self, what: str, call: Call, reply: Reply) -> Pulled:
        """Read a page. Raises nothing for any bytes whatever."""
        ...


class Decoder(Protocol):
    """Capability of adapters that receive messages from their system."""

    def decode(self, message: Inbound) -> list[Draft | Reject]:
        """Canonical drafts and rejects of a message, in the message's order."""
        ...


class NotSent(Exception):
    """Không gửi được: đối tác chắc chắn chưa nhận byte nào. / Not sent: the counterparty certainly got nothing to act on."""


class MaybeSent(Exception):
    """Có thể đã gửi: chưa rõ đối tác đã xử lý hay chưa. / Maybe sent: whether the counterparty acted on it is not known."""


class Connector(Protocol):
    """One configured connection to one running system."""

    async def send(self, call: Call, deadline_s: float) -> Reply:
        """Send one call and return its reply, whatever its status. Raises only `NotSent` and `MaybeSent`."""
        ...

    async def close(self) -> None:
        """Give back sockets."""
        ...


# --------------------------------------------------------------------------------------------- devices


class Publication(Struct, frozen=True):
    """Something to publish to a device after the ledger has committed."""

    topic: str
    payload: bytes
    qos: int = 0


class Decoded(Struct, kw_only=True):
    """What a device family made of one publication.

    Exactly one of these holds: `drafts` is not empty (facts to store), `invalid` says why it cannot be understood
    (stored as an invalid message), or `advisory` is set (presence and heartbeat: updates the registry only).
    """

    drafts: list[Draft] = field(default_factory=list)
    dedupe: str | None = None
    """Identity of the event at the device: the same event sent again has the same one."""
    acks: list[Publication] = field(default_factory=list)
    """Device-level acknowledgements: to be published only after commit."""
    invalid: Reject | None = None
    advisory: dict[str, Any] | None = None
    historical: bool = False
    """True for stored-and-forwarded events: they take the lane of history."""
    number: int | None = None
    """The event's place in its device's own count, where it keeps one: a missing number is a missing event."""
    trace: str | None = None
    """The device's own W3C `traceparent`, kept beside the message."""


class DeviceFamily(Protocol):
    """One family of devices. Pure like an adapter."""

    subscriptions: Sequence[str]
    """MQTT topic filters, in MQTT's own syntax."""

    def device_of(self, topic: str) -> str | None:
        """The device a topic belongs to; None for shared topics, whose payload is advisory only."""
        ...

    def decode(self, topic: str, payload: Any, received_at: datetime, device: Mapping[str, Any] | None) -> Decoded:
        """Decode one publication. `payload` is parsed JSON already stripped of biometrics; `device` is its registry
        entry (profile, school, direction, zone), None when it is not registered. Raises nothing for any payload."""
        ...


Hasher = Callable[[bytes], str]
"""Keyed hash (hex) given to pure code by whoever holds the key."""
