"""A list that lost too much is taken at its word by a person alone, who says how they know: over the control API, to the portal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters import manifest as manifests
from adapters.public_service.simulator import PASSWORD, USERNAME
from adapters.public_service.simulator import Simulator as Portal
from hub.api.control import control_token
from hub.kernel.firewall_names import NO_REASON
from hub.kernel.ledger import pulls
from hub.kernel.ledger.operations import add_connector
from tests.scenario.console.test_beside import console
from tests.scenario.filings.test_pulls import procedures

WHY = "Bộ đã bãi bỏ các thủ tục này, theo công văn đến hôm nay"


@pytest.fixture
def in_house(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal of the test has an address in the house, and the gateway may call it."""
    monkeypatch.setenv("LT_OUTWARD__ALLOW_PRIVATE", '["127.0.0.0/8"]')


async def _stand(led: Any, base: str, keys: Any = None) -> None:
    """The portal's connector, its secret sealed with `keys`: the ledger's own by default."""
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
    secrets = {"password": PASSWORD}
    await add_connector(led.core, keys or led.keys, "test", "public_service", "public_service", settings, secrets)


def test_what_is_gone_from_a_list_is_withdrawn_for_a_reason_alone(in_house: None, gateway: Any, ledger: Any) -> None:
    async def go() -> None:
        twin = Portal()
        base = await twin.start()
        headers = {"Authorization": f"Bearer {control_token(gateway.keys)}"}
        url = "/control/v1/connectors/public_service/pull/"

        async def pull(key: str, what: str = "procedures", **more: Any) -> Any:
            with gateway.client() as client:
                return await asyncio.to_thread(client.post, url + what, json={"key": key, **more}, headers=headers)

        async with ledger() as led:

            async def withdrawn() -> Any:
                return await led.value("SELECT count(*) FROM streams WHERE event = 'CANCEL'")

            await _stand(led, base, gateway.keys)
            twin.lists["procedures"] = procedures(30)
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
            again = (await pull("c", accept_removals=True, why=WHY)).json()
            assert again["done"] and again["changes"] == 30, "the key is done"
            unneeded = (await pull("d", accept_removals=True, why=WHY)).json()
            assert unneeded["done"] and unneeded["changes"] == 0
            which = await led.value("SELECT id FROM connectors WHERE name = 'public_service'")
            held = await pulls.begin(led.core, which, "procedures", "e", "another", 60.0)
            assert (await pull("f", accept_removals=True, why=WHY)).status_code == 409 and not held.done
            assert (await pull("f", accept_removals=True, why=WHY, what="nothing")).status_code == 404
            assert await led.value("SELECT count(*) FROM journal WHERE kind = 'pull'") == 1, (
                "a reason stands for what it let go"
            )
            (line,) = await led.rows("SELECT actor, data FROM journal WHERE kind = 'pull'")
            assert line["actor"] == "control" and line["data"] == {
                "what": "procedures", "run": done["run"], "accepted_removals": True, "missing": 30, "held": 30, "why": WHY
            }  # fmt: skip
            taken = [answer["removals_accepted"] for answer in (first, done, again, unneeded)]
            assert taken == [False, True, False, False]
        await twin.stop()

    asyncio.run(go())


def test_who_accepts_on_the_page_and_why_stands_with_what_is_withdrawn(
    in_house: None, ledger: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(at: str) -> Callable[[str], None]:
        def reach(name: str) -> None:
            if name == at:
                raise RuntimeError(at)

        return reach

    async def go() -> None:
        twin = Portal()
        async with ledger() as led, console(led, tmp_path, None, manifests=manifests.load_all()) as client:
            await _stand(led, await twin.start())
            form = {"csrf": await led.value("SELECT csrf FROM sessions")}
            there = "/filings/portal/pull/public_service/procedures"
            lines = "SELECT actor, data FROM journal WHERE kind = 'pull' ORDER BY id"
            withdrawn = "SELECT count(*) FROM streams WHERE event = 'CANCEL'"

            async def order() -> int:
                await asyncio.sleep(1.05)  # two orders within a second are one
                return (await client.post(there, data=form)).status_code

            twin.lists["procedures"] = procedures(30)
            assert await order() == 303
            (plain,) = await led.rows(lines)
            assert plain["data"]["run"] == 1 and "why" not in plain["data"]
            twin.lists["procedures"] = []
            form |= {"accept": "yes", "why": WHY}
            for at, gone, told in (("pull.inside", 0, 0), ("pull.after", 30, 1)):
                monkeypatch.setattr(pulls, "reach", broken_off(at))
                assert await order() == 500
                _, *found = await led.rows(lines)
                assert await led.value(withdrawn) == gone and len(found) == told, (
                    "the line and what it let go, or neither"
                )
            assert (
                found[0]["actor"] == "an"
                and found[0]["data"]["why"] == WHY
                and found[0]["data"]["accepted_removals"] is True
            )
            monkeypatch.undo()
            monkeypatch.setenv("LT_OUTWARD__ALLOW_PRIVATE", '["127.0.0.0/8"]')
            twin.lists["procedures"] = procedures(30)
            assert await order() == 303
            twin.lists["procedures"] = []
            assert await order() == 303
            assert await led.value(withdrawn) == 30
            found = [r["data"].get("why") for r in await led.rows(lines)]
            assert found == [None, WHY, None, WHY], "one line each, its reason only where it let something go"
        await twin.stop()

    asyncio.run(go())
