"""What operators ask of gates: a span once more, and how a gate's own list is read.

One concern: those requests. It must never speak to a gate itself, show a secret, or change or end how a gate is read without a stated
reason: whoever orders that is a person with the control token, and the journal knows no name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from hub.api.context import Hub
from hub.api.control import require_control
from hub.api.devices import door_of
from hub.api.problems import Problem
from hub.kernel.firewall_names import NO_REASON, stated
from hub.kernel.ledger import gate_accounts, gate_commands, gate_lists, parties
from hub.kernel.ledger.core import TRANSIENT
from hub.kernel.ports import Text
from hub.worker.catchup import LISTERS
from hub.worker.list_settings import BadListSettings, check
from iot.clock import zone
from iot.face_mqtt.decode import PROFILES as FACE
from iot.zkteco.decode import FAMILY as ZKTECO

router = APIRouter(prefix="/control/v1/gates", tags=["devices"], dependencies=[Depends(require_control)])

_ASKED = {ZKTECO.name: lambda _: True, "face_mqtt": lambda name: bool(FACE.get(name).settings["send_again"])}
"""Families that take a command to send a span again, and by which profiles."""
_FIRST_S = 7 * 86_400.0


class Span(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """A span of time to ask a gate for again; both ends with an offset from UTC."""

    start: Annotated[datetime, msgspec.Meta(tz=True)]
    end: Annotated[datetime, msgspec.Meta(tz=True)]


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """How a gate's list is read: see `hub.worker.list_settings.ListSettings`. `secrets`: of its authentication; left out, those
    it has are kept. `since`: from when the first run asks; left out, a week back. `why`: the reason, which is journaled."""

    settings: dict[str, Any]
    why: str = ""
    secrets: dict[str, str] | None = None
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


def _reason(why: str) -> str:
    """The reason as it is journaled. Raises a 422 problem where it is no sentence."""
    said = stated(why)
    if said is None:
        raise Problem(422, "no_reason", Text(f"why: {NO_REASON.vi}", f"why: {NO_REASON.en}"))
    return said


async def _entry(hub: Hub, device: str, fits: Callable[[Any], bool]) -> Any:
    for row in await parties.devices(hub.core):
        if row["id"] == device and fits(row):
            return row
    text = Text(
        "Không có cổng này, hoặc họ cổng không làm được.", "There is no such gate, or its family cannot do that."
    )
    raise Problem(404, "unknown_gate", text)


@router.post("/{device}/catch-up", status_code=202)
async def catch_up(request: Request, device: str) -> dict[str, Any]:
    """Ask a gate to send a span again: `{"from": …, "to": …}`; a gate whose list is read is read from there.

    What comes is deduplicated, so asking twice is harmless. The command is kept until the gate has answered it."""
    door = door_of(request)
    core = door.hub.core
    try:
        row = await _entry(door.hub, device, lambda r: r["family"] in LISTERS or _ASKED.get(r["family"], lambda _: False)(r["profile"]))  # fmt: skip
        span = msgspec.json.decode((await request.body())[:2000], type=Span)
        if span.end < span.start:
            raise msgspec.ValidationError("to < from")
        here = zone(str(row["zone"] or ""))
        start, end = (f"{moment.astimezone(here):%Y-%m-%d %H:%M:%S}" for moment in (span.start, span.end))
        if row["family"] in LISTERS:
            if not await gate_lists.back_to(core, device, span.start):
                raise Problem(
                    409, "not_asked", Text("Cổng này chưa được thiết lập để hỏi.", "No list is set up for this gate.")
                )
            return {"device": device, "from": start, "to": end}
        number = await gate_commands.add(core, device, span.start, span.end, "asked")
    except (msgspec.DecodeError, OverflowError) as error:
        text = Text(f"Khoảng thời gian không hợp lệ: {error}", f"The span is not valid: {error}")
        raise Problem(422, "invalid_span", text) from error
    except TRANSIENT as error:
        text = Text("Chưa xếp được lệnh; hãy gọi lại.", "The command could not be queued; call again.")
        raise Problem(503, "busy", text, headers={"Retry-After": "2"}) from error
    door.commands.told()
    return {"id": number, "from": start, "to": end}


@router.put("/{device}/list", status_code=204)
async def put_list(request: Request, device: str) -> Response:
    """Set how a gate's own list is read, by a family that has one."""
    hub = door_of(request).hub
    await _entry(hub, device, lambda r: r["family"] in LISTERS)
    try:
        asked = msgspec.json.decode((await request.body())[:20_000], type=Asked)
        check(asked.settings, hub.settings.outward.gate_networks)
    except (msgspec.DecodeError, BadListSettings) as error:
        text = Text(f"Thiết lập không hợp lệ: {error}", f"The settings are not valid: {error}")
        raise Problem(422, "invalid_settings", text) from error
    why, sealed = _reason(asked.why), None
    if asked.secrets is not None:
        sealed = hub.keys.encrypt(msgspec.json.encode(asked.secrets), f"gate-list {device}".encode())
    since = asked.since or datetime.now(UTC) - timedelta(seconds=_FIRST_S)
    await gate_lists.put(hub.core, "control", device, asked.settings, sealed, since, why)
    return Response(status_code=204)


@router.delete("/{device}/list", status_code=204)
async def drop_list(request: Request, device: str, why: str = "") -> Response:
    """Read a gate's list no longer; `why` goes into the journal."""
    await gate_lists.drop(door_of(request).hub.core, "control", device, _reason(why))
    return Response(status_code=204)


@router.get("/lists")
async def lists(request: Request) -> dict[str, Any]:
    """Every gate whose list is read: how far, what it brought that was never pushed, and what ails it. `gates`: of an account's
    list, whom it was asked for and from when."""
    core = door_of(request).hub.core
    rows = await gate_lists.standing(core)
    spoken = await gate_accounts.spoken_for(core, [row["device"] for row in rows])
    shown = ("device", "done_to", "finished_at", "due_at", "told_at", "page", "listed", "missed", "fault")
    return {"items": [{name: row[name] for name in shown} | {"gates": spoken.get(row["device"], {})} for row in rows]}
