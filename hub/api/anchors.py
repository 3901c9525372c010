"""`GET /v1/anchors`: the heads of the journal's chain, day by day, for others to keep; and the program that checks packs.

They tell nothing of what was written; whoever kept one can later see that nothing before it was altered or removed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.api.auth import CurrentClient
from hub.evidence import verify
from hub.kernel.ledger import evidence

router = APIRouter(prefix="/v1")


@router.get("/anchors", tags=["evidence"])
async def anchors(request: Request, client: CurrentClient) -> list[dict[str, str | int]]:
    """The last 400 anchors, newest first: day (UTC), number of the seal, value of the chain (hex)."""
    found = await evidence.anchors(request.app.state.hub.core)
    return [{"day": r["day"].isoformat(), "seal": r["seal"], "chain": r["chain"].hex()} for r in found]


@router.get("/anchors/verify.py", tags=["evidence"])
async def verifier(client: CurrentClient) -> Response:
    """The program that checks evidence packs, from its source: who doubts a pack takes it from here, not from the pack."""
    body = Path(verify.__file__).read_bytes()
    return Response(body, 200, {"X-Sha256": hashlib.sha256(body).hexdigest()}, media_type="text/x-python")
