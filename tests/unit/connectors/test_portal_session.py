"""The portal's session log-in, against a real local server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from connectors.address import AddressPolicy
from connectors.auth.portal_session import PortalSessionSettings, profile
from connectors.connector import build
from connectors.errors import CredentialsRefused, ExchangeRefused, LoginRefused, ServiceRefused, SettingsInvalid
from connectors.settings import dump, validate
from connectors.transports.base import Request
from hub.kernel.ports import Call, NotSent, Reply
from tests.unit.connectors import login_server as kit

CALL, SECRET, Clock, Server, made, run = kit.CALL, kit.SECRET, kit.Clock, kit.Server, kit.made, kit.run


def portal(server: Server, **more: Any) -> dict[str, Any]:
    return {
        "scheme": "portal_session",
        "login_url": f"http://127.0.0.1:{server.port}/login",
        "username": "so",
        "dstcode": "VN:GOV:1:vpcp",
        **more,
    }


def opened(server: Server) -> Callable[[dict[str, str], bytes], web.Response]:
    return lambda h, b: web.json_response({"session": f"s{len(server.logins)}", "error_code": 0})


def test_portal_session_is_spliced_in_and_the_rest_stays_byte_for_byte() -> None:
    async def use(server: Server) -> None:
        server.on_login = opened(server)
        server.on_call = lambda h, b: web.json_response({"error_code": "0"})
        server.login_takes_s = 0.05
        c = made(server, portal(server))
        await asyncio.gather(*(c.send(CALL, 5) for _ in range(10)))
        assert len(server.logins) == 1
        assert orjson.loads(server.logins[0][1]) == {"username": "so", "password": SECRET}
        assert server.logins[0][0]["dstcode"] == "VN:GOV:1:vpcp" == server.calls[0][0]["dstcode"]
        assert {b for _, b in server.calls} == {b'{"session":"s1","madonvi":"H24", "service":"TraCuuHoSo" }'}
        await c.close()

    run(use)


@pytest.mark.parametrize("ended", [{"error_code": -1}, {"error_code": "-1", "message": "het phien"}])
def test_portal_session_that_has_ended_is_renewed_once_and_the_call_sent_again(ended: dict[str, Any]) -> None:
    async def use(server: Server) -> None:
        server.on_login = opened(server)
        server.on_call = lambda h, b: web.json_response({"error_code": 0} if b'"s2"' in b else ended)
        c = made(server, portal(server))
        assert orjson.loads((await c.send(CALL, 5)).body) == {"error_code": 0}
        assert len(server.logins) == 2 and len(server.calls) == 2
        server.on_call = lambda h, b: web.json_response(ended)
        assert orjson.loads((await c.send(CALL, 5)).body) == ended
        assert len(server.logins) == 3 and len(server.calls) == 4
        await c.close()

    run(use)


def test_many_calls_with_one_ended_session_log_in_once() -> None:
    async def use(server: Server) -> None:
        server.on_login = opened(server)
        server.on_call = lambda h, b: web.json_response({"error_code": 0 if b'"s2"' in b else -1})
        c = made(server, portal(server))
        replies = await asyncio.gather(*(c.send(CALL, 5) for _ in range(15)))
        assert {r.body for r in replies} == {b'{"error_code": 0}'}
        assert len(server.logins) == 2
        await c.close()

    run(use)


def test_other_errors_do_not_renew_and_never_send_again() -> None:
    async def use(server: Server) -> None:
        server.on_login = opened(server)
        c = made(server, portal(server))
        for status, body in ((200, b'{"error_code": 5}'), (503, b"x"), (504, b""), (200, b"["), (200, b'{"a":' * 9999)):
            server.on_call = lambda h, b, status=status, body=body: web.Response(status=status, body=body)
            assert (await c.send(CALL, 5)).body == body
        assert len(server.logins) == 1 and len(server.calls) == 5
        await c.close()

    run(use)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b'{"error_code":"1","message":"sai mat khau"}', CredentialsRefused),
        (403, b"", CredentialsRefused),
        (200, b'{"session":"","error_code":0}', NotSent),
        (200, b'{"session":"a","error_code":7}', NotSent),
        (200, b'{"session":5,"error_code":0}', NotSent),
        (500, b"", NotSent),
        (503, b"", NotSent),
        (429, b"", NotSent),
        (200, b"\xff", NotSent),
        (400, b"{}", LoginRefused),
        (404, b"", LoginRefused),
        (301, b"", LoginRefused),
    ],
)
def test_portal_login_failures(status: int, body: bytes, kind: type[NotSent]) -> None:
    async def use(server: Server) -> None:
        server.on_login = lambda h, b: web.Response(status=status, body=body)
        c = made(server, portal(server))
        with pytest.raises(NotSent) as error:
            await c.send(CALL, 5)
        assert type(error.value) is kind and SECRET not in str(error.value) and server.calls == []
        result = await c.probe(3)
        assert not result.ok and result.step == "authenticate" and SECRET not in result.detail.en
        await c.close()

    run(use)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Client.BadRequest", ExchangeRefused),
        ("Server.ServerProxy.AccessDenied", ServiceRefused),
        ("Server.ClientProxy.NetworkError", NotSent),
        ("Server.ServerProxy.ServiceFailed", NotSent),
    ],
)
def test_a_forwarders_word_about_a_log_in_is_understood(code: str, kind: type[NotSent]) -> None:
    """No protocol of ours stands around a forwarded log-in; what the exchange says of it is in a header all the same."""

    async def use(server: Server) -> None:
        server.on_login = lambda h, b: web.Response(status=500, headers={"X-Road-Error": code})
        c = made(server, portal(server))
        with pytest.raises(NotSent) as error:
            await c.send(CALL, 5)
        assert type(error.value) is kind and server.calls == []
        await c.close()

    run(use)


def test_a_log_in_under_the_base_address_has_what_everything_there_has() -> None:
    async def use(server: Server) -> None:
        server.on_login = opened(server)
        given = {
            "name": "thu", "system": "he_thong", "auth": portal(server, login_url="/login", dstcode=""),
            "transport": {
                "kind": "rest", "base_url": f"http://127.0.0.1:{server.port}", "headers": {"dstcode": "VN:GOV:2:b"}, "query": {"v": "1"},
            },
        }  # fmt: skip
        c = build(validate(given), {"password": SECRET}, AddressPolicy(["127.0.0.0/8"]))
        assert (await c.send(CALL, 5)).status == 200
        assert server.logins[0][0]["dstcode"] == "VN:GOV:2:b" == server.calls[0][0]["dstcode"]
        assert (await c.probe(3)).ok and len(server.logins) == 2
        await c.close()

    run(use)


@pytest.mark.parametrize("address", ["/../login", "//la.example/login", "login", "/a/./b", "ftp://x/y", "/a b", "/"])
def test_a_log_in_address_that_leads_elsewhere_is_refused_when_set(address: str) -> None:
    with pytest.raises(ValueError, match="login_url"):
        PortalSessionSettings(login_url=address, username="u")


# ------------------------------------------------------------------------------------------------ a gateway in front


def behind(server: Server, **more: Any) -> dict[str, Any]:
    gateway = {
        "token_url": f"http://127.0.0.1:{server.port}/login?token",
        "client_id": "so",
        "header": "X-LGSP-Token",
        **more,
    }
    return portal(server, gateway=gateway)


def gate(server: Server, good: Callable[[str], bool] = lambda token: True) -> Callable[..., web.Response]:
    """Tokens t1, t2 … to who shows the gateway's secret, sessions s1, s2 … to who shows a token that is still good."""
    given: dict[str, int] = {"t": 0, "s": 0}

    def answer(headers: dict[str, str], body: bytes) -> web.Response:
        kind = "t" if body.startswith(b"grant_type") else "s"
        if kind == "s" and not good(headers.get("x-lgsp-token", "").removeprefix("Bearer ")):
            return web.Response(status=401)
        given[kind] += 1
        name = f"{kind}{given[kind]}"
        return web.json_response({"access_token": name} if kind == "t" else {"session": name, "error_code": 0})

    return answer


def test_a_gateways_token_goes_with_every_request_the_log_in_too() -> None:
    async def use(server: Server) -> None:
        server.on_login = gate(server)
        c = made(
            server,
            behind(server, written="bare", extra_headers={"X-Partner-Code": "H24"}),
            gateway_secret="bi-mat-truc",
        )
        await asyncio.gather(*(c.send(CALL, 5) for _ in range(5)))
        token, login = server.logins
        assert token[0]["authorization"].startswith("Basic ") and b"grant_type" in token[1]
        assert login[0]["x-lgsp-token"] == "t1" and orjson.loads(login[1])["username"] == "so"
        assert {(h["x-lgsp-token"], h["x-partner-code"], h["dstcode"]) for h, _ in server.calls} == {
            ("t1", "H24", "VN:GOV:1:vpcp")
        }
        assert all(b.startswith(b'{"session":"s1",') for _, b in server.calls)
        assert "bi-mat-truc" not in repr(c._scheme) and SECRET not in repr(c._scheme)
        assert (await c.probe(3)).ok and len(server.logins) == 4, "the live test logs in to both anew"
        await c.close()

    run(use)


def test_a_token_that_ended_is_renewed_before_a_log_in_and_for_a_call() -> None:
    async def use(server: Server) -> None:
        ended: set[str] = set()
        server.on_login = gate(server, lambda token: token not in ended)
        server.on_call = lambda h, b: (
            web.Response(status=401)
            if h["x-lgsp-token"].removeprefix("Bearer ") in ended
            else web.json_response({"error_code": 0})
        )
        c = made(server, behind(server))
        assert (await c.send(CALL, 5)).status == 200
        ended.add("t1")
        assert (await c.send(CALL, 5)).status == 200
        assert [h["x-lgsp-token"] for h, _ in server.calls] == ["Bearer t1", "Bearer t1", "Bearer t2"]
        assert len(server.calls) == 3, "sent again once, as the 401 proves that it was not let in"
        ended |= {"t2", "t3", "t4", "t5", "t6"}
        with pytest.raises(CredentialsRefused):
            await c.send(CALL, 5)
        await c.close()

    run(use)


def test_a_gateway_needs_its_client_and_its_secret() -> None:
    gateway = {"token_url": "https://lgsp.example.vn/token"}
    auth = {"scheme": "portal_session", "login_url": "/login", "username": "u", "gateway": gateway}
    given = {
        "name": "a",
        "system": "b",
        "transport": {"kind": "rest", "base_url": "https://lgsp.example.vn"},
        "auth": auth,
    }
    with pytest.raises(SettingsInvalid, match="client id"):
        validate(given)
    gateway["client_id"] = "so"
    with pytest.raises(SettingsInvalid, match="LGSP") as error:
        build(validate(given), {"password": "p"}, AddressPolicy([]))
    assert error.value.errors[0].pointer == "/secrets/gateway_secret"
    del auth["gateway"]
    build(validate(given), {"password": "p"}, AddressPolicy([]))
    assert dump(validate(given))["auth"]["gateway"]["token_url"] is None and validate(
        dump(validate(given))
    ) == validate(given)


def test_probe_logs_in() -> None:
    async def use(server: Server) -> None:
        server.on_login = opened(server)
        c = made(server, portal(server))
        result = await c.probe(3)
        assert result.ok and len(server.logins) == 1 and server.calls == []
        await c.close()

    run(use)


def test_the_portal_profile_says_that_it_is_assumed() -> None:
    assert profile().assumed and len(profile().why) > 20


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63) | st.lists(st.text()), max_size=4))
def test_splicing_keeps_any_object(body: dict[str, Any]) -> None:
    """The spliced body is the same object with a session; only blanks around the first brace may go."""
    body.pop("session", None)
    scheme = PortalSessionSettings(login_url="http://x.vn/login", username="u").build({"password": "p"}, Clock())

    async def login(request: Request, deadline_s: float) -> Reply:
        return Reply(status=200, body=b'{"session":"\\u0111\\"x","error_code":"00"}')

    raw = b" \n" + orjson.dumps(body)
    signed = asyncio.run(scheme.sign(Request(method="POST", url="http://x.vn", body=raw), login, 1))
    assert orjson.loads(signed.body) == {**body, "session": 'đ"x'}


@given(st.integers(min_value=100, max_value=599).filter(lambda s: s != 401), st.binary(max_size=200))
def test_no_reply_whatever_breaks_the_session_check(status: int, body: bytes) -> None:
    scheme = PortalSessionSettings(login_url="http://x.vn/login", username="u").build({"password": "p"}, Clock())
    request = Request(method="POST", url="http://x.vn", body=b'{"session":"s"}')
    scheme.lapsed(request, Reply(status=status, body=body))


@pytest.mark.parametrize("body", [b"", b"[]", b"<a/>", b'"x"'])
def test_a_body_without_room_for_a_session_is_not_sent(body: bytes) -> None:
    async def use(server: Server) -> None:
        server.on_login = opened(server)
        c = made(server, portal(server))
        bad = Call(operation="o", deliveries=(), body=body, content_type="a/b", idempotent=False, path="call")
        with pytest.raises(NotSent):
            await c.send(bad, 3)
        assert server.calls == []
        await c.close()

    run(use)
