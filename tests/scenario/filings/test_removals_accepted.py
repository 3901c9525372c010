"""A list that lost too much is taken at its word by a person alone, who says how they know: over the control API, to the portal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.public_service.simulator import PASSWORD, USERNAME
from adapters.public_service.simulator import Simulator as Portal
from hub.api.control import control_token
from hub.kernel.firewall_names import NO_REASON
from hub.kernel.ledger.operations import add_connector

WHY = "Bộ đã bãi bỏ các thủ tục này, theo công văn đến hôm nay"


@pytest.fixture
def in_house(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal of the test has an address in the house, and the gateway may call it."""
    monkeypatch.setenv("LT_OUTWARD__ALLOW_PRIVATE", '["127.0.0.0/8"]')


def test_what_is_gone_from_a_list_is_withdrawn_for_a_reason_alone(in_house: None, gateway: Any, ledger: Any) -> None:
    async def go() -> None:
        twin = Portal()
        base = await twin.start()
        auth = {
            "scheme": "portal_session",
            "login_url": f"{base}/mapi/login",
            "username": USERNAME,
            "dstcode": "VN:GOV:G22:portal",
        }
        settings = {
            "name": "public_service", "system": "public_service", "transport": {"kind": "rest", "base_url": base}, "auth": auth,
            "adapter": {"agency": "000.00.12.H24"},
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {control_token(gateway.keys)}"}
        url = "/control/v1/connectors/public_service/pull/procedures"

        async def pull(key: str, **more: Any) -> Any:
            with gateway.client() as client:
                return await asyncio.to_thread(client.post, url, json={"key": key, **more}, headers=headers)

        async with ledger() as led:

            async def withdrawn() -> Any:
                return await led.value("SELECT count(*) FROM streams WHERE event = 'CANCEL'")

            await add_connector(
                led.core, gateway.keys, "test", "public_service", "public_service", settings, {"password": PASSWORD}
            )
            twin.lists["procedures"] = [
                {"MATTHC": f"1.{n:06}", "TENTTHC": f"Thủ tục {n}", "MALINHVUC": "GDTrH", "THOIHANGIAIQUYET": "5"}
                for n in range(30)
            ]
            first = (await pull("a")).json()
            assert first["done"] and first["records"] == 30, first
            twin.lists["procedures"] = []
            shrunk = (await pull("b")).json()
            assert not shrunk["done"] and "30/30" in shrunk["fault"]["en"] and await withdrawn() == 0
            asked = twin.requests
            for why in ({}, {"why": "biết rõ"}, {"why": "Chị Hà nói vậy, hỏi lại số 0912 345 678"}):
                refused = await pull("c", accept_removals=True, **why)
                assert refused.status_code == 422, (why, refused.text)
                told = refused.json()
                assert told["code"] == "no_reason", told
                assert NO_REASON.vi in refused.text and NO_REASON.en in refused.text, told
            assert twin.requests == asked and await withdrawn() == 0, "nothing is asked, nothing is done"
            assert await led.value("SELECT count(*) FROM journal WHERE kind = 'pull'") == 0
            done = (await pull("c", accept_removals=True, why=WHY)).json()
            assert done["done"] and done["changes"] == 30 and await withdrawn() == 30
            (line,) = await led.rows("SELECT actor, data FROM journal WHERE kind = 'pull'")
            assert (
                line["actor"] == "control" and line["data"]["accepted_removals"] is True and line["data"]["why"] == WHY
            )
        await twin.stop()

    asyncio.run(go())
