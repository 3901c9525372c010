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

from connectors.auth.portal_session import PortalSessionSettings, profile
from connectors.errors import CredentialsRefused
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
        (200, b"\xff", NotSent),
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
