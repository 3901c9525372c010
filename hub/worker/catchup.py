"""Asking gates for what they hold: page after page, each stored with its place, for as long as the worker has time.

One concern: that conversation, the same for every family that can list. Any worker may run it, at any time: a run that was
broken off goes on at its page. What a page tells of its gate besides (that it is there, how busy it was, its clock) is noted
once it is stored: a kill between the two loses the note. It must never fetch a picture, log an address with credentials, or
reach outside the networks the hub's own configuration says gates stand in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct, field

from connectors.connector import LiveConnector, build
from connectors.errors import AddressRefused, CredentialsRefused, SettingsInvalid
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger import alarms, gate_accounts, gate_lists, gate_memory, parties
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.gate_lists import Asking, Hole, ListLost
from hub.kernel.ports import Call, Draft, MaybeSent, NotSent, Numbers, Reply, Text
from hub.keys import CannotDecrypt, Keys
from hub.worker.list_clocks import offset_told
from hub.worker.list_entries import entries, of_account, set_right, turn_of
from hub.worker.list_members import Start, hurry, start_of, those_in
from hub.worker.list_news import news_of
from hub.worker.list_pages import Entries, Listing, Page, arrivals_of, read_page
from hub.worker.list_settings import BadListSettings, ListSettings, connector_settings, policy_of
from iot.dahua.listing import LIST as DAHUA
from iot.hanet.listing import LIST as HANET
from iot.hikvision.listing import LIST as HIKVISION
from iot.listing import Fault, Listed, Lister, NumberLister, Span
from iot.web import placed

log = logging.getLogger("hub.catchup")

LISTERS: Mapping[str, Lister] = {lister.name: lister for lister in (HIKVISION, HANET, DAHUA)}

ONLY_ASKED = frozenset({DAHUA.name})
"""Families whose gates send nothing by themselves: what is known of one is what its list brought."""
_CLOUD = frozenset({HANET.name})
"""Families a vendor's cloud answers for: that it answers says nothing of the device."""
_LEASE_S = 60.0
_AT_ONCE = 8
_LOOK_S = 30.0
"""How often it is looked whether a list has somebody new to ask for."""
_DEADLINE_S = 20.0
_PATIENT_S, _PERSON_S = 30.0, 1800.0
_OFFSET = "offset_s"
"""Beside a family's own words for a place: how far the clock was off when the run began."""
_BEFORE = "before_s"
"""Likewise: how far it had been known to be off until it was heard at the run's beginning."""
_TURN = "turn"
"""Likewise: which of the spans a lost clock makes of a run's is being read; see `hub.worker.list_entries`."""
_AROUND, _DAY = timedelta(minutes=5), timedelta(days=1)
_NUMBERS_MOST, _HOLE_TRIES = 300, 3
"""How many numbers are asked for in one go, and how often a hole is asked for before it is given up."""
_LOUD = 3
"""So many failures in a row are worth an alarm; a list that goes in circles, or needs a person, is at once."""


def _shown(draft: Draft) -> datetime:
    """The device's own time."""
    return draft.updated_at + timedelta(seconds=draft.body["estimated_offset_s"] or 0.0)


def _window(items: Sequence[Listing], span: Span) -> tuple[datetime, datetime] | None:
    """The span the ledger is asked about for what a list without common names tells, by the device's own time and as it is
    corrected now; None when it tells nothing. Whatever times a list invents, it is what was asked for."""
    times = [t for _, item in items for d in item.decoded.drafts for t in (d.updated_at, _shown(d))]
    if not times:
        return None
    first, last = max(min(times), span.start - _DAY), min(max(times), span.end + _DAY)
    return first - _AROUND, last + _AROUND


def _serials(items: Sequence[Listing]) -> list[int]:
    """The devices' own numbers of these passages, as they were listed."""
    told = (item.attributes.get("serial", "") for _, item in items)
    return [int(n) for n in told if n.isascii() and n.isdecimal()]


class _Run(Struct, kw_only=True):
    """One gate while it is asked."""

    asking: Asking
    settings: ListSettings
    lister: Lister
    entry: dict[str, Any]
    devices: Entries
    """Those its list may speak of, itself among them."""
    connector: LiveConnector
    offset_s: float | None = None
    """Of its clock, where an answer told it and that is news."""
    numbers: set[int] = field(default_factory=set)
    """Of the passages listed so far."""
    ended: bool = False


class CatchUp:
    """Asks gates whose time has come. One per worker."""

    def __init__(self, core: Core, keys: Keys, networks: Iterable[str], kept_days: int = 30) -> None:
        """`kept_days`: how long check-ins are kept; what is older would be stored again."""
        self._kept = timedelta(days=kept_days - 1)
        self._core = core
        self._keys = keys
        self._networks = tuple(networks)
        self._alarmed_at = self._looked_at = float("-inf")

    async def work(self, for_s: float) -> int:
        """Ask what is due, round after round for about `for_s` seconds, each gate for at most as long; how many were asked."""
        asked, ends = 0, time.monotonic() + for_s
        if time.monotonic() - self._looked_at > _LOOK_S:
            self._looked_at = time.monotonic()
            await hurry(self._core, self._keys, LISTERS)
        while found := await gate_lists.claim(self._core, self._core.worker, _LEASE_S, _AT_ONCE):
            devices = entries(await parties.devices(self._core, [asking.device for asking in found]))
            until = time.monotonic() + for_s
            await asyncio.gather(*(self._one(asking, devices, until) for asking in found))
            asked += len(found)
            if len(found) < _AT_ONCE or time.monotonic() > ends:
                break
        if asked or time.monotonic() - self._alarmed_at > 60.0:
            self._alarmed_at = time.monotonic()
            await self._alarms()
        return asked

    async def _one(self, asking: Asking, devices: Mapping[str, dict[str, Any]], until: float) -> None:
        """Ask one gate. Nothing that befalls it is another's: all of a round's run together."""
        try:
            try:
                await self._ask(asking, devices, until)
            except TRANSIENT:
                raise
            except Exception as error:
                log.exception("asking gate %s broke off", asking.device)
                said = type(error).__name__
                text = Text(f"Hỏi cổng bị gián đoạn do lỗi của trục ({said}).", f"A fault of the hub's own ({said}).")
                await self._fault(asking, Fault("later", text))
        except TRANSIENT as error:
            # Its lease ends, and whoever comes next goes on.
            log.warning("the list of gate %s waits for the database: %s", asking.device, type(error).__name__)

    async def _ask(self, asking: Asking, devices: Mapping[str, dict[str, Any]], until: float) -> None:
        core, owner = self._core, self._core.worker
        try:
            settings = msgspec.convert(asking.settings, ListSettings)
            entry = {**devices[asking.device], "place": settings.place}
            lister = LISTERS.get(entry["family"])
            if lister is None or not placed(entry):
                await self._fault(
                    asking, Fault("person", Text("Họ cổng này không hỏi được.", "This family cannot be asked."))
                )
                return
            connector = self._connector(asking, settings)
            others = {**of_account(entry, devices, self._keys), asking.device: entry}
        except (KeyError, msgspec.ValidationError, SettingsInvalid, BadListSettings, CannotDecrypt) as error:
            said = Text(f"Thiết lập hỏi cổng không dùng được: {error}", f"The settings cannot be used: {error}")
            await self._fault(asking, Fault("person", said))
            return
        run = _Run(asking=asking, settings=settings, lister=lister, entry=entry, devices=others, connector=connector)
        try:
            await self._tell(run)
            start = await self._start(run)
            if asking.span_end is None:
                await gate_lists.begin(core, asking, owner, start.at, asking.now, start.joined, back=start.back)
            going = True
            while going and time.monotonic() < until:
                going = await self._page(run)
            if going:
                await gate_lists.let_go(core, asking, owner)
            if run.ended and isinstance(lister, NumberLister):
                await self._holes(run, lister, until)
        except ListLost:
            await gate_lists.let_go(core, asking, owner)
        finally:
            await connector.close()

    async def _start(self, run: _Run) -> Start:
        """Where a run of this list begins. Before any page is read it is noted whom the list passes over that it spoke for."""
        asking, overlap_s = run.asking, run.settings.overlap_s
        if (reach := run.lister.reach(run.entry)) is None:
            return Start(asking.done_to - timedelta(seconds=overlap_s))
        there = those_in(run.devices)
        spoken = (await gate_accounts.spoken_for(self._core, [asking.device])).get(asking.device, {})
        if gone := spoken.keys() - there:
            await gate_lists.passes_over(self._core, asking, self._core.worker, sorted(gone))
        return start_of(asking, overlap_s, there, spoken, min(reach, self._kept))

    def _connector(self, asking: Asking, settings: ListSettings) -> LiveConnector:
        secrets: dict[str, str] = {}
        if asking.secrets:
            secrets = msgspec.json.decode(
                self._keys.decrypt(asking.secrets, f"gate-list {asking.device}".encode()), type=dict[str, str]
            )
        policy = policy_of(settings, self._networks)
        return build(connector_settings(asking.device, settings), secrets, policy)

    async def _page(self, run: _Run) -> bool:
        """One page. Whether there may be more."""
        asking, lister = run.asking, run.lister
        assert asking.span_start is not None and asking.span_end is not None
        whole, began, again = Span(asking.span_start, asking.span_end), asking.place or {}, True
        before_s = float(began.get(_BEFORE, 0.0))
        while True:
            # As long as a run goes on: a page's place is one in the list of one span.
            offset_s = float(began.get(_OFFSET, run.entry["offset_s"] or 0.0))
            turn = turn_of(whole, offset_s, int(began.get(_TURN, 0)), before_s)
            reply = await self._send(run.connector, lister.ask(run.entry, turn.span, asking.place))
            if isinstance(reply, Fault):
                await self._fault(asking, reply)
                return False
            received_at = self._core.moment()
            if not self._learn(run, reply, received_at) or asking.place is not None or not again:
                break
            again = False  # what was asked for by a clock that is another is asked for by the right one as well, once
            before_s = offset_s

        def read(reply: Reply, tree: Any, received_at: datetime, devices: Entries) -> Listed:
            return lister.read(devices[asking.device], turn.span, asking.place, reply, tree, received_at, devices)

        known = turn.entries(run.devices, asking.device)
        page = read_page(read, reply, received_at, known, self._core.hasher)
        listed = page.listed
        if listed.fault is not None:
            await self._fault(asking, listed.fault)
            return False
        items, every = listed.items, run.settings.every_s
        arrivals = self._arrivals(run, items, page)
        window = None if lister.exact else _window(items, turn.span)
        place = listed.next
        if place is None and turn.more:
            place = {_TURN: turn.number + 1}
        elif place is not None and turn.number:
            place = {**place, _TURN: turn.number}
        if place is not None and (offset_s or before_s):
            place = {**place, _OFFSET: offset_s, _BEFORE: before_s}
        answers = await gate_lists.store_page(
            self._core, asking, self._core.worker, arrivals, place, _LEASE_S, every, window
        )
        run.numbers.update(_serials(items))
        run.ended = place is None
        await self._note(run, items, arrivals, answers, received_at, len(items))
        return not run.ended

    def _learn(self, run: _Run, reply: Reply, received_at: datetime) -> bool:
        """Whether the answer told that the gate's clock is another than was known; from here on it is gone by."""
        told = offset_told(run.entry, reply, received_at)
        if told is None:
            return False
        before = run.entry["offset_s"] or 0.0
        run.offset_s = told
        set_right(run.entry, told)
        return told != before

    def _arrivals(self, run: _Run, items: Sequence[Listing], page: Page) -> list[Arrival]:
        return arrivals_of(run.lister.name, run.asking.device, items, page.removed, run.devices, self._core.hasher)

    async def _note(
        self,
        run: _Run,
        items: Sequence[Listing],
        arrivals: Sequence[Arrival],
        answers: Sequence[Accepted],
        received_at: datetime,
        listed: int,
    ) -> None:
        """What a stored page tells of its gates. It may be lost: it holds up no run."""
        news = news_of(
            run.asking.device, items, arrivals, answers, run.devices, received_at, listed=listed,
            itself=run.lister.name not in _CLOUD, offset_s=run.offset_s,
        )  # fmt: skip
        run.offset_s = None
        try:
            await parties.touch_devices(self._core, news)
        except TRANSIENT as error:
            log.warning("what is new about gate %s could not be noted: %s", run.asking.device, type(error).__name__)

    async def _holes(self, run: _Run, lister: NumberLister, until: float) -> None:
        """Ask once more, by number, for what numbers say is missing and the span of time did not bring, a part at a time.
        What was asked for is forgotten; a kill before that leaves it, to be asked for after the next run."""
        device = run.asking.device
        for noted in await gate_lists.holes(self._core, device):
            hole: Hole | None = noted
            while hole is not None and time.monotonic() < until:
                hole = await self._part(run, lister, hole, until)

    async def _part(self, run: _Run, lister: NumberLister, hole: Hole, until: float) -> Hole | None:
        """Ask for the next numbers of a hole. What is left of it that is worth going on with now."""
        device, going = run.asking.device, True
        first = next((n for n in range(hole.first, hole.last + 1) if n not in run.numbers), None)
        left: Hole | None = None
        if first is not None:
            part = Numbers(first, min(hole.last, first + _NUMBERS_MOST - 1))
            left = Hole(part.last + 1, hole.last) if part.last < hole.last else None
            ended = await self._by_number(run, lister, part, until)
            if isinstance(ended, int):
                # This run's time is over: the next goes on behind what was listed, and it was no try.
                going, left = False, Hole(ended, hole.last) if ended <= hole.last else None
            elif ended is not None:
                log.warning("gate %s: asked for numbers %d to %d: %s", device, part.first, part.last, ended.text.en)
                going = False
                if hole.tries + 1 < _HOLE_TRIES:
                    left = Hole(first, hole.last, hole.tries + 1)
            elif none := sum(1 for n in range(part.first, part.last + 1) if n not in run.numbers):
                log.warning("gate %s: of %d to %d, %d are no passages it holds", device, part.first, part.last, none)
        await gate_lists.hole_left(self._core, device, hole, [left] if left is not None else [])
        return left if going else None

    async def _by_number(self, run: _Run, lister: NumberLister, numbers: Numbers, until: float) -> Fault | int | None:
        """Every page of these numbers, each stored as it comes. Where to go on when the time was over before the last; a page
        that brings nothing further on leaves no such place: whoever is asked so for ever is given up as one that fails."""
        device, place = run.asking.device, None
        ahead: int | None = numbers.first
        while True:
            reply = await self._send(run.connector, lister.ask_numbers(run.entry, numbers, place))
            if isinstance(reply, Fault):
                return reply
            received_at = self._core.moment()

            def read(reply: Reply, tree: Any, received_at: datetime, devices: Entries, place: Any = place) -> Listed:
                return lister.read_numbers(devices[device], numbers, place, reply, tree, received_at, devices)

            page = read_page(read, reply, received_at, run.devices, self._core.hasher)
            listed = page.listed
            if listed.fault is not None:
                return listed.fault
            arrivals = self._arrivals(run, listed.items, page)
            answers = await gate_lists.store_found(self._core, device, arrivals) if arrivals else []
            serials = _serials(listed.items)
            run.numbers.update(serials)
            await self._note(run, listed.items, arrivals, answers, received_at, len(listed.items))
            if (place := listed.next) is None:
                return None
            # Only numbers that go up say what lies before them: what they passed over is no passage the gate holds.
            rising = bool(serials) and ahead is not None and ahead <= serials[0] and serials == sorted(serials)
            ahead = serials[-1] + 1 if rising else None
            if time.monotonic() >= until:
                over = Text("Hết thời gian của lượt này.", "The time of this run is over.")
                return ahead if ahead is not None else Fault("later", over)

    async def _send(self, connector: LiveConnector, call: Call) -> Reply | Fault:
        try:
            reply, _ = await connector.send_with_tries(call, _DEADLINE_S)
        except CredentialsRefused:
            return Fault("person", Text("Thiết bị từ chối tài khoản.", "The device refused the account."))
        except AddressRefused as error:
            return Fault("person", Text(f"Địa chỉ không được phép: {error}", f"The address is not allowed: {error}"))
        except (NotSent, MaybeSent) as error:
            said = type(error).__name__
            return Fault("later", Text(f"Thiết bị không trả lời ({said}).", f"The device does not answer ({said})."))
        return reply

    async def _tell(self, run: _Run) -> None:
        """Tell the gate again where to push. Its failing is no reason not to ask for the list."""
        asking, settings, entry = run.asking, run.settings, run.entry
        if not settings.push_base or (asking.told_s is not None and asking.told_s < settings.tell_every_s):
            return
        secret = self._keys.decrypt(entry["secret"], asking.device.encode()).decode()
        call = run.lister.settled(entry, f"{settings.push_base.rstrip('/')}/gates/{secret}/{run.lister.name}")
        if call is None:
            return
        reply = await self._send(run.connector, call)
        if isinstance(reply, Fault) or reply.status >= 300:
            log.warning("gate %s could not be told where to push", asking.device)
            return
        await gate_lists.told(self._core, asking.device, entry["secret"])

    async def _fault(self, asking: Asking, fault: Fault) -> None:
        log.warning("gate %s: %s", asking.device, fault.text.en)
        wait = min(_PATIENT_S * 2 ** min(asking.faults, 6), _PERSON_S) if fault.kind == "later" else _PERSON_S
        stands = asking.faults + 1 >= _LOUD or fault.kind != "later"
        text = {"vi": fault.text.vi, "en": fault.text.en, "kind": fault.kind, "loud": stands}
        await gate_lists.fault(self._core, asking, self._core.worker, text, wait, anew=fault.kind == "circle")

    async def _alarms(self) -> None:
        standing = []
        for row in await gate_lists.standing(self._core):
            if (said := row["fault"]) and said.get("loud"):
                text = Text(f"Cổng {row['device']}: {said['vi']}", f"Gate {row['device']}: {said['en']}")
                standing.append(alarms.Alarm("gate_list", row["device"], text))
        await alarms.report(self._core, "gate_list", standing)
        skipped = []
        for device, count in (await gate_memory.beyond(self._core)).items():
            text = Text(
                f"Cổng {device} bỏ trống quá nhiều số thứ tự: {count} số không được hỏi lại. Kiểm tra thiết bị; lượt nào thiếu thì "
                "hỏi lại theo khoảng thời gian.",
                f"Gate {device} skips too many numbers: {count} of them were not asked for. Look at the device; ask again by time "
                "for what is missing.",
            )
            skipped.append(alarms.Alarm("gate_numbers", device, text))
        await alarms.report(self._core, "gate_numbers", skipped)
