"""Files that counterparties leave in a folder: each taken once into the intake, then put away.

One concern: the way from a connector's inbox to the intake and back. A file is a push like any other: a workbook or CSV file in
the Ministry's template, a ZIP of such, or a batch of items (JSON, NDJSON), of the type the connector's settings name, under a
key made of the file itself. It must never put a file away before the commit, nor take one for a connector that is paused.

What a kill leaves: a claimed file. It is offered again after `claim_s` under the same key, by which the intake knows what it
has already; the sheet of its errors has a name of its own and is written once. Of a ZIP the workbooks taken so far, each whole:
taken again, it goes on behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct

from adapters import manifest as manifests
from connectors.address import AddressPolicy
from connectors.connector import LiveConnector
from connectors.errors import Refused
from connectors.policy.calendar import Calendar
from connectors.settings import picks_up, validate
from connectors.transports.files_settings import FileSettings
from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.failpoints import reach
from hub.kernel.intake import Source, intake_key
from hub.kernel.ledger import intake as ledger
from hub.kernel.ledger import operations, parties, pickups
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import NotSent, Text
from hub.kernel.receipts import receipt_code, receipt_id
from hub.kernel.store.db import sql
from hub.wiring import FLOWS, House
from hub.worker.targets import live

if TYPE_CHECKING:
    from connectors.transports.pickup import Inbox, Picked
    from hub.api.archives import Part
    from hub.api.context import Hub, Probe

log = logging.getLogger("hub.pickups")

_BOOKS = (".xlsx", ".csv")
_BATCHES = (".json", ".ndjson", ".jsonl")
_ARCHIVES = (".zip",)
_AT_ONCE = 100
"""Items read in one go: the rest of the worker waits no longer."""
_TOLD_MOST = 20_000
"""Refused records in one file of errors."""
_KIND = Text(
    "Chỉ nhận tệp .xlsx, .csv, .zip, .json, .ndjson, .jsonl.",
    "Only .xlsx, .csv, .zip, .json, .ndjson and .jsonl files are taken.",
)
_CONFLICT = Text(
    "Tệp này đã được nhận một phần với nội dung khác.", "This file was taken in part already, with another content."
)
_NONE_TAKEN = Text("Không tệp nào trong ZIP nhận được.", "No file of the ZIP could be taken.")
_EMPTY = Text("Tệp không có bản ghi nào.", "The file has no records.")


class _Told(Struct, frozen=True, kw_only=True):
    """What became of a file: the receipts there are to it, each with the name its errors are told under (of a workbook in a
    ZIP its own), and whole workbooks that could not be taken, by name."""

    receipts: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, Text], ...] = ()


class _Place:
    """One connector's inbox, kept between two looks: it remembers which files had stood still."""

    def __init__(self, row: Any, house: House, addresses: AddressPolicy) -> None:
        settings = validate(row["settings"])
        assert isinstance(settings.transport, FileSettings)
        self.id, self.name, self.revision = int(row["id"]), str(row["name"]), int(row["revision"])
        self.transport: FileSettings = settings.transport
        self.hours = Calendar(settings.policy.calendar)
        self.connector: LiveConnector = live(row, house.keys, addresses, house.core.clock)
        inbox = self.connector.inbox()
        assert inbox is not None
        self.inbox: Inbox = inbox
        self.source = Source("connector", self.name)
        school = self.transport.school
        self.scope = Scope("school", school) if school else EVERYWHERE


class Pickups:
    """All connectors that pick files up, one after the other."""

    def __init__(self, house: House, addresses: AddressPolicy) -> None:
        self._house = house
        self._core = house.core
        self._addresses = addresses
        self._places: dict[str, _Place] = {}
        self._hub: Hub | None = None

    async def work(self, for_s: float) -> int:
        """Take what is there, for about `for_s` seconds at most. Returns how many files were taken.

        Raises the database's own errors; a file on its way then waits for its claim to end.
        """
        async with self._core.pool.acquire() as connection:
            rows = await connection.fetch(sql.connectors_all)
        wanted = {r["name"]: r for r in rows if r["state"] == "active" and picks_up(r["settings"])}
        for name in [n for n, p in self._places.items() if n not in wanted or wanted[n]["revision"] != p.revision]:
            await self._places.pop(name).connector.close()
        done = 0
        for name, row in wanted.items():
            try:
                if name not in self._places:
                    self._places[name] = _Place(row, self._house, self._addresses)
                # Each has its share: what one counterparty piles up is no reason for another to wait.
                done += await self._empty(self._places[name], time.monotonic() + for_s / len(wanted))
            except Refused as error:
                # No later look fares better before a person has acted: as in the dispatcher.
                await operations.pause(self._core, "hub", name, error.TEXT, error.cause)
            except NotSent as error:
                log.warning("%s: its folder cannot be reached: %s", name, error)
            except TRANSIENT:
                raise
            except Exception:
                # The next connector is not to wait for this one's fault.
                log.exception("%s: picking up broke off", name)
        return done

    async def close(self) -> None:
        """Give back the sessions."""
        while self._places:
            await self._places.popitem()[1].connector.close()

    async def _empty(self, place: _Place, until: float) -> int:
        if not place.hours.open_at(self._core.moment()):
            return 0
        done = 0
        for offered in await place.inbox.ready():
            if time.monotonic() >= until:
                break
            picked = await place.inbox.claim(offered)
            while place.inbox.damaged:
                bad = place.inbox.damaged.pop(0)
                await pickups.said(self._core, place.id, "file_refused", bad.name, code=bad.code)
            if picked is not None:
                done += await self._take(place, picked)
        return done

    async def _take(self, place: _Place, picked: Picked) -> bool:
        """One file into the intake and out of the way. False: it was refused, or was taken over meanwhile."""
        from connectors.transports.pickup import Lost  # with the first file there is
        from hub.api.problems import Problem

        try:
            told = await self._store(place, picked)
        except Problem as problem:
            if problem.status >= 500:
                raise
            with contextlib.suppress(Lost):
                await place.inbox.refuse(picked, problem.detail)
            await pickups.said(self._core, place.id, "file_refused", picked.name, code=problem.code, key=picked.key)
            return False
        except TRANSIENT:
            with contextlib.suppress(Lost, NotSent):  # else it is offered again when its claim ends
                await place.inbox.release(picked)
            raise
        reach("pickup.committed")
        rejected = await self._tell(place, picked, told)
        codes = [code for _, code in told.receipts]
        await pickups.said(
            self._core, place.id, "file_picked", picked.name, rejected=rejected, key=picked.key,
            **({"receipt": codes[0]} if len(codes) == 1 else {"receipts": codes}),
        )  # fmt: skip
        try:
            await place.inbox.confirm(picked)
        except Lost:
            log.info("%s: a file was taken over while it was being taken; it is known by its key", place.name)
            return False
        return True

    async def _store(self, place: _Place, picked: Picked) -> _Told:
        """The file's content into the ledger. Raises a `Problem` for a file that cannot be taken."""
        from hub.api import archives, workbooks  # with the web framework behind it: for workers that pick up only
        from hub.api.problems import Problem

        hub, kind = self._parts(), place.transport.takes
        low, stem = picked.name.lower(), picked.name.rpartition(".")[0][:100]
        if low.endswith((*_BOOKS, *_ARCHIVES)) and len(picked.body) > workbooks.FILE_MAX:
            most = f"{workbooks.FILE_MAX:,}"
            raise Problem(413, "too_large", Text(f"Tệp lớn hơn {most} byte.", f"A file over {most} bytes."))
        school = place.transport.school or None
        if low.endswith(_BOOKS):
            taken = await workbooks.take(
                hub, kind, place.source, place.scope, picked.body, csv=low.endswith(".csv"), key=picked.key, school=school,
            )  # fmt: skip
            return _Told(receipts=((stem, taken.code),))
        if low.endswith(_ARCHIVES):
            parts = await archives.take(
                hub, kind, place.source, place.scope, picked.body, key=picked.key, school=school
            )
            return _of_archive(stem, parts)
        if low.endswith(_BATCHES):
            return _Told(receipts=((stem, await _batch(hub, place, picked)),))
        raise Problem(415, "not_taken", _KIND)

    async def _tell(self, place: _Place, picked: Picked, told: _Told) -> int:
        """The errors into the failed folder: a sheet for each workbook with refused rows, a note on those refused whole. Returns
        how many rows, and whole workbooks, were refused."""
        refused = len(told.refused)
        for name, code in told.receipts:
            refused += await self._tell_rows(place, picked, name, code)
        if told.refused:
            lines = [f"{name}: {line}\n" for name, why in told.refused for line in (why.vi, why.en)]
            name = f"{picked.name.rpartition('.')[0][:100]}-{picked.key[:12]}-loi.txt"
            await place.inbox.report(name, "".join(lines).encode())
        return refused

    async def _tell_rows(self, place: _Place, picked: Picked, stem: str, code: str) -> int:
        """The sheet of errors of one receipt, where any row was refused. Returns how many were."""
        from hub.api import workbooks
        from hub.api.problems import Problem

        hub = self._parts()
        number = receipt_id(hub.keys.hmac("receipt"), code)
        found = await parties.receipt(self._core, number, 0, 1) if number is not None else None
        refused: int = sum(m["rejected"] or 0 for m in found["messages"]) if found is not None else 0
        if number is None or found is None or not refused:
            return 0
        if not picked.name.lower().endswith(_BATCHES):
            try:
                body = await workbooks.errors(hub, f"connector:{place.name}", number, found)
            except Problem as problem:
                log.warning("%s: no sheet of errors: %s", place.name, problem.detail.en)
                return refused
            name = f"{stem}-{picked.key[:12]}-loi.xlsx"
        else:
            rows = await parties.rejects(self._core, found, _TOLD_MOST)
            told = [{"pointer": r["pointer"], "code": r["code"], "key": r["key"], **r["text"]} for r in rows]
            if (more := refused - len(rows)) > 0:
                told.append({"code": "more", "vi": f"Còn {more} bản ghi nữa.", "en": f"And {more} more records."})
            body, name = orjson.dumps(told, option=orjson.OPT_INDENT_2), f"{stem}-{picked.key[:12]}-loi.json"
        await place.inbox.report(name, body)
        return refused

    def _parts(self) -> Hub:
        """What the gateway's way of taking files needs of a process."""
        if self._hub is None:
            from hub.api.context import Hub

            house = self._house
            self._hub = Hub(
                settings=house.settings, keys=house.keys, core=house.core, redis=house.redis, manifests={}, probe=_never,
                airflow=None, status_file=house.settings.data_dir / "status.json", flows_folder=FLOWS,
                workbooks=manifests.workbooks(),
            )  # fmt: skip
        return self._hub


async def _never(name: str) -> Probe:
    raise LookupError(name)  # a worker is asked for no probe


def _of_archive(stem: str, parts: list[Part]) -> _Told:
    """What became of a ZIP. Raises a `Problem`, with each workbook's own, where none of them could be taken."""
    from hub.api.problems import Problem

    refused = tuple((p.name, p.problem.detail) for p in parts if p.problem is not None)
    # By its place too: two workbooks may have one name, in folders of their own.
    receipts = tuple(
        (f"{_within(stem, 90)}-{n:03}-{_within(p.name.rpartition('.')[0], 60)}", p.taken.code)
        for n, p in enumerate(parts, 1)
        if p.taken is not None
    )
    if not receipts:
        vi, en = (" ".join(f"{name}: {getattr(why, lang)}" for name, why in refused) for lang in ("vi", "en"))
        raise Problem(422, "nothing_taken", Text(f"{_NONE_TAKEN.vi} {vi}", f"{_NONE_TAKEN.en} {en}"))
    return _Told(receipts=receipts, refused=refused)


def _within(name: str, most: int) -> str:
    """As much of a name as so many bytes hold: with all that is put around it, it has to stay one a file system takes."""
    return name.encode("utf-8", "surrogateescape")[:most].decode("utf-8", "ignore")


async def _batch(hub: Hub, place: _Place, picked: Picked) -> str:
    """A file of items, in chunks of one message and one transaction each: those that are there already are known."""
    from hub.api.problems import Problem
    from hub.api.reading import Chunk

    kind = place.transport.takes
    upload_key = intake_key(place.source, kind, "upload", picked.key)
    items = [item async for part in _items(hub, picked) for item in part]
    if not items:
        raise Problem(400, "empty", _EMPTY)
    upload = await ledger.open_upload(hub.core, upload_key, place.source, kind, place.transport.school or None)
    size = hub.settings.intake.chunk
    for number, first in enumerate(range(0, len(items), size)):
        chunk = Chunk(first=first)
        last = min(first + size, len(items))
        for at in range(first, last, _AT_ONCE):
            chunk.take(hub, kind, items[at : min(at + _AT_ONCE, last)])
            await asyncio.sleep(0)
        arrival = chunk.arrival(hub, place, kind, upload, number, upload_key)
        (accepted,) = await ledger.accept(hub.core, [arrival])
        if accepted.conflict:
            raise Problem(422, "key_reused", _CONFLICT)
        reach("pickup.chunk")
    await ledger.finish_upload(hub.core, upload)
    return receipt_code(hub.keys.hmac("receipt"), upload)


async def _items(hub: Hub, picked: Picked) -> AsyncIterator[list[bytes]]:
    from hub.api.problems import Problem
    from hub.api.reading import array_items

    body, most = picked.body.removeprefix(b"\xef\xbb\xbf"), hub.settings.http.single_max_bytes
    if picked.name.lower().endswith(".json"):
        if body.lstrip()[:1] == b"[":
            async for part in array_items(body):
                yield part
            return
        lines = [body] if body.strip() else []
    else:
        lines = [line for line in body.split(b"\n") if line.strip()]
    if any(len(line) > most for line in lines):
        raise Problem(413, "too_large", Text(f"Một bản ghi vượt quá {most} byte.", f"A record exceeds {most} bytes."))
    yield lines
