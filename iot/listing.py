"""Families that can be asked for what they hold: a list of passages, page after page, over a span of time.

One concern: the shapes between the worker that asks and the families' pure code. Pure. It must never open a socket, read
a clock, see a secret, or take a list that goes round in circles for one that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from hub.kernel.ports import Call, Reply, Text
from iot.web import Item


class Span(Struct, frozen=True):
    """What is asked for: from `start` up to `end`, both aware, by the device's clock."""

    start: datetime
    end: datetime


class Fault(Struct, frozen=True):
    """Why a page told nothing. `later`: the same page is worth asking for again; `person`: it is not, until somebody
    changes something; `circle`: the device gives the same page again and again."""

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
        """The question for one page; `place` None: the first."""
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

    def settled(self, owner: Mapping[str, Any], hub: str) -> Call | None:
        """What must be told to the device now and then so that it goes on pushing to the address `hub`; None for
        families without such a thing."""
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
