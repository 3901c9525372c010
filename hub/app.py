"""The gateway: one FastAPI application with the REST intake, the control API and the console.

Composes; decides nothing. It must never answer an intake before the ledger has committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

import connectors.settings as connector_settings
from adapters import manifest as manifests
from connectors.address import AddressPolicy
from hub import console, lean
from hub.api import (
    anchors,
    auth,
    callbacks,
    comparison,
    control,
    control_filings,
    control_reconcile,
    control_schedules,
    devices,
    exports,
    files,
    front,
    gate_control,
    gate_enrol,
    intake,
    metrics,
    problems,
    query,
    receipts,
    rosters,
    verify,
    workbooks,
    xroad_provider,
)
from hub.api.context import Hub, Probe
from hub.api.gate_sluice import Sluice
from hub.bell import Bell
from hub.kernel import firewall_log
from hub.kernel.grouping import Gap, GroupCommit
from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger import intake as ledger
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import Text
from hub.kernel.store.db import sql
from hub.settings import Settings
from hub.wiring import FLOWS, House, airflow_link, open_house
from hub.worker import gate_held
from hub.worker.gate_album import Album
from hub.worker.lasting import lasting

_GATES_GAP_S = 0.01, 0.04
"""Least and most between batches of gates' events that are not full: gates wait for seconds, and a small commit costs as much as a large."""

_SECOND = 16
"""So many pushes waiting are worth a second commit beside the first."""

_CONNECTIONS = 4
"""Kept open from the start: two commits, the tables read again and a page at once shall not wait for a new one."""

_END_S = 1.0
"""How long an end waits for the database, once requests were given their time."""


def _prober(house: House) -> Any:
    addresses = AddressPolicy(house.settings.outward.allow_private, house.settings.outward.folders)

    async def probe(name: str) -> Probe:
        async with house.core.pool.acquire() as connection:
            row = await connection.fetchrow(sql.connector_by_name, name)
        if row is None:
            raise KeyError(name)
        from hub.worker.targets import live  # every transport there is: for an administrator's test only

        try:
            connector = live(row, house.keys, addresses, house.core.clock)
        except ValueError:  # settings that are not there yet, or no longer fit; what is wrong may quote a secret
            return Probe(ok=False, ms=0.0, detail=_UNFIT)
        try:
            found = await connector.probe()
        finally:
            await connector.close()
        return Probe(ok=found.ok, ms=found.ms, detail=found.detail)

    return probe


_UNFIT = Text("Cấu hình kết nối chưa dùng được.", "The connector's settings cannot be used.")


async def follow(bell: Bell, heard: Callable[[str], None]) -> None:
    """Hear of other processes' changes. Without the bell what is kept is a few seconds old at most."""
    async for word in bell.heard():
        heard(word)


def create(settings: Settings) -> FastAPI:
    """The application. Its parts are opened when it starts serving."""
    firewall_log.guard()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_house(settings, "gateway", pool_min=_CONNECTIONS) as house:
            airflow = None
            if (link := airflow_link(settings)) is not None:
                from hub.embedded.airflow_client import AirflowClient

                airflow = AirflowClient(link)
            app.state.hub = Hub(
                settings=settings, keys=house.keys, core=house.core, redis=house.redis,
                manifests={name: manifests.load(name) for name in manifests.systems()}, probe=_prober(house), airflow=airflow,
                status_file=settings.data_dir / "status.json", flows_folder=FLOWS,
                workbooks=manifests.workbooks(),
            )  # fmt: skip
            app.state.clients = auth.Clients(app.state.hub)

            def accept(arrivals: list[Arrival]) -> Awaitable[list[Accepted]]:
                return ledger.accept(house.core, arrivals)

            app.state.group = GroupCommit(accept, batch=settings.intake.batch, second=_SECOND)
            app.state.gates_group = GroupCommit(accept, batch=settings.intake.batch, gap=Gap(*_GATES_GAP_S))
            hours = settings.pictures.hours
            app.state.album = Album(house.core, house.keys.encrypt, hours) if hours else None
            app.state.sluice = Sluice(devices.ACCOUNTS)

            def heard(word: str) -> None:
                devices.heard(app, word)
                console.heard(app, word)

            beside: dict[str, Callable[[], Awaitable[None]]] = {
                "reading the small tables": house.follow,
                "hearing of other processes": lambda: follow(house.bell, heard),
                "telling which gates are held back": lambda: gate_held.say(house.core, app.state.sluice.standing),
            }
            if app.state.album is not None:
                beside["keeping gates' pictures"] = app.state.album.run
            going_on = [asyncio.create_task(lasting(name, loop)) for name, loop in beside.items()]
            house.bell.local.append(heard)
            lean.settle()
            lean.seldom()
            try:
                yield
            finally:
                house.end_within(_END_S)
                await devices.closing(app)
                for task in going_on:
                    task.cancel()
                await asyncio.gather(*going_on, return_exceptions=True)
                if airflow is not None:
                    await airflow.close()

    app = front.Gateway(title="Liên Thông", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)
    app.include_router(auth.router)
    app.include_router(intake.router)
    app.include_router(receipts.router)
    app.include_router(control.router)
    app.include_router(comparison.router)
    app.include_router(workbooks.router)
    app.include_router(control_filings.router)
    app.include_router(control_schedules.router)
    app.include_router(control_reconcile.router)
    app.include_router(rosters.router)
    app.include_router(exports.router)
    app.include_router(callbacks.router)
    app.include_router(files.router)
    app.include_router(anchors.router)
    app.include_router(query.router)
    app.include_router(xroad_provider.router)
    app.include_router(verify.router)
    app.include_router(verify.control)
    app.include_router(gate_control.router)
    app.include_router(gate_enrol.router)

    @app.get("/healthz", include_in_schema=False)
    async def healthz(request: Request) -> Response:
        """Whether the gateway can take messages: its database answers."""
        try:
            async with request.app.state.hub.core.pool.acquire() as connection:
                await connection.fetchval("SELECT 1")
        except TRANSIENT:
            return Response("database away\n", 503, media_type="text/plain")
        return Response("ok\n", media_type="text/plain")

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics(request: Request) -> Response:
        """Prometheus metrics; for the machine itself and those with the control token."""
        await metrics.permit(request)
        return Response(await metrics.render(request.app.state.hub), media_type=CONTENT_TYPE_LATEST)

    console.mount(app, connector_settings)
    return app
