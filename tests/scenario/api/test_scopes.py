"""Scopes, generated: every endpoint that takes or shows a school's facts is tried by another school."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.routing import APIRoute

from hub.api import auth, control, intake, receipts, workbooks

S1, S2 = "31HP0000001", "31HP0000002"

KNOWN = {
    ("POST", "/v1/messages/{record_type}"): "written here: a foreign school's record is rejected, one's own taken",
    ("GET", "/v1/receipts/{code}"): "written here: a foreign receipt does not exist",
    ("GET", "/v1/receipts/{code}/errors.xlsx"): "test_workbooks: a foreign receipt does not exist",
    ("GET", "/v1/templates/{record_type}.xlsx"): "shows nothing of a school",
    ("POST", "/oauth/token"): "shows nothing of a school",
}


def routes() -> list[tuple[str, str]]:
    found = []
    for router in (intake.router, receipts.router, workbooks.router, auth.router):
        for route in router.routes:
            assert isinstance(route, APIRoute)
            found += [(method, route.path) for method in route.methods]
    return found


def test_every_endpoint_for_machines_has_its_two_school_test() -> None:
    assert set(routes()) == set(KNOWN), "a new endpoint needs a two-school test here"


def test_the_control_api_is_closed_to_schools(gateway: Any) -> None:
    with gateway.client("key-of-school-1") as c:
        for route in control.router.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods:
                path = route.path.replace("{connector}", "ministry")
                assert c.request(method, path, json={}).status_code == 401, (method, path)


@pytest.mark.parametrize("bulk", [False, True])
def test_nobody_writes_for_another_school(gateway: Any, make_learner: Any, bulk: bool) -> None:
    item = make_learner("XX1", S2)
    with gateway.client("key-of-school-1") as c:
        reply = c.post("/v1/messages/learner", json=[item] if bulk else item)
        errors = reply.json()["rejects"] if bulk else reply.json()["errors"]
        assert [e["code"] for e in errors] == ["outside_scope"]
    with gateway.client("key-of-school-2") as c:
        assert c.post("/v1/messages/learner", json=item).status_code == 202


def test_nobody_reads_another_schools_receipt(gateway: Any, make_learner: Any) -> None:
    with gateway.client("key-of-school-1") as c:
        single = c.post("/v1/messages/learner", json=make_learner("YY1")).json()["receipt"]
        bulk = c.post("/v1/messages/learner", json=[make_learner("YY2"), make_learner("YY3")]).json()["receipt"]
    for name, expected in (("school-1", 200), ("department", 200), ("ward-1", 200), ("school-2", 404)):
        with gateway.client(f"key-of-{name}") as c:
            assert c.get(f"/v1/receipts/{single}").status_code == expected, name
            assert c.get(f"/v1/receipts/{bulk}").status_code == expected, name
    with gateway.client("key-of-school-1") as c:
        assert c.get("/v1/receipts/ABCD-EFGH-JKMN-PQRS").status_code == 404


def test_a_ward_writes_for_its_schools_only(gateway: Any, make_learner: Any) -> None:
    with gateway.client("key-of-ward-1") as c:
        reply = c.post("/v1/messages/learner", json=[make_learner("WW1", S1), make_learner("WW2", S2)])
        assert (reply.json()["records"], [e["code"] for e in reply.json()["rejects"]]) == (1, ["outside_scope"])


def test_a_client_without_the_right_pushes_nothing(gateway: Any, make_learner: Any, ledger: Any) -> None:
    import asyncio

    from hub.api.auth import secret_digest
    from hub.kernel.access import Scope
    from hub.kernel.ledger import parties

    async def register() -> None:
        async with ledger() as led:
            await parties.add_client(
                led.core,
                "test",
                "narrow",
                "narrow",
                secret_digest(gateway.keys, "s"),
                secret_digest(gateway.keys, "narrow-key"),
                Scope("school", S1),
                ["push:staff"],
            )

    asyncio.run(register())
    with gateway.client("narrow-key") as c:
        reply = c.post("/v1/messages/learner", json=make_learner("ZZ1"))
        assert (reply.status_code, reply.json()["code"]) == (403, "missing_right")
