"""What a push holds: items out of a body, each through the firewall and the model, ready for the ledger.

One concern: bytes of a client in, arrivals out. It must never let a byte through that the biometric firewall has not
judged, nor touch the ledger.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from functools import cache
from typing import Protocol

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from hub.api.auth import Client, header
from hub.api.context import Hub
from hub.api.problems import Problem
from hub.kernel.access import Scope
from hub.kernel.firewall import MARK, Cleaned, clean, harmless_names, untouched
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ports import Draft, Reject, Removed, Text
from mappings.canonical.parse import field_names, parse_item
from mappings.canonical.quick import read_quick
from mappings.canonical.registry import TYPES
from mappings.fieldmap import today_of

_ARRAY_PART = 500
"""Items of an array copied out of its body at a time."""

_UNREADABLE = Text("Nội dung không phải JSON hợp lệ: {0}", "The body is not valid JSON: {0}")


@cache
def _known_fields(record_type: str) -> bool:
    """Whether the model of a type has no field the firewall would look into: then knowing its names is half the work."""
    return harmless_names(field_names(record_type))


def read_item(
    record_type: str, item: bytes, pointer: str, at: datetime, hub: Hub
) -> tuple[bytes, Draft | list[Reject], list[Removed]]:
    """One item through the firewall and the model: its bytes to be kept, what it says or why not, what was taken out."""
    catalogue = hub.core.catalogue
    # Most items by far are in order and hold nothing that could be an image: then one pass is enough.
    quick = read_quick(record_type, item, pointer, at, catalogue, untouched) if _known_fields(record_type) else None
    if quick is not None:
        return item, quick, []
    cleaned = clean(item, hub.core.hasher)
    found = parse_item(record_type, cleaned.tree if cleaned.is_json else cleaned.body, pointer, at)
    removed = cleaned.removed
    if type(cleaned.tree) is not dict:
        # No item: perhaps a line of a picture, whose other lines are items as well. The sender knows what it sent.
        cleaned = Cleaned(MARK.encode(), [])
        removed = [Removed("", hub.core.hasher(item), len(item), "unreadable")]
    if pointer and removed:
        removed = [Removed(pointer + r.pointer, r.digest, r.bytes, r.reason) for r in removed]
    if isinstance(found, Draft):
        catalogue.standardise_record(TYPES[record_type], found.body, today_of(found.updated_at))
    return cleaned.body, found, removed


def single(hub: Hub, client: Client, record_type: str, key: str | None, body: bytes) -> tuple[Arrival, list[Reject]]:
    """A body that is one item, as an arrival, with its faults one by one. Raises a problem when it cannot be read at all."""
    cleaned, found, removed = read_item(record_type, body, "", hub.core.moment(), hub)
    good = isinstance(found, Draft)
    drafts = [found] if isinstance(found, Draft) else []
    rejects = [] if isinstance(found, Draft) else found
    for r in rejects:
        if r.code == "invalid_json":
            raise Problem(400, "unreadable", r.message, errors=rejects)
    arrival = Arrival(
        source=client.source, type=record_type, body=cleaned, content_type="application/json", digest=bytes.fromhex(hub.core.hasher(body)),
        key=intake_key(client.source, record_type, key) if key else None, removed=removed, drafts=drafts,
        rejects=[] if good else [together("", rejects)], school=drafts[0].school if drafts else None, scope=client.scope,
    )  # fmt: skip
    return arrival, rejects


class Sender(Protocol):
    """Whose items they are, and for which schools they may be."""

    @property
    def source(self) -> Source: ...

    @property
    def scope(self) -> Scope: ...


class Chunk(msgspec.Struct):
    """Items of a bulk body on their way into one message: read one by one as they come."""

    first: int
    """Place of its first item in the body."""
    items: list[bytes] = msgspec.field(default_factory=list)
    bodies: list[bytes] = msgspec.field(default_factory=list)
    drafts: list[Draft] = msgspec.field(default_factory=list)
    rejects: list[Reject] = msgspec.field(default_factory=list)
    removed: list[Removed] = msgspec.field(default_factory=list)

    def take(self, hub: Hub, record_type: str, items: list[bytes]) -> None:
        """Read some more items."""
        at = hub.core.moment()
        for place, item in enumerate(items, start=self.first + len(self.items)):
            pointer = f"/{place}"
            body, found, removed = read_item(record_type, item, pointer, at, hub)
            self.bodies.append(body)
            if isinstance(found, Draft):
                self.drafts.append(found)
            else:
                self.rejects.append(together(pointer, found))
            if removed:
                self.removed += removed
        self.items += items

    def arrival(
        self, hub: Hub, sender: Sender, record_type: str, upload: int, number: int, upload_key: bytes | None
    ) -> Arrival:
        """The message: chunk `number` of an upload."""
        schools = {d.school for d in self.drafts}
        key = intake_key(sender.source, "chunk", upload_key, str(number)) if upload_key else None
        return Arrival(
            source=sender.source, type=record_type, body=b"\n".join(self.bodies), content_type="application/x-ndjson",
            digest=bytes.fromhex(hub.core.hasher(b"\n".join(self.items))), key=key, removed=self.removed, drafts=self.drafts,
            rejects=self.rejects, school=schools.pop() if len(schools) == 1 else None, scope=sender.scope, upload=upload,
            chunk=number,
        )  # fmt: skip


def together(pointer: str, faults: list[Reject]) -> Reject:
    """An item with several faults is one reject in the account; its faults stand together in one text."""
    if len(faults) == 1:
        return faults[0]
    text = Text(
        "; ".join(f"{f.pointer}: {f.message.vi}" for f in faults),
        "; ".join(f"{f.pointer}: {f.message.en}" for f in faults),
    )
    return Reject(pointer=pointer, code="several_faults", key=faults[0].key, message=text)


async def whole_body(request: Request, most: int) -> bytes:
    """The body, refused as soon as it is known to be too large."""
    declared = header(request, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    while True:
        # As `request.stream()` does it, which costs more than the reading of a small body.
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def _too_large(most: int) -> Problem:
    text = Text(
        f"Nội dung vượt quá {most} byte; hãy gửi theo lô NDJSON.",
        f"The body exceeds {most} bytes; send NDJSON in bulk.",
    )
    return Problem(413, "too_large", text)


async def array_items(body: bytes) -> AsyncIterator[list[bytes]]:
    """The items of a JSON array, unparsed. Raises a problem when it is no array that can be read."""
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error)
        raise Problem(400, "unreadable", Text(_UNREADABLE.vi.format(reason), _UNREADABLE.en.format(reason))) from None
    for first in range(0, len(items), _ARRAY_PART):
        yield [bytes(item) for item in items[first : first + _ARRAY_PART]]


async def line_items(request: Request, most: int, whole: int) -> AsyncIterator[list[bytes]]:
    """The lines of an NDJSON body as they arrive, none longer than `most` nor all than `whole`; blank ones are passed over."""
    rest = b""
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > whole:
            text = Text(f"Lô vượt quá {whole} byte; hãy chia nhỏ.", f"The bulk body exceeds {whole} bytes; split it.")
            raise Problem(413, "too_large", text)
        *lines, rest = (rest + part).split(b"\n")
        if lines:
            yield [line for line in lines if line.strip()]
        if len(rest) > most:
            text = Text(f"Một dòng vượt quá {most} byte.", f"A line exceeds {most} bytes.")
            raise Problem(413, "too_large", text)
    if rest.strip():
        yield [rest]
