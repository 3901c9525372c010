"""Pulling a list: ask page after page, hand each to the ledger with its cursor, for as long as the caller has time.

One concern: that conversation, the same for every adapter that can pull. Any process may run it, at any time, as often as it
likes: a run that was broken off goes on, a key that is done is done. It must never store a page in two transactions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from adapters import manifest as manifests
from adapters.manifest import DeclaredPull
from connectors.address import AddressPolicy
from connectors.connector import LiveConnector
from connectors.errors import Refused
from connectors.policy.calendar import Calendar
from connectors.settings import picks_up, validate
from hub.kernel.firewall import clean
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import operations, pulls, quotas
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.pulls import Accepting, Page, PullLost, Run, Shrunk
from hub.kernel.ledger.quotas import SHARE_S, Ask, Grant
from hub.kernel.ports import (
    Call,
    Draft,
    MaybeSent,
    NeedsPerson,
    NotSent,
    Outcome,
    Pulled,
    Puller,
    Reply,
    Text,
    TryLater,
    said,
)
from hub.keys import Keys
from hub.worker.quota import Quota
from hub.worker.targets import live
from mappings.engine import TYPES, today_of

log = logging.getLogger("hub.pulls")

_LEASE_S = 60.0
_QUIET_TRIES = 3
_SHARE_WAIT_S, _SHARE_LOOK_S = SHARE_S + 2.0, 0.5
"""How long to wait for a share while others hold all of the quota: one of them that is gone loses its own by then."""
_IDLE_LOOK_S = 0.05
_UNTIMED = 2000
"""A draft of an earlier year bears no time of its own."""


class UnknownPull(Exception):
    """Kết nối này không có danh mục đó để lấy về. / This connector has no such list to pull."""


class Standing(Struct, kw_only=True):
    """How a pull stands when its time is over. `fault`: why it stopped; it goes on, or begins anew, when asked again."""

    what: str
    run: int
    page: int
    done: bool
    records: int
    unchanged: int
    rejected: int
    changes: int
    removals_accepted: bool = False
    fault: Text | None = None
    after_s: float | None = None


class Stopped(Exception):
    """Tạm dừng lấy danh sách. / The run cannot go on now. `over`: it has failed for good and the next one begins anew."""

    def __init__(self, text: Text, *, over: bool = False, after_s: float | None = None) -> None:
        super().__init__(text.en)
        self.text = text
        self.over = over
        self.after_s = after_s


class Asking:
    """Asking a counterparty for pages: within its quota and calendar, with a few quick tries. Keeps nothing."""

    def __init__(self, core: Core, row: Mapping[str, Any], what: str, keys: Keys, addresses: AddressPolicy) -> None:
        """`row`: the connector's; `what`: a name the adapter's `pull` knows."""
        settings = validate(row["settings"])
        self._core, self._row, self._what = core, row, what
        adapter: Any = manifests.load(row["system"]).build(settings.adapter, settings.profile)
        self._adapter: Puller = adapter
        self._policy = settings.policy
        self._open = Calendar(settings.policy.calendar)
        self._timeout_s = settings.policy.timeouts.whole_s
        self._connector: LiveConnector = live(row, keys, addresses, core.clock)
        limits = self._policy.quota
        limited = limits.per_second is not None or limits.per_day is not None
        self._quota = Quota(limits.per_second, limits.per_day, self._more) if limited else None
        self._connector.permits = self._quota
        self._holder = f"{core.worker}/{what}/{secrets.token_hex(4)}"
        """Whose share of the quota it is: the dispatcher's, and another asking at the same time, are apart from it."""

    async def listing(self, cursor: str | None) -> Pulled:
        """The page behind `cursor`. Raises `Stopped`."""
        page, _, _ = await self.ask(self._adapter.pull(self._what, cursor, self._core.moment()))
        if page.fault is not None:
            raise await self.stopped(page.fault)
        return page

    async def close(self) -> None:
        """Give back the connection, and what is held of the quota."""
        try:
            await self._connector.close()
        finally:
            quota = self._quota
            if quota is not None and quota.holds:
                while not quota.idle:  # the last call may still count in the counterparty's second
                    await asyncio.sleep(_IDLE_LOOK_S)
                with contextlib.suppress(*TRANSIENT):  # a share that is not given back ends by itself
                    await quotas.leave(self._core, self._row["id"], quota.spare, quota.day, self._holder)
                quota.forget()

    async def ask(self, call: Call) -> tuple[Pulled, bytes, str]:
        """One page, with a few quick tries: asking twice does no harm."""
        for attempt in range(1, _QUIET_TRIES + 1):
            await self._slot()
            try:
                reply = await self._send(call)
            except Refused as error:
                # No later try fares better before a person has acted, whatever the kind: as in the dispatcher.
                await operations.pause(self._core, "hub", self._row["name"], error.TEXT, error.cause)
                raise Stopped(error.TEXT, over=True) from error
            except (NotSent, MaybeSent) as error:
                if attempt == _QUIET_TRIES:
                    said = str(error)[:200]
                    raise Stopped(Text(f"Đối tác không trả lời: {said}", f"No answer: {said}"), after_s=30.0) from error
                await asyncio.sleep(0.2 * attempt)
                continue
            return (
                self._adapter.pulled(self._what, call, reply),
                reply.body,
                reply.headers.get("content-type", "application/json"),
            )
        raise AssertionError("unreachable")

    async def _send(self, call: Call) -> Reply:
        try:
            return await self._connector.send(call, self._timeout_s)
        finally:
            if self._quota is not None:
                self._quota.answered()

    async def _slot(self) -> None:
        """A place within the connector's quota and calendar; the dispatcher's calls are counted in the same."""
        if self._row["state"] == "paused":
            raise Stopped(Text("Kết nối đang tạm dừng.", "The connector is paused."), after_s=300.0)
        if not self._open.open_at(self._core.moment()):
            raise Stopped(Text("Ngoài giờ cho phép gọi đối tác.", "Outside the counterparty's hours."), after_s=600.0)
        if self._quota is not None:
            await self._permit(self._quota)

    async def _permit(self, quota: Quota) -> None:
        until = time.monotonic() + _SHARE_WAIT_S
        while True:
            if quota.stale() or not quota.stands:
                asked_at = time.monotonic()
                quota.granted(await self._more(quota.ask(), 0), asked_at)
            if await quota.take():
                return
            if quota.stands and quota.per_day is not None and quota.spare <= 0:
                text = Text("Hạn mức của đối tác đã hết.", "The counterparty's quota is used up.")
                raise Stopped(text, after_s=300.0)
            if time.monotonic() >= until:
                text = Text(
                    "Các lời gọi khác đang dùng hết hạn mức của đối tác.",
                    "Other calls are using all of the counterparty's quota.",
                )
                raise Stopped(text, after_s=30.0)
            await asyncio.sleep(_SHARE_LOOK_S)

    async def _more(self, ask: Ask, calls: int) -> Grant:
        return await quotas.renew(self._core, self._row["id"], ask, calls, self._holder)

    async def stopped(self, fault: Outcome) -> Stopped:
        """Why to stop, out of a page's fault; pauses the connector where that concerns all of it."""
        if isinstance(fault, NeedsPerson):
            if fault.scope == "connector":
                await operations.pause(self._core, "hub", self._row["name"], fault.message, fault.cause)
            return Stopped(fault.message, over=True)
        reason = getattr(fault, "reason", "")
        after = fault.after_s if isinstance(fault, TryLater) else None
        said = Text(f"Chưa lấy được danh mục: {reason}", f"The list could not be pulled: {reason}")
        return Stopped(said, after_s=after or 60.0)


class Pull(Asking):
    """One list of one connector, stored."""

    def __init__(
        self, core: Core, row: Mapping[str, Any], what: str, keys: Keys, addresses: AddressPolicy, owner: str
    ) -> None:
        """`row`: the connector's. Raises `UnknownPull` when it cannot pull that."""
        declared = manifests.load(row["system"]).pulls.get(what)
        if declared is None:
            raise UnknownPull(f"{row['name']}: {what}")
        super().__init__(core, row, what, keys, addresses)
        self._owner = owner
        self._declared: DeclaredPull = declared

    async def run(self, key: str, for_s: float, *, accepting: Accepting | None = None) -> Standing:
        """Pull for at most about `for_s` seconds, `accepting` that much may be gone. Raises `PullBusy` when another process is at it."""
        until = time.monotonic() + for_s
        try:
            run = await pulls.begin(self._core, self._row["id"], self._what, key, self._owner, _LEASE_S)
            try:
                while not run.done and time.monotonic() < until:
                    run = await self._page(run, key, accepting)
            except Stopped as stopped:
                await pulls.fault(self._core, run, self._owner, stopped.text, over=stopped.over)
                return _standing(run, stopped.text, stopped.after_s)
            finally:
                if not run.done:
                    await pulls.let_go(self._core, run, self._owner)
            return _standing(run, None, None)
        finally:
            await self.close()

    async def _page(self, run: Run, key: str, accepting: Accepting | None) -> Run:
        at = self._core.moment()
        call = run.next if run.next is not None else self._adapter.pull(self._what, run.cursor, at)
        page, body, content_type = await self.ask(call)
        if page.fault is not None:
            raise await self.stopped(page.fault)
        cleaned = clean(body, self._core.hasher)
        source = Source("connector", self._row["name"])
        drafts = [self._dated(d, at) for d in page.drafts]
        arrival = Arrival(
            source=source, type=self._declared.record, body=cleaned.body, content_type=content_type,
            digest=bytes.fromhex(self._core.hasher(body)), removed=cleaned.removed, drafts=[], rejects=page.rejects,
            key=intake_key(source, "pull", self._what, str(run.number), str(run.page)),
            attributes={"pull": self._what, "run": str(run.number), "page": str(run.page), "cursor": run.cursor or ""},
        )  # fmt: skip
        stored = Page(
            arrival=arrival, drafts=drafts, at=at, cursor=page.cursor, next=page.next, complete=self._declared.complete
        )
        try:
            await pulls.store_page(self._core, run, self._owner, stored, _LEASE_S, accepting=accepting)
        except PullLost:
            # Ours by an answer that was lost, or another's: where it stands now is what counts.
            return await pulls.begin(self._core, run.connector, run.what, key, self._owner, _LEASE_S)
        except Shrunk as error:
            raise Stopped(said(error, error), over=True) from error
        return run

    def _dated(self, draft: Draft, at: datetime) -> Draft:
        self._core.catalogue.standardise_record(TYPES[draft.type], draft.body, today_of(at))
        # No record changed after it was asked for, whatever it says of itself.
        timed = draft.updated_at.year >= _UNTIMED and draft.updated_at <= at
        return draft if timed else replace(draft, updated_at=at)


def _standing(run: Run, fault: Text | None, after_s: float | None) -> Standing:
    return Standing(
        what=run.what, run=run.number, page=run.page, done=run.done, records=run.records, unchanged=run.unchanged,
        rejected=run.rejected, changes=run.changes,
        removals_accepted=run.removals_accepted, fault=fault, after_s=after_s,
    )  # fmt: skip


async def overdue(core: Core, rows: list[Any], factor: float = 2.0) -> list[tuple[Any, str]]:
    """(connector row, list) of what should have been pulled long ago: for when whoever keeps the schedule is away."""
    known = await pulls.standing(core)
    now = core.moment()
    found: list[tuple[Any, str]] = []
    for row in rows:
        if row["state"] != "active" or picks_up(row["settings"]):
            continue
        for what, declared in manifests.load(row["system"]).pulls.items():
            last = known.get((row["id"], what))
            if last is not None and last["state"] == "running":
                if not last["led"]:
                    found.append((row, what))
                continue
            age = (
                last["age_s"]
                if last is not None and last["age_s"] is not None
                else (now - row["updated_at"]).total_seconds()
            )
            if age > declared.every_s * factor:
                found.append((row, what))
    return found
