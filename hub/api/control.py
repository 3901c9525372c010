"""The control API: how schedules and recoveries are steered from beside the hub (Airflow's DAGs, and no one else).

Every call may be repeated. It must never hand out personal data, nor let a leader send: leaders release, workers send.
Errors are problems (RFC 9457) in both languages; 409 says that the caller's epoch, lease or step does not hold, 503
that the database is away and the same call may be made again.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors.policy.calendar import Calendar, CalendarSettings
from hub.api.context import Hub
from hub.api.problems import Problem
from hub.kernel.ledger import accounting, quotas, recovery, upkeep
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import Text, said
from hub.kernel.store.db import sql
from hub.keys import Keys

_PROBE_S = 20.0


def control_token(keys: Keys) -> str:
    """The bearer token of the control API: derived, so that nothing need be stored, and the same after every start."""
    return keys.hmac("control-token").hex()


_DENIED = Text("Cần mã truy cập điều khiển.", "The control token is missing or wrong.")
_AWAY = Text("Cơ sở dữ liệu tạm thời không trả lời; hãy gọi lại.", "The database does not answer for now; call again.")


class ControlRoute(APIRoute):
    """Turns the ledger's refusals into problems."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except recovery.UnknownConnector as error:
                raise Problem(404, "unknown_connector", said(error)) from error
            except recovery.RecoveryConflict as error:
                raise Problem(409, error.code, said(error, error)) from error
            except TRANSIENT as error:
                raise Problem(503, "database_away", _AWAY, headers={"Retry-After": "2"}) from error

        return handled


def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


async def require_control(request: Request) -> None:
    """Let only bearers of the control token in. Raises a `Problem` with status 401."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    wanted = control_token(_hub(request).keys)
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), wanted.encode()):
        raise Problem(401, "control_denied", _DENIED, headers={"WWW-Authenticate": "Bearer"})


router = APIRouter(
    prefix="/control/v1",
    tags=["control"],
    dependencies=[Depends(require_control)],
    route_class=ControlRoute,
    include_in_schema=False,
)
Here = Annotated[Hub, Depends(_hub)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Held(_Body):
    epoch: int = Field(ge=1)
    owner: str = Field(min_length=1, max_length=200)

    @field_validator("owner")
    @classmethod
    def _no_ticker(cls, owner: str) -> str:
        if owner.startswith(recovery.TICKER):
            raise ValueError("the name of a ticker")
        return owner


class _Lead(_Held):
    lease_s: float = Field(30.0, gt=0, le=recovery.LEASE_MAX_S)


class _Release(_Held):
    step: int = Field(ge=1)
    count: int = Field(ge=0, le=recovery.RELEASE_MAX)
    waiting_since_before: datetime | None = None


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


@router.get("/recoveries")
async def recoveries(hub: Here, open_only: Annotated[bool, Query(alias="open")] = False) -> Response:
    """`{items: [recovery …]}`, by connector; each with `open` and `opens_at` by the counterparty's calendar and quota."""
    found = await recovery.overview(hub.core, open_only=open_only)
    return _json({"items": [msgspec.structs.asdict(r) | await _opening(hub, r.connector) for r in found]})


async def _opening(hub: Hub, connector: str) -> dict[str, Any]:
    """Whether the counterparty's calendar and its quota of the day let calls begin now, and else from when; None: not
    within the calendar's horizon."""
    async with hub.core.pool.acquire() as connection:
        row = await connection.fetchrow(sql.connector_by_name, connector)
    policy = (row["settings"] or {}).get("policy", {}) if row else {}
    calendar = Calendar(CalendarSettings.model_validate(policy.get("calendar") or {}))
    per_day = (policy.get("quota") or {}).get("per_day")
    anew = await quotas.anew_at(hub.core, row["id"], per_day) if row and per_day else None
    now = hub.core.moment()
    if anew is None and calendar.open_at(now):
        return {"open": True, "opens_at": None}
    return {"open": False, "opens_at": calendar.next_open(anew or now)}


@router.get("/recoveries/{connector}")
async def progress(
    hub: Here,
    connector: str,
    epoch: Annotated[int | None, Query(ge=0)] = None,
    since: datetime | None = None,
    canary: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    delivered: bool = False,
    brief: bool = False,
) -> Response:
    """`{recovery, progress}`, the recovery as in the list. With `epoch`, 409 when another is in force. `brief`: of the counts
    only what a leader goes by, read in no time however much waits; the others are null."""
    found = await recovery.find(hub.core, connector)
    if found is None:
        raise recovery.StaleEpoch("0")
    counts = await recovery.progress(
        hub.core, connector, found.epoch if epoch is None else epoch, since=since, canary=canary, delivered=delivered, brief=brief
    )  # fmt: skip
    return _json({"recovery": msgspec.structs.asdict(found) | await _opening(hub, connector), "progress": counts})


@router.post("/recoveries/{connector}/lead")
async def lead(hub: Here, connector: str, body: _Lead) -> Response:
    """Take or extend the lease. Answers with the last step; 409 when another leads."""
    return _json(await recovery.lead(hub.core, connector, body.owner, body.epoch, body.lease_s))


@router.post("/recoveries/{connector}/probe")
async def probe(hub: Here, connector: str) -> Response:
    """Connect and authenticate, send nothing that counts: `{ok, ms, detail: {vi, en}}`."""
    await recovery.find(hub.core, connector)
    try:
        async with asyncio.timeout(_PROBE_S):
            found = await hub.probe(connector)
    except TimeoutError:
        detail = Text("Đối tác không trả lời kịp.", "The counterparty did not answer in time.")
        return _json({"ok": False, "ms": _PROBE_S * 1000, "detail": detail})
    return _json({"ok": found.ok, "ms": found.ms, "detail": found.detail})


@router.post("/recoveries/{connector}/release")
async def release(hub: Here, connector: str, body: _Release) -> Response:
    """Release up to `count` waiting deliveries as step `step`; a step made before releases nothing more."""
    done = await recovery.release(
        hub.core,
        connector,
        body.owner,
        body.epoch,
        body.step,
        body.count,
        waiting_since_before=body.waiting_since_before,
    )
    return _json(done)


@router.post("/recoveries/{connector}/finish")
async def finish(hub: Here, connector: str, body: _Held) -> Response:
    """Close the recovery: `{done, reason}`."""
    return _json(await recovery.finish(hub.core, connector, body.owner, body.epoch))


@router.post("/recoveries/{connector}/hand-over")
async def hand_over(hub: Here, connector: str, body: _Held) -> Response:
    """Give the lease up at once: `{handed_over}`."""
    return _json({"handed_over": await recovery.hand_over(hub.core, connector, body.owner, body.epoch)})


@router.post("/maintenance/partitions")
async def partitions(hub: Here) -> Response:
    """Make the days ahead: `{made, stray}`. `stray` counts rows no day was made for: any is an alarm."""
    made, stray = await upkeep.make_partitions(hub.core, hub.settings.retention.ahead_days)
    return _json({"made": made, "stray": stray})


class _Look(_Body):
    days: int | None = Field(default=None, ge=1)


@router.post("/seals/verify")
async def verify_seals(hub: Here, body: _Look) -> Response:
    """Compute the journal's seals anew, the entries of the last `days` days or of all: `{broken}`, the seals' numbers."""
    return _json({"broken": await upkeep.verify_seals(hub.core, body.days)})


@router.post("/reconcile")
async def reconcile(hub: Here) -> Response:
    """The accounting identity: `{balanced, differences, account}`."""
    found = await accounting.account(hub.core)
    return _json({"balanced": found.balanced, "differences": found.differences, "account": found})
