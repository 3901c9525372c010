"""Asking gates for what they hold: page after page, each stored with its place, for as long as the worker has time.

One concern: that conversation, the same for every family that can list. Any worker may run it, at any time: a run that was
broken off goes on at its page. It must never fetch a picture, log an address with credentials, or reach outside the
networks the hub's own configuration says gates stand in.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from connectors.address import AddressPolicy
from connectors.connector import LiveConnector, build
from connectors.errors import AddressRefused, CredentialsRefused, SettingsInvalid
from connectors.settings import validate
from hub.kernel.firewall import clean_device
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import alarms, gate_lists, parties
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.gate_lists import Asking, ListLost
from hub.kernel.ports import Call, Decoded, Draft, MaybeSent, NotSent, Reply, Text
from hub.keys import CannotDecrypt, Keys
from hub.worker.bridge_items import school_of
from hub.worker.gate_arrivals import arrival_of
from hub.worker.gate_places import put_where
from hub.worker.list_entries import by_its_clock, entries, of_account
from iot.dahua.listing import LIST as DAHUA
from iot.hanet.listing import LIST as HANET
from iot.hikvision.listing import LIST as HIKVISION
from iot.listing import Fault, Listed, Lister, Span
from iot.web import Item, placed

log = logging.getLogger("hub.catchup")

LISTERS: Mapping[str, Lister] = {lister.name: lister for lister in (HIKVISION, HANET, DAHUA)}

_LEASE_S = 60.0
_AT_ONCE = 8
_DEADLINE_S = 20.0
_PATIENT_S, _PERSON_S = 30.0, 1800.0
_OFFSET = "offset_s"
"""Beside a family's own words for a place: how far the clock was off when the run began."""
_PLAIN = re.compile(r"[!-~]+")
_AROUND, _DAY = timedelta(minutes=5), timedelta(days=1)
_LOUD = 3
"""So many failures in a row are worth an alarm; a list that goes in circles, or needs a person, is at once."""


class ListSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """How one gate is asked. `transport` and `auth` as a connector has them; `network`: the one it stands in (CIDR)."""

    transport: dict[str, Any]
    auth: dict[str, Any] = field(default_factory=lambda: {"scheme": "none"})
    network: str = ""
    every_s: Annotated[float, msgspec.Meta(ge=10, le=86_400)] = 900.0
    overlap_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 900.0
    """Asked for again at each run: a clock that runs behind, and what came late into the device's own list."""
    place: Annotated[str, msgspec.Meta(max_length=40)] = ""
    """The vendor's number of the place, for lists that go by place."""
    push_base: Annotated[str, msgspec.Meta(max_length=300)] = ""
    """The hub's address as the gate sees it: told to the gate again and again; empty: never."""
    tell_every_s: Annotated[float, msgspec.Meta(ge=60)] = 86_400.0


class BadListSettings(ValueError):
    """Thiết lập hỏi cổng không hợp lệ. / The settings for asking a gate are not valid."""


def check(given: Mapping[str, Any], networks: Iterable[str]) -> ListSettings:
    """Checked settings. Raises `BadListSettings` with a sentence."""
    try:
        settings = msgspec.convert(given, ListSettings)
        _connector_settings("gate", settings)
        if settings.network:
            policy_of(settings, networks, strict=True)
        if settings.push_base:
            _check_base(settings.push_base)
    except msgspec.ValidationError as error:
        raise BadListSettings(str(error)) from error
    except SettingsInvalid as error:
        raise BadListSettings(
            "; ".join(f"{e.pointer}: {e.message.vi} / {e.message.en}" for e in error.errors)
        ) from error
    return settings


def _check_base(address: str) -> None:
    """Raises `BadListSettings` for what is no plain address of the hub."""
    try:
        parts = urlsplit(address)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        plain = False
    if not plain or parts.query or parts.fragment or "@" in parts.netloc or not _PLAIN.fullmatch(address):
        raise BadListSettings(
            "push_base: phải là http(s)://máy[:cổng][/đường dẫn] / must be http(s)://host[:port][/path]"
        )


def policy_of(settings: ListSettings, networks: Iterable[str], *, strict: bool = False) -> AddressPolicy:
    """Public addresses, and the gate's own network where the hub's configuration says that gates stand there. Raises
    `BadListSettings` for a network that cannot be read or, when strict, is none of those."""
    if not settings.network:
        return AddressPolicy()
    try:
        own = ipaddress.ip_network(settings.network, strict=False)
    except ValueError as error:
        raise BadListSettings(f"network: {error}") from error
    inside = any(
        own.version == net.version and own.subnet_of(net)  # type: ignore[arg-type]
        for net in (ipaddress.ip_network(n, strict=False) for n in networks)
    )
    if strict and not inside:
        raise BadListSettings(
            "network: mạng này không nằm trong outward.gate_networks / is not within outward.gate_networks"
        )
    return AddressPolicy([settings.network] if inside else [])


def _connector_settings(device: str, settings: ListSettings) -> Any:
    name = "".join(c if c.isalnum() else "-" for c in device.lower())[:60].strip("-") or "gate"
    return validate(
        {"name": f"g-{name}"[:62], "system": "gate", "transport": settings.transport, "auth": settings.auth}
    )


def _shown(draft: Draft) -> datetime:
    """The device's own time."""
    return draft.updated_at + timedelta(seconds=draft.body["estimated_offset_s"] or 0.0)


class CatchUp:
    """Asks gates whose time has come. One per worker."""

    def __init__(self, core: Core, keys: Keys, networks: Iterable[str]) -> None:
        self._core = core
        self._keys = keys
        self._networks = tuple(networks)
        self._alarmed_at = float("-inf")

    async def work(self, for_s: float) -> int:
        """Ask what is due, round after round for about `for_s` seconds, each gate for at most as long; how many were asked."""
        asked, ends = 0, time.monotonic() + for_s
        while found := await gate_lists.claim(self._core, self._core.worker, _LEASE_S, _AT_ONCE):
            devices = entries(await parties.devices(self._core))
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
        try:
            await self._tell(asking, settings, lister, entry, connector)
            if asking.span_end is None:
                start = asking.done_to - timedelta(seconds=settings.overlap_s)
                await gate_lists.begin(core, asking, owner, start, asking.now)
            going = True
            while going and time.monotonic() < until:
                going = await self._page(asking, settings, lister, entry, others, connector)
            if going:
                await gate_lists.let_go(core, asking, owner)
        except ListLost:
            await gate_lists.let_go(core, asking, owner)
        finally:
            await connector.close()

    def _connector(self, asking: Asking, settings: ListSettings) -> LiveConnector:
        secrets: dict[str, str] = {}
        if asking.secrets:
            secrets = msgspec.json.decode(
                self._keys.decrypt(asking.secrets, f"gate-list {asking.device}".encode()), type=dict[str, str]
            )
        policy = policy_of(settings, self._networks)
        return build(_connector_settings(asking.device, settings), secrets, policy)

    async def _page(
        self,
        asking: Asking,
        settings: ListSettings,
        lister: Lister,
        entry: Mapping[str, Any],
        devices: Mapping[str, Mapping[str, Any]],
        connector: LiveConnector,
    ) -> bool:
        """One page. Whether there may be more."""
        assert asking.span_start is not None and asking.span_end is not None
        # As long as a run goes on: a page's place is one in the list of one span.
        offset_s = float((asking.place or {}).get(_OFFSET, entry["offset_s"] or 0.0))
        span = by_its_clock(Span(asking.span_start, asking.span_end), offset_s)
        reply = await self._send(connector, lister.ask(entry, span, asking.place))
        if isinstance(reply, Fault):
            await self._fault(asking, reply)
            return False
        received_at = self._core.moment()
        cleaned = clean_device(reply.body, self._core.hasher)
        told = Reply(status=reply.status, body=cleaned.body, headers=reply.headers, elapsed_ms=reply.elapsed_ms)
        tree = cleaned.tree if cleaned.is_json else None
        page = lister.read(entry, span, asking.place, told, tree, received_at, devices)
        if page.fault is not None:
            await self._fault(asking, page.fault)
            return False
        faced: dict[str, list[tuple[str, Item]]] = {}

        def facing(way: str, number: int) -> Decoded:
            if way not in faced:
                there = {name: {**device, "direction": way} for name, device in devices.items()}
                faced[way] = lister.read(there[asking.device], span, asking.place, told, tree, received_at, there).items
            return faced[way][number][1].decoded

        for number, (name, item) in enumerate(page.items):
            put_where(devices[name], item.decoded, received_at, partial(facing, number=number))
        items = page.items if lister.exact else await self._missed(page, span)
        arrivals = [self._arrival(lister.name, asking.device, name, item, devices) for name, item in items]
        if arrivals:
            arrivals[0].removed = cleaned.removed
        every = settings.every_s
        place = {**page.next, _OFFSET: offset_s} if page.next is not None and offset_s else page.next
        await gate_lists.store_page(self._core, asking, self._core.worker, arrivals, place, _LEASE_S, every)
        return page.next is not None

    async def _missed(self, page: Listed, span: Span) -> list[tuple[str, Item]]:
        """The items of a list without common names that the ledger does not have, by device, person and second of the
        device's own time: however it was corrected when it was pushed, and however it is now."""
        drafts = [d for _, item in page.items for d in item.decoded.drafts]
        if not drafts:
            return page.items
        times = [t for d in drafts for t in (d.updated_at, _shown(d))]
        # Whatever times a list invents, the ledger is asked about what was asked for.
        first, last = max(min(times), span.start - _DAY), min(max(times), span.end + _DAY)
        names = sorted({name for name, _ in page.items})
        known = await gate_lists.seen(self._core, names, first - _AROUND, last + _AROUND)
        return [
            (name, item) for name, item in page.items
            if not any(
                (name, d.body["person_code"], int(_shown(d).timestamp()) + near) in known
                for d in item.decoded.drafts for near in (-1, 0, 1)
            )
        ]  # fmt: skip

    def _arrival(
        self, family: str, owner: str, device: str, item: Item, devices: Mapping[str, Mapping[str, Any]]
    ) -> Arrival:
        body = item.body or b""
        made = arrival_of(
            family, "list", item, body, is_json=body[:1] == b"{", digest=bytes.fromhex(self._core.hasher(body)),
            source=Source("device", device), opener=owner,
        )  # fmt: skip
        made.school = school_of(devices[device], item.decoded)
        return made

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

    async def _tell(
        self, asking: Asking, settings: ListSettings, lister: Lister, entry: Mapping[str, Any], connector: LiveConnector
    ) -> None:
        """Tell the gate again where to push. Its failing is no reason not to ask for the list."""
        if not settings.push_base or (asking.told_s is not None and asking.told_s < settings.tell_every_s):
            return
        secret = self._keys.decrypt(entry["secret"], asking.device.encode()).decode()
        call = lister.settled(entry, f"{settings.push_base.rstrip('/')}/gates/{secret}/{lister.name}")
        if call is None:
            return
        reply = await self._send(connector, call)
        if isinstance(reply, Fault) or reply.status >= 300:
            log.warning("gate %s could not be told where to push", asking.device)
            return
        await gate_lists.told(self._core, asking.device)

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
