"""`GET /v1/anchors`: the heads of the journal's chain, day by day, for others to keep.

They tell nothing of what was written; whoever kept one can later see that nothing before it was altered or removed.
"""

from __future__ import annotations

from fastapi import APIRouter, Request

from hub.api.auth import CurrentClient
from hub.kernel.ledger import evidence

router = APIRouter(prefix="/v1")


@router.get("/anchors", tags=["evidence"])
async def anchors(request: Request, client: CurrentClient) -> list[dict[str, str | int]]:
    """The last 400 anchors, newest first: day (UTC), number of the seal, value of the chain (hex)."""
    found = await evidence.anchors(request.app.state.hub.core)
    return [{"day": r["day"].isoformat(), "seal": r["seal"], "chain": r["chain"].hex()} for r in found]
