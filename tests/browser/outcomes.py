"""What became of deliveries, for the console's tests: concluded through the ledger as a worker concludes them."""

from __future__ import annotations

import json
from typing import Any

from hub.kernel.ledger import dispatch, mappings
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.operations import code_subject
from hub.kernel.ledger.shapes import Conclusion, Exchange, TaskSpec
from hub.kernel.lifecycle import State
from hub.kernel.ports import Call, Reply, Text
from mappings.engine import load_field_maps
from mappings.versions import version_of


async def send(
    core: Core,
    name: str,
    count: int,
    make: Any,
    *,
    reply: Reply | None,
    error: str | None = None,
    idempotent: bool = True,
) -> list[int]:
    """Claim some deliveries of a connector and conclude each as `make(claimed, call)` says, as a worker would."""
    connector = core.connectors[name]
    batch = await dispatch.claim(core, connector, count, 60.0)
    if not batch.deliveries:
        return []
    async with core.pool.acquire() as connection:
        (call_id,) = await core.ids.take(connection, 1)
    klass = batch.deliveries[0].klass
    mine = [d for d in batch.deliveries if d.klass == klass]
    body = {
        "goi": [
            {
                "idbanghi": d.key,
                "hovaten": (d.outgoing.body if d.outgoing else {}).get("full_name"),
                "sodinhdanh": "031085001234",
            }
            for d in mine
        ]
    }
    call = Call(
        operation="push", deliveries=tuple(d.id for d in mine), body=json.dumps(body, ensure_ascii=False).encode(), content_type="application/json",
        idempotent=idempotent, path="/api/v1/goi-du-lieu", headers={"Accept": "application/json"}, key=mine[0].key,
    )  # fmt: skip
    version = version_of(load_field_maps()["ministry.learner"], core.catalogue)
    await mappings.keep(core, [version])
    exchange = Exchange(
        id=call_id,
        klass=klass,
        connector=connector,
        call=call,
        mapping=version.name,
        reply=reply,
        error=error,
        elapsed_ms=41.5,
    )
    await dispatch.conclude(core, connector, [make(d, call_id) for d in mine], [exchange])
    rest = [d for d in batch.deliveries if d.klass != klass]
    if rest:
        await dispatch.conclude(
            core,
            connector,
            [Conclusion(delivery=d, target=State.READY, cause="released", outcome="released") for d in rest],
            [],
        )
    return [d.id for d in mine]


OK = Reply(
    status=200,
    body=b'{"ketqua": "00", "thongbao": "\xc4\x90\xc3\xa3 nh\xe1\xba\xadn cho Nguy\xe1\xbb\x85n Minh An"}',
    elapsed_ms=38.0,
)
BUSY = Reply(status=503, body=b"<html>maintenance</html>", elapsed_ms=12.0)


def delivered(d: Any, call: int) -> Conclusion:
    return Conclusion(
        delivery=d,
        target=State.DELIVERED,
        cause="receipt",
        outcome="Receipt",
        reference=f"BGD-{d.id % 100000}",
        call=call,
        elapsed_ms=40.0,
    )


def waiting(d: Any, call: int) -> Conclusion:
    return Conclusion(
        delivery=d,
        target=State.WAITING,
        cause="try_later",
        outcome="TryLater",
        reason="HTTP 503",
        after_s=3600.0,
        call=call,
        elapsed_ms=12.0,
    )


def uncertain(d: Any, call: int) -> Conclusion:
    return Conclusion(
        delivery=d,
        target=State.UNCERTAIN,
        cause="unknown",
        outcome="Unknown",
        reason="MaybeSent: read timed out",
        after_s=3600.0,
        call=call,
        elapsed_ms=30000.0,
    )


def dead(d: Any, call: int) -> Conclusion:
    return Conclusion(
        delivery=d,
        target=State.DEAD,
        cause="never",
        outcome="NeverTry",
        reason="invalid_data",
        detail="Bộ từ chối dữ liệu / Data refused",
        call=call,
        elapsed_ms=9.0,
    )


def unmapped(core: Core, code: str, system: str = "vn-ethnicity", target: str = "vn-ethnicity") -> Any:
    """Parks for a code without a meaning."""

    def make(d: Any, call: int) -> Conclusion:
        task = TaskSpec(
            connector=core.connectors["ministry"], cause="unmapped_code", subject=code_subject(system, code, target),
            text=Text(
                f"Mã “{code}” ({system}) chưa có trong bảng {target}; cần cho trường Dân tộc.",
                f"Code “{code}” ({system}) has no match in {target}; needed for Ethnicity.",
            ),
            data={"source_system": system, "code": code, "target_system": target, "candidates": []},
        )  # fmt: skip
        return Conclusion(
            delivery=d,
            target=State.PARKED,
            cause="needs_person",
            outcome="Unmapped",
            reason=f"unmapped {system}:{code} → {target}",
            task=task,
        )

    return make


def locked(core: Core, name: str) -> Any:
    """Parks because the counterparty closed the period."""

    def make(d: Any, call: int) -> Conclusion:
        text = Text(
            "Bộ đã khóa kỳ dữ liệu 2026–2027; cần đề nghị mở lại.",
            "The Ministry has locked the period 2026–2027; ask to have it opened.",
        )
        task = TaskSpec(connector=core.connectors[name], cause="period_locked", subject="2026-2027", text=text)
        return Conclusion(
            delivery=d,
            target=State.PARKED,
            cause="needs_person",
            outcome="NeedsPerson",
            reason="period_locked: 2026-2027",
            task=task,
            call=call,
        )

    return make
