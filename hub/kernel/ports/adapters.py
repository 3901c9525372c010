"""What adapters and connectors are to the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct, field

from hub.kernel.ports.calls import Call, Outcome, Outgoing, Reading, Reply, Settlement
from hub.kernel.ports.messages import Draft, Inbound, Reject


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


class GroupConverser(Converser, Protocol):
    """What a `Converser` can do besides, whose counterparty's one answer may stand for several conversations at once."""

    def resume_many(self, begun: Sequence[tuple[Outgoing, Mapping[str, str]]], most: int) -> list[Call]:
        """The next calls of conversations that go on at the same moment; every delivery in exactly one call. Always idempotent.

        Several may share a call only where its answer stands for each of them: each has come as far, and the answer either names them
        all or speaks of what they have in common. `most`: how many a call that names them may carry."""
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

    def pull(self, what: str, cursor: str | None, at: datetime) -> Call:
        """The question for `what` from `cursor` on, asked at `at`. Always idempotent.

        Where a cursor is a time, what a page brings must leave none later than `at`, and one that is must not be asked from:
        everything told meanwhile would be left out for good."""
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
