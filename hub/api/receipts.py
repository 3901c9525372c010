"""Receipts: `GET /v1/receipts/{code}`, what became of a push.

One concern: a push's outcome, record by record and delivery by delivery, in pages. It must never show a receipt to a
client that neither made the push nor may see all of its schools.
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from hub.api.auth import CurrentClient
from hub.api.context import Hub
from hub.api.problems import Problem
from hub.kernel.ledger import parties
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text
from hub.kernel.receipts import receipt_id

router = APIRouter(prefix="/v1")

_OUTCOMES = {None: "pending", 2: "invalid", 3: "duplicate", 4: "routed"}
_DISPOSITIONS = {1: "accepted", 2: "unchanged", 3: "quarantined", 5: "merged"}


@router.get("/receipts/{code}", tags=["intake"])
async def receipt(
    request: Request,
    code: str,
    client: CurrentClient,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """What became of a push: status per record and per delivery, in pages (`after` is the cursor in `next`)."""
    hub: Hub = request.app.state.hub
    missing = Problem(404, "no_receipt", Text("Không có biên nhận này.", "There is no such receipt."))
    number = receipt_id(hub.keys.hmac("receipt"), code)
    if number is None:
        raise missing
    found = await parties.receipt(hub.core, number, after, limit)
    if found is None:
        raise missing
    own = found["source"]["kind"] == "client" and found["source"]["name"] == client.id
    if (
        not own
        and not client.scope.whole
        and not all(hub.core.directory.permits(client.scope, m["school"]) for m in found["messages"])
    ):
        raise missing
    names = {n: name for name, n in hub.core.connectors.items()}
    deliveries: dict[int, list[dict[str, Any]]] = {}
    for d in found["deliveries"]:
        deliveries.setdefault(d["record"], []).append(
            {
                "connector": names.get(d["connector"], "?"), "state": State(d["state"]).word, "since": d["at"].isoformat(),
                "cause": d["cause"], "attempts": d["attempts"], **({"text": d["task"]} if d["task"] else {}),
            }
        )  # fmt: skip
    results = [m for m in found["messages"] if m["outcome"] is not None]
    records = found["records"]
    body = {
        "receipt": code,
        "received_at": (found["upload"]["started_at"] if found["upload"] else found["messages"][0]["received_at"]).isoformat(),
        "complete": found["upload"]["finished_at"] is not None if found["upload"] else True,
        "type": found["upload"]["type"] if found["upload"] else found["messages"][0]["type"],
        "messages": [{"outcome": _OUTCOMES[m["outcome"]], "chunk": m["chunk"]} for m in found["messages"]],
        "items": sum(m["items"] for m in results),
        "rejected": sum(m["rejected"] for m in results),
        "records": [
            {
                "pointer": r["pointer"], "key": r["key"], "event": r["event"], "version": r["version"],
                "status": _DISPOSITIONS[r["disposition"]], "deliveries": deliveries.get(r["id"], []),
            }
            for r in records
        ],
        "rejects": [{"pointer": r["pointer"], "code": r["code"], "key": r["key"], **r["text"]} for r in found["rejects"]],
        "next": f"/v1/receipts/{code}?after={records[-1]['id']}&limit={limit}" if len(records) == limit else None,
    }  # fmt: skip
    return Response(orjson.dumps(body), 200, {"Cache-Control": "no-store"}, media_type="application/json")
