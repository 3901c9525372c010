"""Where and how the portal tells: made new, the old for a while beside it, ended at will, never what was given away before."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from hub.api.callbacks import callback_secrets
from hub.kernel.ledger import callback_keys
from hub.kernel.ledger.callback_keys import FIRST, Generation
from hub.kernel.ledger.operations import add_connector
from hub.keys import Keys
from tests.scenario.filings.test_doors import event, portal, tell

__all__ = ["portal"]
NAME = "public_service"


def ordered(portal: Any, ledger: Any, work: Any) -> Any:
    async def go() -> Any:
        async with ledger() as led:
            return await work(led)

    return asyncio.run(go())


def make(portal: Any, ledger: Any) -> Generation:
    made: Generation = ordered(portal, ledger, lambda led: callback_keys.make(led.core, "an", NAME, portal.connector))
    return made


def told(portal: Any, generation: Generation, number: str) -> int:
    path, key = callback_secrets(portal.keys, NAME, generation)
    return int(tell(portal, event(number), path=path, key=key).status_code)


def sql(portal: Any, ledger: Any, text: str, *args: Any) -> None:
    ordered(portal, ledger, lambda led: led.owner.execute(text, *args))


def test_the_old_one_opens_for_a_while_beside_the_new_one(portal: Any, ledger: Any) -> None:
    assert told(portal, FIRST, "E-1") == 200
    one = make(portal, ledger)
    assert (told(portal, FIRST, "E-2"), told(portal, one, "E-3")) == (200, 200)
    path, key = callback_secrets(portal.keys, NAME, one)
    assert tell(portal, event("E-4"), path=path).status_code == 401, "each address has its own key"
    assert tell(portal, event("E-4"), key=key).status_code == 401
    # Made again, because nobody had written it down: what the portal uses ends when it was said to, no sooner and no later.
    until = "SELECT until FROM callback_keys WHERE generation = 0"
    before = portal.look(until)[0]["until"]
    two = make(portal, ledger)
    assert portal.look(until)[0]["until"] == before
    assert [told(portal, g, f"E-{n}") for n, g in enumerate((FIRST, one, two), 5)] == [200, 200, 200]
    hours = (
        "SELECT extract(epoch FROM until - clock_timestamp()) / 3600 AS h FROM callback_keys WHERE until IS NOT NULL"
    )
    assert all(23.9 < r["h"] <= 24 for r in portal.look(hours))
    sql(portal, ledger, "UPDATE hub.callback_keys SET until = clock_timestamp() WHERE generation = 0")
    assert [told(portal, g, f"E-{n}") for n, g in enumerate((FIRST, one, two), 8)] == [404, 200, 200]
    ended = ordered(portal, ledger, lambda led: callback_keys.end_old(led.core, "an", NAME, portal.connector))
    assert ended == 1
    assert [told(portal, g, f"E-{n}") for n, g in enumerate((FIRST, one, two), 11)] == [404, 404, 200]
    again = ordered(portal, ledger, lambda led: callback_keys.end_old(led.core, "an", NAME, portal.connector))
    assert again == 0, "the present one is never ended"
    lines = portal.look("SELECT actor, kind, data::text AS d FROM journal WHERE kind LIKE 'callback%' ORDER BY id")
    assert [(r["actor"], r["kind"]) for r in lines] == [("an", "callback_made")] * 2 + [("an", "callback_ended")]
    for generation in (one, two):
        for secret in (*callback_secrets(portal.keys, NAME, generation), generation.salt.hex()):
            assert secret not in str([dict(r) for r in lines]), "the journal holds no secret"


def test_two_at_once_make_two(portal: Any, ledger: Any) -> None:
    async def both(led: Any) -> list[Generation]:
        return list(
            await asyncio.gather(*(callback_keys.make(led.core, "an", NAME, portal.connector) for _ in range(4)))
        )

    made = ordered(portal, ledger, both)
    assert sorted(g.number for g in made) == [1, 2, 3, 4]
    assert portal.look("SELECT count(*) AS n FROM callback_keys WHERE until IS NULL")[0]["n"] == 1
    assert all(told(portal, g, f"E-{g.number}") == 200 for g in made)


def test_a_connector_made_anew_under_a_name_has_nothing_given_away_before(portal: Any, ledger: Any) -> None:
    one = make(portal, ledger)
    ordered(portal, ledger, lambda led: callback_keys.end_old(led.core, "an", NAME, portal.connector))

    async def anew(led: Any) -> None:
        row = await led.owner.fetchrow("SELECT settings FROM hub.connectors WHERE name = $1", NAME)
        await led.owner.execute(
            "DELETE FROM hub.connector_revisions; DELETE FROM hub.quotas; DELETE FROM hub.recoveries; DELETE FROM hub.connectors"
        )
        settings = row["settings"] if isinstance(row["settings"], dict) else orjson.loads(row["settings"])
        number = await add_connector(led.core, portal.keys, "an", NAME, NAME, settings, {"password": "x"})
        assert number is not None and number != portal.connector
        portal.connector = number

    ordered(portal, ledger, anew)
    assert told(portal, FIRST, "E-1") == 404
    two = make(portal, ledger)
    ordered(portal, ledger, lambda led: callback_keys.end_old(led.core, "an", NAME, portal.connector))
    assert (told(portal, one, "E-2"), told(portal, two, "E-3")) == (404, 200)


def test_no_two_generations_share_anything() -> None:
    keys = Keys(bytes(range(32)))
    made = [FIRST, *(Generation(number=n, salt=salt) for n in (1, 11) for salt in (b"", b"1", b"a" * 16))]
    found = [s for g in made for name in ("a", "a-1") for s in callback_secrets(keys, name, g)]
    assert len(set(found)) == len(found)
    assert callback_secrets(keys, "a") == (keys.hmac("callback-path/a", 20).hex(), keys.hmac("callback-key/a").hex())


def test_what_no_connector_can_be_called_is_no_address(portal: Any) -> None:
    with portal.client() as client:
        for name in ("A", "%00", "a%20b", "x" * 64, "%E1%BA%BF", "nobody"):
            assert client.post(f"/v1/callbacks/{name}/{'0' * 40}", content=b"{}").status_code == 404, name
