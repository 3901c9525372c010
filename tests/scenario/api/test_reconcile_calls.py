"""Rosters shown by schools, and reconciliations steered by the control API, over HTTP."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.api.control import control_token
from hub.kernel.ledger import recovery
from hub.keys import Keys

S1, S2 = "31HP0000001", "31HP0000002"


def _lines(*items: Any) -> bytes:
    return b"\n".join(i if isinstance(i, bytes) else json.dumps(i).encode() for i in items)


def test_a_roster_is_compared_and_only_hashes_stay(gateway: Any, ledger: Any, make_learner: Any) -> None:
    kind = {"Content-Type": "application/x-ndjson"}
    one, two, three = (make_learner(f"310000000{n}", S1) for n in range(3))
    with gateway.client("key-of-school-1") as own:
        for item in (one, two):
            assert own.post("/v1/messages/learner", json=item).status_code == 202

        async def worked() -> None:
            async with ledger() as led:
                for _ in range(100):
                    if await led.value("SELECT count(*) FROM streams") == 2:
                        return
                    await asyncio.sleep(0.1)

        asyncio.run(worked())
        told = own.post("/v1/rosters/learner", content=_lines(one, two), headers=kind)
        assert told.status_code == 200, told.text
        assert told.json()["rosters"] == [
            {"school": S1, "count": 2, "missing_here": 0, "missing_there": 0, "differs": 0, "items": []}
        ]
        changed = json.loads(json.dumps(one))
        changed["data"]["full_name"] = "Trần Thị Khác"
        told = own.post("/v1/rosters/learner", content=_lines(changed, three), headers=kind).json()["rosters"][0]
        assert {i["key"]: i["kind"] for i in told["items"]} == {
            "3100000000": "differs", "3100000001": "missing_there", "3100000002": "missing_here",
        }  # fmt: skip
        bad = own.post("/v1/rosters/learner", content=_lines(one, b"{", make_learner("3100000009", S2)), headers=kind)
        assert (bad.status_code, bad.json()["rejected"], bad.json()["kept"]) == (422, 2, False)
        assert bad.json()["rejects"][0]["pointer"] == "/1"
        assert own.post("/v1/rosters/checkin", content=b"", headers=kind).status_code == 404

    async def kept() -> None:
        async with ledger() as led:
            assert await led.value("SELECT count(*) FROM streams") == 2
            assert await led.value("SELECT count(*) FROM roster_rows") == 2  # the refused list changed nothing
            assert "Khác" not in str([dict(r) for r in await led.rows("SELECT * FROM roster_rows")])

    asyncio.run(kept())


def test_the_control_calls_refuse_what_cannot_be(gateway: Any, tmp_path: Any) -> None:
    token = control_token(Keys.open(tmp_path / "keys" / "master.key", tmp_path / "data"))
    with gateway.client(Authorization=f"Bearer {token}") as schedule:
        order = {"key": "run-1", "connector": "ministry", "type": "learner"}
        first = schedule.post("/control/v1/reconciliations", json=order)
        assert first.status_code == 200, first.text
        run = first.json()
        assert schedule.post("/control/v1/reconciliations", json=order).json()["id"] == run["id"]
        assert "ours_after" not in run and run["state"] == "gathering"
        shown = schedule.get(f"/control/v1/reconciliations/{run['id']}").json()
        assert shown["result"]["plan"] == 0
        assert (
            schedule.post("/control/v1/reconciliations", json=order | {"key": "x", "type": "checkin"}).status_code
            == 422
        )
        assert (
            schedule.post("/control/v1/reconciliations", json=order | {"key": "y", "connector": "?"}).status_code == 404
        )
        assert schedule.get("/control/v1/reconciliations/999").status_code == 404
    with gateway.client() as nobody:
        assert nobody.get("/control/v1/reconciliations/wanted").status_code == 401


def test_a_recovery_tells_when_the_counterparty_opens(gateway: Any, ledger: Any, tmp_path: Any) -> None:
    async def closed(until: datetime) -> None:
        async with ledger() as led:
            await recovery.open_recovery(led.core, "ministry", "thử")
            window = {"starts": "2026-01-01T00:00:00+07:00", "ends": until.isoformat()}
            settings = {"policy": {"calendar": {"maintenance": [window]}}}
            await led.owner.execute("UPDATE connectors SET settings = $1 WHERE name = 'ministry'", settings)

    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    asyncio.run(closed(until))
    token = control_token(Keys.open(tmp_path / "keys" / "master.key", tmp_path / "data"))
    with gateway.client(Authorization=f"Bearer {token}") as schedule:
        (row,) = schedule.get("/control/v1/recoveries?open=true").json()["items"]
        assert row["open"] is False and datetime.fromisoformat(row["opens_at"]) == until
        one = schedule.get("/control/v1/recoveries/ministry").json()["recovery"]
        assert (one["open"], one["opens_at"]) == (False, row["opens_at"])
        asyncio.run(closed(datetime.now(UTC) - timedelta(hours=1)))
        one = schedule.get("/control/v1/recoveries/ministry").json()["recovery"]
        assert (one["open"], one["opens_at"]) == (True, None)
