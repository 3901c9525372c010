"""The control API on a real ledger: the token, the problems, a recovery from beginning to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from hub.api import problems
from hub.api.context import Probe
from hub.api.control import control_token, router
from hub.kernel.ledger import recovery
from hub.kernel.ports import Text
from hub.keys import Keys

KEYS = Keys(bytes(range(32)))
OWNER = "airflow:run-1"


def go(bench: Any, use: Callable[[Any, httpx.AsyncClient], Awaitable[None]], token: str | None = None) -> None:
    async def run() -> None:
        async with bench() as b:
            app = FastAPI()
            problems.install(app)
            app.include_router(router)

            async def probe(name: str) -> Probe:
                return Probe(ok=name == "portal", ms=1.5, detail=Text("tốt", "fine"))

            app.state.hub = SimpleNamespace(
                core=b.core, keys=KEYS, probe=probe, settings=SimpleNamespace(retention=SimpleNamespace(ahead_days=14))
            )
            headers = {"Authorization": f"Bearer {control_token(KEYS) if token is None else token}"}
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://hub/control/v1", headers=headers
            ) as client:
                await use(b, client)

    asyncio.run(run())


@pytest.mark.parametrize("token", ["", "wrong", "thừa"])
def test_every_endpoint_needs_the_token(bench: Any, token: str) -> None:
    async def use(b: Any, client: httpx.AsyncClient) -> None:
        await recovery.open_recovery(b.core, "portal", "x")
        del client.headers["Authorization"]
        bearer = [(b"authorization", f"Bearer {token}".encode())]
        seen = 0
        for route in router.routes:
            for method in route.methods:  # type: ignore[attr-defined]
                path = route.path.removeprefix("/control/v1").replace("{connector}", "portal")  # type: ignore[attr-defined]
                reply = await client.request(method, path, json={}, headers=bearer)
                assert reply.status_code == 401, (method, path)
                assert reply.headers["content-type"] == "application/problem+json"
                assert reply.headers["www-authenticate"] == "Bearer"
                assert all(reply.json()["texts"].values())
                seen += 1
        assert seen == 10

    go(bench, use)


def test_a_recovery_over_http(bench: Any) -> None:
    async def use(b: Any, client: httpx.AsyncClient) -> None:
        await b.wait(5)
        await recovery.open_recovery(b.core, "portal", "HTTP 503")
        (row,) = (await client.get("/recoveries", params={"open": "true"})).json()["items"]
        assert (row["connector"], row["epoch"], row["state"], row["owner"]) == ("portal", 1, "open", None)
        assert (await client.post("/recoveries/portal/probe", json={})).json()["ok"] is True
        held = {"epoch": 1, "owner": OWNER}
        led = (await client.post("/recoveries/portal/lead", json=held)).json()
        assert led["step"] == 0
        body = held | {"step": 1, "count": 2, "waiting_since_before": led["now"]}
        first = (await client.post("/recoveries/portal/release", json=body)).json()
        assert first["count"] == 2 and len(first["deliveries"]) == 2
        assert (await client.post("/recoveries/portal/release", json=body)).json()["repeated"] is True
        query = {"epoch": 1, "since": first["at"], "canary": first["deliveries"][0], "delivered": "true"}
        seen = (await client.get("/recoveries/portal", params=query)).json()
        assert seen["progress"]["queued"] == 2 and seen["progress"]["canary"] == "ready"
        assert seen["progress"]["delivered_since_open"] == 0 and seen["recovery"]["owner"] == OWNER
        await client.post("/recoveries/portal/release", json=body | {"step": 2, "count": 100})
        assert (await client.post("/recoveries/portal/finish", json=held)).json()["done"] is False
        await b.work(up=True)
        assert (await client.post("/recoveries/portal/finish", json=held)).json() == {"done": True, "reason": None}
        assert (await client.post("/recoveries/portal/finish", json=held)).json()["done"] is True
        assert (await client.get("/recoveries", params={"open": "true"})).json() == {"items": []}

    go(bench, use)


def test_conflicts_are_problems_in_both_languages(bench: Any) -> None:
    async def use(b: Any, client: httpx.AsyncClient) -> None:
        await recovery.open_recovery(b.core, "portal", "x")
        held = {"epoch": 1, "owner": OWNER}
        await client.post("/recoveries/portal/lead", json=held)
        for path, body, status, code in (
            ("/recoveries/portal/lead", held | {"epoch": 9}, 409, "stale_epoch"),
            ("/recoveries/portal/lead", held | {"owner": "airflow:other"}, 409, "not_leader"),
            ("/recoveries/portal/release", held | {"step": 7, "count": 1}, 409, "out_of_step"),
            (
                "/recoveries/portal/release",
                {"epoch": 1, "owner": "airflow:other", "step": 1, "count": 1},
                409,
                "not_leader",
            ),
            ("/recoveries/nowhere/lead", held, 404, "unknown_connector"),
            ("/recoveries/nowhere/probe", {}, 404, "unknown_connector"),
        ):
            reply = await client.post(path, json=body)
            found = reply.json()
            assert (reply.status_code, found["code"], found["status"]) == (status, code, status), (path, found)
            assert found["title"] and found["detail"] and all(found["texts"].values())
        for bad in (
            held | {"owner": "ticker:pretender"},
            held | {"epoch": 0},
            held | {"lease_s": 1e9},
            {"owner": OWNER},
            held | {"extra": 1},
        ):
            assert (await client.post("/recoveries/portal/lead", json=bad)).status_code == 422, bad
        assert (await client.post("/recoveries/portal/hand-over", json=held)).json() == {"handed_over": True}
        assert (await client.post("/recoveries/portal/hand-over", json=held)).json() == {"handed_over": False}

    go(bench, use)


def test_nightly_calls(bench: Any) -> None:
    async def use(b: Any, client: httpx.AsyncClient) -> None:
        found = (await client.post("/maintenance/partitions", json={})).json()
        assert found == {"made": 0, "stray": 0}
        assert (await client.post("/seals/verify", json={"days": 2})).json() == {"broken": []}
        assert (await client.post("/seals/verify", json={"days": 0})).status_code == 422
        found = (await client.post("/reconcile", json={})).json()
        assert found["balanced"] is True and found["differences"] == {} and "by_state" in found["account"]

    go(bench, use)
