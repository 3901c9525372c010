"""The worker process: one dispatcher per connector, and the ticker that looks after what no event will wake.

Many workers may run at once. It must never assume that it is the only one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from adapters import manifest as manifests
from connectors.address import AddressPolicy
from connectors.settings import picks_up
from hub import lean
from hub.kernel.file_tokens import token_of
from hub.kernel.ledger import gate_pictures, intake, operations, recovery, silence, upkeep, verifications
from hub.kernel.ledger.core import TRANSIENT, Core
from hub.kernel.ledger.pulls import PullBusy
from hub.kernel.ports import Reject, Text
from hub.kernel.store.db import sql
from hub.last_resort import gone_within
from hub.settings import Settings
from hub.wiring import House, open_house
from hub.worker import pulls, retime, sweep
from hub.worker.catchup import ONLY_ASKED, CatchUp
from hub.worker.dispatch import Dispatcher
from hub.worker.hourly import Hourly
from hub.worker.lasting import lasting
from hub.worker.pickups import Pickups
from hub.worker.recovery import RecoveryLoop
from hub.worker.serving import LOOK_S, LOST_LOOK_S, Serving, alone
from hub.worker.targets import target_of
from mappings.engine import TYPES, FieldMap, load_field_maps, parse_item, today_of

log = logging.getLogger("hub.worker")
_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_PULL_S = 40.0
_PICK_S = 5.0
_END_S, _GONE_S = 7.5, 9.0
"""How long an end waits for the database: while calls on the wire are waited for it is still needed. And for anything at all."""


class Worker:
    """Keeps a dispatcher running for every connector, rebuilt when its settings change."""

    def __init__(self, house: House, airflow: Any | None) -> None:
        self.house = house
        self.core = house.core
        self.settings = house.settings
        self._stop = asyncio.Event()
        self._running: dict[str, tuple[int, Dispatcher, asyncio.Task[None]]] = {}
        self._maps: dict[str, FieldMap] = load_field_maps()
        self._addresses = AddressPolicy(house.settings.outward.allow_private, house.settings.outward.folders)
        self._recovery = RecoveryLoop(self.core, airflow, house.settings)
        self._catch_up = CatchUp(
            self.core, house.keys, house.settings.outward.gate_networks, house.settings.retention.short_days
        )
        self._pickups = Pickups(house, self._addresses)
        self._serving = Serving(self.core)
        self._hourly = Hourly(self.core, house.settings)
        self._swept = sweep.Sweep(self.core, house.settings)
        self._opened: dict[str, float] = {}
        self._learnt_at: datetime | None = None
        self._broken: dict[str, int] = {}
        """Revisions that could not be set up: said once, tried again when the settings change."""
        house.bell.local.append(self._ring)

    def stop(self) -> None:
        """Begin to end: nothing more is claimed, what is on the wire is waited for."""
        self._stop.set()

    def _ring(self, what: str) -> None:
        for _revision, dispatcher, _task in self._running.values():
            dispatcher.bell.set()

    async def run(self) -> None:
        """Work until stopped."""
        loops = [
            asyncio.create_task(lasting("hearing of changes", self._listen)),
            asyncio.create_task(self._every(self.settings.dispatch.poll_interval_s, self._tick)),
            asyncio.create_task(self._every(2.0, self._sync)),
            asyncio.create_task(lasting("keeping what one worker serves", self._keep_serving)),
            asyncio.create_task(lasting("giving up what is another's", self._give_up_lost)),
            asyncio.create_task(self._every(2.0, self._verify)),
            asyncio.create_task(self._every(sweep.EVERY_S, self._sweep)),
            asyncio.create_task(self._every(10.0, self._forget_pictures)),
            asyncio.create_task(self._every(60.0, self._upkeep)),
            asyncio.create_task(self._every(60.0, self._pull)),
            asyncio.create_task(self._every(_PICK_S, self._pick_up)),
            asyncio.create_task(self._every(1.0, self._ask_gates)),
            asyncio.create_task(self._every(60.0, self._listen_for_silence)),
            asyncio.create_task(self._every(1.0, self._retime)),
            asyncio.create_task(self._recovery.run(self._stop)),
        ]
        await self._stop.wait()
        for _revision, dispatcher, _task in self._running.values():
            await dispatcher.stop()
        await asyncio.gather(*(task for _r, _d, task in self._running.values()), return_exceptions=True)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        with contextlib.suppress(*TRANSIENT):
            await self._serving.leave()
        await self._pickups.close()

    async def _every(self, seconds: float, work: Any) -> None:
        while not self._stop.is_set():
            try:
                await work()
            except TRANSIENT as error:
                log.warning("%s waits for the database: %s", work.__name__, error)
            except Exception:
                log.exception("%s failed", work.__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)

    async def _listen(self) -> None:
        async for word in self.house.bell.heard(ready=True):
            if word in ("connectors", "codes", "lost"):
                with contextlib.suppress(*TRANSIENT):
                    await self._sync()
            self._ring(word)

    async def _sync(self) -> None:
        """Follow the connectors' table: start, stop, pause, rebuild."""
        await self.house.refresh()
        async with self.core.pool.acquire() as connection:
            rows = await connection.fetch(sql.connectors_all)
        single = frozenset(row["id"] for row in rows if alone(row))
        await self._serving.want(single)
        for row in rows:
            name = row["name"]
            running = self._running.get(name)
            if row["id"] in single and not self._serving.mine(row["id"]):
                if running and running[2].done():
                    del self._running[name]  # `_serve` has stopped it: another worker serves it now
                continue
            if running and running[0] != row["revision"]:
                await running[1].stop()
                await asyncio.gather(running[2], return_exceptions=True)
                running = None
            if picks_up(row["settings"]):  # a way in alone: nothing is sent there
                self._running.pop(name, None)
                continue
            if running is None or running[2].done():
                if self._broken.get(name) == row["revision"]:
                    continue
                if running is not None and not running[2].cancelled() and (broken := running[2].exception()):
                    log.error("%s: the dispatcher broke off and begins anew", name, exc_info=broken)
                try:
                    target = target_of(
                        row, manifests.load(row["system"]), self.core.router, self._maps, self.house.keys, self._addresses,
                        self.house.redis, self.settings.dispatch.lease_s, self.core.clock, self._file_address,
                    )  # fmt: skip
                except Exception as error:
                    log.error("%s cannot be set up: %s", name, error)
                    text = Text(f"Không dựng được kết nối: {error}", f"The connector cannot be set up: {error}")
                    await operations.pause(self.core, "hub", name, text, "cannot_set_up")
                    self._broken[name] = row["revision"]
                    continue
                dispatcher = Dispatcher(
                    self.core,
                    target,
                    poll_s=self.settings.dispatch.poll_interval_s,
                    on_fault=self._on_fault,
                    on_pause=self._on_pause,
                )
                running = (row["revision"], dispatcher, asyncio.create_task(dispatcher.run(), name=f"dispatch {name}"))
                self._running[name] = running
            running[1].paused = row["state"] == "paused"

    async def _keep_serving(self) -> None:
        """Keep what only one worker may serve, to the end of the last call too."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._serving.look()
            except TRANSIENT as error:
                log.warning("what one worker serves waits for the database: %s", error)

    async def _give_up_lost(self) -> None:
        """End at once what may be another's by now: its session must not stand beside the other's. By the clock alone, since the
        database may be what hangs."""
        while True:
            await asyncio.sleep(LOST_LOOK_S)
            lost = [
                dispatcher
                for _revision, dispatcher, task in self._running.values()
                if dispatcher.target.single and not task.done() and not self._serving.mine(dispatcher.target.number)
            ]
            for dispatcher in lost:
                await dispatcher.stop()
            await asyncio.gather(*(d.target.connector.close() for d in lost), return_exceptions=True)

    def _file_address(self, connector: int, file: str) -> str:
        """Where one connector's counterparty can fetch a document, for as long as the settings say."""
        kept, http = self.settings.files, self.settings.http
        base = str(kept.base_url or http.public_url or f"http://{http.host}:{http.port}").rstrip("/")
        until = int(self.core.clock()) + kept.url_days * 86_400
        return f"{base}/v1/files/{token_of(self.house.keys.hmac('file-token'), UUID(file), connector, until)}"

    async def _on_fault(self, connector: str, reason: str) -> None:
        """A connector's own fault: recovery takes it from here. Asked for at most once a second per connector."""
        now = asyncio.get_running_loop().time()
        if now - self._opened.get(connector, -10.0) >= 1.0:
            self._opened[connector] = now
            with contextlib.suppress(*TRANSIENT):
                await recovery.open_recovery(self.core, connector, reason)

    async def _on_pause(self, connector: str, cause: str, message: Text) -> None:
        with contextlib.suppress(*TRANSIENT):
            if await operations.pause(self.core, "hub", connector, message, cause):
                log.error("%s paused: %s: %s", connector, cause, message.en)

    async def _tick(self) -> None:
        await upkeep.end_leases(self.core)
        if await intake.work_inbox(self.core, decoder(self.core)):
            self._ring("ready")

    async def _verify(self) -> None:
        """Go on with open verifications: ask within the quota, take in what was answered."""
        await verifications.advance(self.core)

    async def _sweep(self) -> None:
        """Look after what no event will wake."""
        await self._swept.work()

    async def _forget_pictures(self) -> None:
        """Pictures past their hours; whatever else fails, they go."""
        await gate_pictures.sweep(self.core, self.settings.pictures.hours)

    async def _retime(self) -> None:
        """Check-ins whose clock, person or passage has become known meanwhile."""
        await retime.advance(self.core)

    async def _pull(self) -> None:
        """Lists nobody has pulled for long: Airflow keeps their schedule, and the hub stands in when it is away."""
        async with self.core.pool.acquire() as connection:
            rows = await connection.fetch(sql.pull_connectors)
        for row, what in await pulls.overdue(self.core, rows):
            try:
                work = pulls.Pull(self.core, row, what, self.house.keys, self._addresses, self.core.worker)
                await work.run(f"overdue-{datetime.now(UTC):%Y%m%d%H%M}", _PULL_S)
            except PullBusy:
                log.info("%s: %s is being pulled elsewhere", row["name"], what)
            except TRANSIENT:
                raise
            except Exception:
                # The next list in the row is not to wait for this one's fault.
                log.exception("%s: pulling %s broke off", row["name"], what)

    async def _pick_up(self) -> None:
        """Files that counterparties left in the folders of their connectors."""
        await self._pickups.work(_PULL_S)

    async def _listen_for_silence(self) -> None:
        """Gates that should be heard and are not; their habits are learnt anew each hour."""
        import holidays  # with the first look: no start waits for it

        public = holidays.country_holidays("VN")
        now = self.core.moment()
        if self._learnt_at is None or now - self._learnt_at > timedelta(hours=1):
            await silence.learn(self.core, now.astimezone(_ZONE).date(), public.__contains__)
            self._learnt_at = now
        kept = self.settings.alarms
        await silence.watch(
            self.core, now, public.__contains__, kept.silent_expected, kept.silent_minutes * 60.0, ONLY_ASKED
        )

    async def _upkeep(self) -> None:
        """Each hourly step whose time has come."""
        await self._hourly.work()

    async def _ask_gates(self) -> None:
        """Ask gates that can list for what they never pushed."""
        await self._catch_up.work(_PULL_S)


def decoder(core: Core) -> Callable[[Any], tuple[list[Any], list[Reject], Reject | None]]:
    """How drafts are made of a message that was stored before its records were."""

    def decode(row: Any) -> tuple[list[Any], list[Reject], Reject | None]:
        found = parse_item(row["type"], row["body"] or b"", "", row["received_at"])
        if isinstance(found, list):
            return [], found[:1], None
        core.catalogue.standardise_record(TYPES[found.type], found.body, today_of(found.updated_at))
        return [found], [], None

    return decode


async def main(settings: Settings, airflow: Any | None = None) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    async with open_house(settings, "worker") as house:
        worker = Worker(house, airflow)
        loop = asyncio.get_running_loop()

        def end() -> None:
            worker.stop()
            house.end_within(_END_S)
            gone_within(_GONE_S)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        lean.settle()
        lean.seldom()
        await worker.run()
