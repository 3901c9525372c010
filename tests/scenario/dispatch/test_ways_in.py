"""The national systems by their other ways in: X-Road SOAP and REST, the deployed forwarder, the LGSP's header and its token.
From the school's push to the twin's books, through the dispatcher and what stands between (`between`)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from adapters.ministry.simulator import TOKEN
from adapters.ministry.simulator import Simulator as Ministry
from adapters.population import door
from adapters.population import simulator as population_twin
from adapters.population.people import Person
from adapters.public_service.simulator import PASSWORD, USERNAME
from adapters.public_service.simulator import Simulator as Portal
from hub.kernel.ledger import operations
from tests.scenario.dispatch.between import Between, Forwarder, Gateway, Road, SecurityServer, standing

ADAPTER = {"MaDVC": "DVC1", "MaCanBo": "CB1"}
PERSON = Person(number="031214000001", name="Nguyễn Văn Mẫu", birth="20140305", sex="1")
CLIENT = {"member_class": "GOV", "member_code": "000.00.00.H24", "subsystem": "so-gddt"}
SERVICE = {
    "member_class": "GOV", "member_code": "000.00.00.G01", "subsystem": "dancu", "service": "TraCuuThongTinCongDan",
}  # fmt: skip


async def _population(s: Any, **options: Any) -> tuple[Any, str]:
    twin = population_twin.Simulator(people=[PERSON], **options)
    s.twins["population"] = twin
    return twin, await twin.start()


async def _verified(s: Any, items: Any, twin: Any) -> None:
    await s.work()
    await s.push("learner", items.learner(full_name=PERSON.name, personal_number=PERSON.number))
    await s.settled(delivered=1)
    told = twin.summary()
    assert (told["effects"], told["numbers"], told["refusals"]) == (1, 1, {}), told
    async with s.core.pool.acquire() as connection:
        check = await connection.fetchval("SELECT body FROM records WHERE type = 'population_check'")
    assert check["verdict"] == "match"


def test_a_look_up_through_x_road(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _population(s, way_in="xroad")
            server = SecurityServer(url)
            async with standing(server) as at:
                transport = {"kind": "xroad_soap", "base_url": at, "client": CLIENT, "service": SERVICE}
                await s.connect("population", transport, {"scheme": "none"}, {}, ADAPTER, None)
                await _verified(s, items, twin)
                assert server.refused == [] and len(server.seen) == 1
                await s.rest()

    asyncio.run(work())


def test_a_look_up_with_the_lgsps_header(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _population(s, way_in="lgsp")
            auth = {
                "scheme": "lgsp_header", "access_key": door.LGSP["AccessKey"], "app_name": door.LGSP["AppName"],
                "partner_code": door.LGSP["PartnerCode"], "partner_code_cus": door.LGSP["PartnerCodeCus"],
            }  # fmt: skip
            transport = {"kind": "soap", "base_url": url}
            secrets = {"secret_key": door.LGSP["SecretKey"]}
            await s.connect("population", transport, auth, secrets, ADAPTER, None)
            await _verified(s, items, twin)

    asyncio.run(work())


def test_a_wrong_lgsp_key_pauses_the_connector_and_asks_nothing(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _population(s, way_in="lgsp")
            auth = {
                "scheme": "lgsp_header", "access_key": "sim", "app_name": "lien-thong", "partner_code": "H24",
            }  # fmt: skip
            await s.connect("population", {"kind": "soap", "base_url": url}, auth, {"secret_key": "x"}, ADAPTER, None)
            await s.work()
            await s.push("learner", items.learner(full_name=PERSON.name, personal_number=PERSON.number))

            async def paused() -> bool:
                async with s.core.pool.acquire() as connection:
                    return bool(
                        await connection.fetchval("SELECT state = 'paused' FROM connectors WHERE name = 'population'")
                    )

            await s.until(paused)
            assert twin.summary()["effects"] == 0

    asyncio.run(work())


PORTAL = {"member_class": "GOV", "member_code": "000.00.00.G22", "subsystem": "vpcp", "service": "dvcqg"}
LOGIN = {"scheme": "portal_session", "login_url": "/mapi/login", "username": USERNAME}
AGENCY = {"agency": "000.00.12.H24"}


async def _filed(s: Any, items: Any, twin: Portal) -> None:
    await s.work()
    await s.push("filing", items.filing())
    await s.settled(delivered=1)
    told = twin.summary()
    assert (told["effects"], told["doubles"], told["logins"], told["refusals"]) == (1, [], 1, {}), told


async def _portal(s: Any, **options: Any) -> tuple[Portal, str]:
    twin = Portal(**options)
    s.twins["public_service"] = twin
    return twin, await twin.start()


async def _paused(s: Any, name: str, cause: str) -> None:
    """Until the connector is paused for `cause`, with one task that says so; then nothing is tried any more."""

    async def paused() -> bool:
        return bool(await s.led.value("SELECT state = 'paused' FROM connectors WHERE name = $1", name))

    await s.until(paused)
    assert await s.led.value("SELECT pause_cause FROM connectors WHERE name = $1", name) == cause
    assert [r["cause"] for r in await s.led.rows("SELECT cause FROM tasks WHERE state = 'open'")] == [cause]


@pytest.mark.parametrize("whole", [False, True])
def test_a_filing_through_a_security_servers_rest(stage: Any, items: Any, whole: bool) -> None:
    """The log-in too goes through the security server: the portal cannot be reached around it. Its address is a path under the
    connector's own, or written out, then also under another service of the portal."""

    async def work() -> None:
        async with stage() as s:
            twin, url = await _portal(s)
            road = Road(url)
            async with standing(road) as at:
                transport = {"kind": "xroad_rest", "base_url": at, "client": CLIENT, "service": PORTAL}
                own = f"{at}/r1/VN/GOV/000.00.00.G22/vpcp/dang-nhap/mapi/login"
                auth = LOGIN | ({"login_url": own} if whole else {})
                await s.connect("public_service", transport, auth, {"password": PASSWORD}, AGENCY, None)
                await _filed(s, items, twin)
                assert road.refused == [] and road.seen == ["/mapi/login", "/mapi/g"]
                assert {h["x-road-client"] for h in road.headers} == {"VN/GOV/000.00.00.H24/so-gddt"}
                assert len({i for i, _ in road.delivered}) == 2, "each has an id of its own"
                await s.rest()

    asyncio.run(work())


def test_a_session_that_ends_is_renewed_through_the_security_server(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _portal(s)
            road = Road(url)
            async with standing(road) as at:
                transport = {"kind": "xroad_rest", "base_url": at, "client": CLIENT, "service": PORTAL}
                await s.connect("public_service", transport, LOGIN, {"password": PASSWORD}, AGENCY, None)
                await _filed(s, items, twin)
                twin.end_sessions()
                await s.push("filing", items.filing("000.00.12.H24-261122-0002"))
                await s.settled(delivered=2)
                assert twin.logins == 2 and road.seen[2:] == ["/mapi/g", "/mapi/login", "/mapi/g"]
                await s.rest()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("fault", "cause"), [("client", "exchange_refused"), ("denied", "service_refused"), ("beside", "exchange_refused")]
)
def test_a_log_in_the_exchange_refuses_for_good_is_a_task_and_no_endless_trying(
    stage: Any, items: Any, fault: str, cause: str
) -> None:
    """`beside`: the address is the security server's and none of a service, so it goes there without X-Road's headers."""

    async def work() -> None:
        async with stage() as s:
            twin, url = await _portal(s)
            road = Road(url)
            async with standing(road) as at:
                auth = LOGIN
                if fault == "beside":
                    auth = LOGIN | {"login_url": f"{at}/r1?dich-vu=dang-nhap"}
                else:
                    road.fault = fault
                transport = {"kind": "xroad_rest", "base_url": at, "client": CLIENT, "service": PORTAL}
                await s.connect("public_service", transport, auth, {"password": PASSWORD}, AGENCY, None)
                await s.work()
                await s.push("filing", items.filing())
                await _paused(s, "public_service", cause)
                tries = len(road.refused)
                await asyncio.sleep(1.0)
                assert len(road.refused) == tries <= 4 and twin.requests == 0
                assert await s.states() == {"ready": 1}, "the filing waits for the person, and has lost nothing"
                road.fault = None
                if fault != "beside":
                    await s.house.refresh()
                    await operations.resume(s.core, "test", "public_service")
                    await s.settled(delivered=1)
                    assert twin.summary()["effects"] == 1
                await s.rest()

    asyncio.run(work())


@pytest.mark.parametrize("status", [400, 404, 302])
def test_a_log_in_refused_by_its_address_is_a_task_too(stage: Any, items: Any, status: int) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _portal(s)
            asked: list[str] = []

            class Front(Between):
                async def serve(self, request: web.Request) -> web.Response:
                    asked.append(request.path)
                    return web.Response(status=status, text="{}")

            async with standing(Front(url)) as at:
                auth = LOGIN | {"login_url": f"{at}/khac/login"}
                transport = {"kind": "rest", "base_url": url}
                await s.connect("public_service", transport, auth, {"password": PASSWORD}, AGENCY, None)
                await s.work()
                await s.push("filing", items.filing())
                await _paused(s, "public_service", "login_refused")
                tries = len(asked)
                await asyncio.sleep(0.6)
                assert len(asked) == tries <= 4 and twin.requests == 0
                await s.rest()

    asyncio.run(work())


def test_a_filing_through_the_forwarder(stage: Any, items: Any) -> None:
    """Log-in and filing go the same way: forwarder, destination code, provider's address."""

    async def work() -> None:
        async with stage() as s:
            twin, url = await _portal(s)
            forwarder = Forwarder(url)
            async with standing(forwarder) as at:
                transport = {
                    "kind": "xrd_forward", "base_url": at, "dstcode": "VN:GOV:G22:portal", "provider_url": url,
                }  # fmt: skip
                await s.connect("public_service", transport, LOGIN, {"password": PASSWORD}, AGENCY, None)
                await _filed(s, items, twin)
                assert forwarder.refused == []
                start = "/XrdAdapter/RestService/forward"
                assert [r.path.removeprefix(start) for r in forwarder.seen] == ["/mapi/login", "/mapi/g"]
                await s.rest()

    asyncio.run(work())


LGSP = {
    "client_id": "so-gddt", "header": "X-LGSP-Token", "written": "bare", "extra_headers": {"X-Partner-Code": "000.00.00.H24"},
}  # fmt: skip


async def _ministry(s: Any, **options: Any) -> tuple[Ministry, str]:
    twin = Ministry(**options)
    s.twins["ministry"] = twin
    return twin, await twin.start()


def test_learners_through_an_lgsps_token(stage: Any, items: Any) -> None:
    """The token from the gateway's own address, in the gateway's own header; when it ends it is renewed and nothing is sent twice."""

    async def work() -> None:
        async with stage() as s:
            twin, url = await _ministry(s)
            gateway = Gateway(url, {"Authorization": f"Bearer {TOKEN}"})
            async with standing(gateway) as at:
                auth = {"scheme": "lgsp_token", "token_url": f"{at}/token", **LGSP}
                transport = {"kind": "rest", "base_url": f"{at}/csdlnganh/1.0"}
                source = {"source": "000.00.12.H24"}
                await s.connect("ministry", transport, auth, {"client_secret": "bi-mat-truc"}, source, None)
                await s.work()
                await s.push("learner", *(items.learner(f"31{n:08d}") for n in range(3)))
                await s.settled(delivered=3)
                assert (len(gateway.tokens), gateway.refused) == (1, [])
                assert all("Authorization" not in r.headers for r in gateway.seen)
                gateway.good = 1
                await s.push("learner", items.learner("3100000009"))
                await s.settled(delivered=4)
                assert (len(gateway.tokens), len(gateway.refused)) == (2, 1)
                told = twin.summary()
                assert (told["effects"], told["doubles"], told["refusals"]) == (4, [], {}), told
                await s.rest()

    asyncio.run(work())


def test_a_filing_through_an_lgsp_with_the_portals_session_inside(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _portal(s)
            gateway = Gateway(url, {})
            async with standing(gateway) as at:
                auth = LOGIN | {"gateway": {"token_url": f"{at}/token", **LGSP}}
                secrets = {"password": PASSWORD, "gateway_secret": "bi-mat-truc"}
                await s.connect("public_service", {"kind": "rest", "base_url": at}, auth, secrets, AGENCY, None)
                await _filed(s, items, twin)
                assert (len(gateway.tokens), gateway.refused) == (1, [])
                assert [r.path for r in gateway.seen] == ["/mapi/login", "/mapi/g"]
                await s.rest()

    asyncio.run(work())


def test_learners_through_a_security_servers_rest(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _ministry(s)
            road = Road(url)
            async with standing(road) as at:
                service = {
                    "member_class": "GOV",
                    "member_code": "000.00.00.G04",
                    "subsystem": "csdlnganh",
                    "service": "v1",
                }
                transport = {"kind": "xroad_rest", "base_url": at, "client": CLIENT, "service": service}
                source = {"source": "000.00.12.H24"}
                await s.connect("ministry", transport, {"scheme": "bearer"}, {"token": TOKEN}, source, None)
                await s.work()
                await s.push("learner", items.learner("3100000001"))
                await s.settled(delivered=1)
                assert road.seen == ["/api/v1/hocsinh/batch"]
                told = twin.summary()
                assert (told["effects"], told["doubles"], told["refusals"]) == (1, [], {}), told
                await s.rest()

    asyncio.run(work())


def test_an_inquiry_that_is_refused_for_good_is_a_task_too(stage: Any, items: Any) -> None:
    """A filing stayed uncertain; asking about it is refused by the exchange: a person is told, once, and nothing is asked on."""

    async def work() -> None:
        async with stage() as s:
            twin, url = await _portal(s)
            road = Road(url)
            async with standing(road) as at:
                transport = {"kind": "xroad_rest", "base_url": at, "client": CLIENT, "service": PORTAL}
                patient = {"settle_after_s": 1.5}
                await s.connect("public_service", transport, LOGIN, {"password": PASSWORD}, AGENCY, patient)
                road.lose_answers = True
                await s.work()
                await s.push("filing", items.filing())
                await s.settled(uncertain=1)
                road.fault = "denied"
                await _paused(s, "public_service", "service_refused")
                tries = len(road.refused)
                await asyncio.sleep(1.0)
                assert len(road.refused) == tries and await s.states() == {"uncertain": 1}
                road.fault, road.lose_answers = None, False
                await s.house.refresh()
                await operations.resume(s.core, "test", "public_service")
                await s.settled(delivered=1)
                assert twin.summary()["effects"] == 1
                await s.rest()

    asyncio.run(work())
