"""Airflow beside the hub: how it is, and its last runs."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import Visitor, hub_of
from hub.console.pulse import Pulses
from hub.console.render import respond

router = APIRouter(prefix="/airflow")

_WAIT_S = 4.0


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None


@router.get("")
async def index(request: Request, visitor: Visitor) -> Response:
    """State, DAGs and the last runs."""
    hub = hub_of(request)
    pulses: Pulses = request.app.state.console_pulses
    state, parts = await pulses.airflow(hub)
    runs: list[Any] = []
    dags: list[Any] = []
    if hub.airflow is not None and state in ("healthy", "unhealthy"):
        try:
            async with asyncio.timeout(_WAIT_S):
                runs, dags = await hub.airflow.runs(30), await hub.airflow.dags()
        except Exception:  # the client's errors and a time-out: the page says that Airflow is away
            state = "away"
    for run in runs:
        run["began"], run["ended"] = _moment(run.get("start_date")), _moment(run.get("end_date"))
    recoveries = [c for c in (await pulses.read(hub, visitor.schools)).cards if c.row["recovery"] == "open"]
    web = hub.settings.airflow.url if hub.airflow is not None else None
    return respond(
        request,
        "airflow.html",
        visitor=visitor,
        state=state,
        parts_of=parts,
        runs=runs,
        dags=dags,
        recoveries=recoveries,
        web=web,
    )
