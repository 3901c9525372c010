"""Families that can be asked for what they hold: a list of passages, page after page, over a span of time.

One concern: the shapes between the worker that asks and the families' pure code. Pure. It must never open a socket, read
a clock, see a secret, or take a list that goes round in circles for one that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct, field

from hub.kernel.ports import Call, Numbers, Reply, Text
from iot.web import Item


class Span(Struct, frozen=True):
    """What is asked for: from `start` up to `end`, both aware, by the device's clock."""

    start: datetime
    end: datetime


class Fault(Struct, frozen=True):
    """Why a page told nothing. `later`: the same page is worth asking for again; `person`: it is not, until somebody
    changes something; `circle`: the device gives the same pages again and again, more than it says it has, or more than can
    be asked for: the run began anew reads what can be read."""

    kind: Literal["later", "person", "circle"]
    text: Text


class Listed(Struct, kw_only=True):
    """One page. `next` None: it was the last. With a `fault` nothing else holds."""

    items: list[tuple[str, Item]] = field(default_factory=list)
    """The device each item belongs to, by its id, and the item; its `body` is what is stored of it."""
    next: dict[str, Any] | None = None
    """Where the following page begins, in the family's own words."""
    fault: Fault | None = None


class Lister(Protocol):
    """One family's lists. Pure; raises nothing for any bytes whatever.

    `devices`: the registry's entries by id, with `iot.clock.Estimate` in `clock`; `owner`: the entry asked."""

    name: str
    exact: bool
    """False: a listed passage has no name in common with the same passage as it was pushed. Then those the ledger knows
    already, by device, person and second, are left out."""

    def ask(self, owner: Mapping[str, Any], span: Span, place: Mapping[str, Any] | None) -> Call:
        """The question for one page; `place` None, or without words of the family's own: the first."""
        ...

    def read(
        self,
        owner: Mapping[str, Any],
        span: Span,
        place: Mapping[str, Any] | None,
        reply: Reply,
        tree: Any,
        received_at: datetime,
        devices: Mapping[str, Mapping[str, Any]],
    ) -> Listed:
        """Read a page. `reply.body` and `tree` (its JSON, None when it is none) have been through the firewall."""
        ...

    def reach(self, owner: Mapping[str, Any]) -> timedelta | None:
        """How far back the list can still tell, where it speaks for several devices of a vendor's account: one that is
        registered late is asked for from there. None: it speaks for the owner alone."""
        ...

    def settled(self, owner: Mapping[str, Any], hub: str) -> Call | None:
        """What must be told to the device now and then so that it goes on pushing to the address `hub`; None for
        families without such a thing."""
        ...


@runtime_checkable
class NumberLister(Protocol):
    """What a `Lister` can do besides, whose devices count their events: be asked by those numbers. Told by `isinstance`.

    A place is one in the list of these numbers, no other's. The passages have the names they have in the list by time, and
    their number in `Item.attributes["serial"]`. Numbers that nothing comes for belong to events that are no passages, or are
    no longer held: with `next` None, and no fault, they have been asked for."""

    def ask_numbers(self, owner: Mapping[str, Any], numbers: Numbers, place: Mapping[str, Any] | None) -> Call:
        """The question for one page of these numbers; `place` None: the first."""
        ...

    def read_numbers(
        self,
        owner: Mapping[str, Any],
        numbers: Numbers,
        place: Mapping[str, Any] | None,
        reply: Reply,
        tree: Any,
        received_at: datetime,
        devices: Mapping[str, Mapping[str, Any]],
    ) -> Listed:
        """Read a page; see `Lister.read`. A device that answers with other numbers alone does not know the question: a fault,
        `person`."""
        ...


def refused(status: int) -> Fault | None:
    """What a status alone says; None for a 2xx."""
    if 200 <= status < 300:
        return None
    if status in (401, 403):
        return Fault("person", Text("Thiết bị từ chối tài khoản.", "The device refused the account."))
    if status in (400, 404, 405, 501):
        said = Text(f"Thiết bị không hiểu câu hỏi (mã {status}).", f"The device does not understand ({status}).")
        return Fault("person", said)
    return Fault(
        "later", Text(f"Thiết bị chưa trả lời được (mã {status}).", f"The device cannot answer now ({status}).")
    )


def onward(place: Mapping[str, Any] | None, page: str) -> dict[str, Any] | None:
    """What of the pages read so far belongs into the next place, `page` being the digest of this one; None when this page
    was read before, so that the list goes in circles.

    Brent's way: beside the page before, one page is remembered, and a later one instead after 1, 2, 4, 8 … pages. So a
    circle of however many pages is found before the third time round, and a place stays small."""
    told = place or {}
    steps, reach = told.get("steps"), told.get("reach")
    if told.get("last") == page or told.get("mark") == page:
        return None
    if not isinstance(steps, int) or not isinstance(reach, int):
        return {"last": page, "mark": page, "steps": 0, "reach": 1}
    if steps + 1 >= reach:
        return {"last": page, "mark": page, "steps": 0, "reach": reach * 2}
    return {"last": page, "mark": told.get("mark"), "steps": steps + 1, "reach": reach}


def overlong() -> Fault:
    """The device says that there is more, beyond all it said it has."""
    return Fault(
        "circle",
        Text(
            "Thiết bị báo còn nữa dù đã trả quá tổng số nó nói; đã dừng để không lấy mãi.",
            "The device says there is more, beyond the total it named; stopped, so as not to read for ever.",
        ),
    )


def unheeded() -> Fault:
    """The device answers something else than what it was asked for, by number."""
    return Fault(
        "person",
        Text(
            "Thiết bị không lọc theo số thứ tự được hỏi.",
            "The device does not go by the numbers it is asked for.",
        ),
    )


def circling() -> Fault:
    """The device repeats itself."""
    return Fault(
        "circle",
        Text(
            "Thiết bị trả lại cùng một trang; đã dừng để không lấy mãi một chỗ.",
            "The device gives the same page again; stopped, so as not to read one place for ever.",
        ),
    )


def unreadable() -> Fault:
    """An answer that is none."""
    return Fault("later", Text("Không đọc được trả lời của thiết bị.", "The device's answer cannot be read."))
