"""Control calls about what counterparties were given: the comparison, page by page, and what waits for what.

One concern: these calls' shapes. It must never compare so much in one call that a caller's time runs out.
"""

from __future__ import annotations

from functools import cache

import msgspec
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from hub.api.context import Hub
from hub.api.control import ControlRoute, Here, require_control
from hub.kernel.ledger import delta, recovery, waits
from mappings.fieldmap import FieldMap, load_field_maps

_MOST = 50_000

router = APIRouter(
    prefix="/control/v1",
    tags=["control"],
    dependencies=[Depends(require_control)],
    route_class=ControlRoute,
    include_in_schema=False,
)


@cache
def field_maps() -> dict[str, FieldMap]:
    """Read once, with the first comparison."""
    return load_field_maps()


def _number(hub: Hub, connector: str) -> int:
    number = hub.core.connectors.get(connector)
    if number is None:
        raise recovery.UnknownConnector(connector)
    return number


class _Compare(BaseModel):
    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, max_length=400)
    most: int = Field(_MOST, ge=1, le=_MOST)


@router.post("/connectors/{connector}/compare")
async def compare(hub: Here, connector: str, body: _Compare) -> Response:
    """Compare about `most` records from `after` on with what the counterparty was last given, and queue the differences.

    `{compared, unchanged, queued, on_their_way, unmapped, expired, next}`; call again with `after` = `next` until that is
    null. A page gone over twice queues nothing twice.
    """
    found = await delta.compare(
        hub.core, "control", _number(hub, connector), field_maps(), after=body.after, most=body.most
    )
    return Response(msgspec.json.encode(found), media_type="application/json")


@router.get("/connectors/{connector}/waiting")
async def waiting(hub: Here, connector: str) -> Response:
    """`{items: [{waits_for, count, oldest}]}`: what deliveries wait for to be delivered first."""
    rows = await waits.waiting(hub.core, None, _number(hub, connector))
    items = [{"waits_for": r["waits_for"], "count": r["n"], "oldest": r["oldest"]} for r in rows]
    return Response(msgspec.json.encode({"items": items}), media_type="application/json")
