"""The authentication schemes but the portal's, against a real local server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from typing import Any

import orjson
import pytest
from aiohttp import web

from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.errors import CredentialsRefused, LoginRefused, SettingsInvalid
from connectors.settings import SCHEMES, secrets_of
from hub.kernel.ports import MaybeSent, NotSent
from tests.unit.connectors import login_server as kit

CALL, SECRET, Clock, Server, made, run = kit.CALL, kit.SECRET, kit.Clock, kit.Server, kit.made, kit.run


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"scheme": "api_key", "header": "ApiKey"}, "apikey", SECRET),
        ({"scheme": "bearer"}, "authorization", f"Bearer {SECRET}"),
        (
            {"scheme": "basic", "username": "so"},
            "authorization",
            "Basic " + base64.b64encode(f"so:{SECRET}".encode()).decode(),
        ),
    ],
)
def test_fixed_credentials(auth: dict[str, Any], header: str, value: str) -> None:
    async def use(server: Server) -> None:
        c = made(server, auth)
        assert (await c.send(CALL, 3)).status == 200
        assert server.calls[0][0][header] == value and server.calls[0][1] == CALL.body
        assert SECRET not in repr(c) + repr(c._scheme) + repr(c.settings)
        await c.close()

    run(use)


def test_lgsp_header_is_base64_json() -> None:
    async def use(server: Server) -> None:
        c = made(server, {"scheme": "lgsp_header", "access_key": "a", "app_name": "n", "partner_code": "p"})
        await c.send(CALL, 3)
        token = orjson.loads(base64.b64decode(server.calls[0][0]["lgspaccesstoken"]))
        assert token == {
            "AccessKey": "a",
            "SecretKey": SECRET,
            "AppName": "n",
            "PartnerCode": "p",
            "PartnerCodeCus": "",
        }
        await c.close()

    run(use)


@pytest.mark.parametrize(("unit", "timestamp"), [("ms", "1790000000250"), ("s", "1790000000")])
def test_population_signature(unit: str, timestamp: str) -> None:
    async def use(server: Server) -> None:
        clock = Clock()
        c = made(
            server,
            {"scheme": "population_signed", "user": "so", "xroad_client": "VN/GOV/1/a", "timestamp_unit": unit},
            clock,
            api_key="khoa",
        )
        await c.send(CALL, 3)
        headers = server.calls[0][0]
        url = f"http://127.0.0.1:{server.port}/call"
        digest = hashlib.sha256(f"{url}so{timestamp}{SECRET}".encode()).hexdigest()
        assert headers["timestamp"] == timestamp
        assert base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == f"so:{digest}"
        assert headers["x-road-client"] == "VN/GOV/1/a" and headers["apikey"] == "khoa"
        clock.now += 10
        await c.send(CALL, 3)
        assert server.calls[1][0]["authorization"] != headers["authorization"]
        await c.close()

    run(use)


# ------------------------------------------------------------------------------------------------ oauth2


def oauth(server: Server, **more: Any) -> dict[str, Any]:
    return {
        "scheme": "oauth2_client_credentials",
        "token_url": f"http://127.0.0.1:{server.port}/login",
        "client_id": "so",
        "scope": "a b",
        **more,
    }


def test_oauth2_one_login_for_many_and_again_when_it_ends() -> None:
    async def use(server: Server) -> None:
        clock = Clock()
        server.login_takes_s = 0.05
        server.on_login = lambda h, b: web.json_response({"access_token": f"t{len(server.logins)}", "expires_in": 100})
        c = made(server, oauth(server), clock)
        await asyncio.gather(*(c.send(CALL, 5) for _ in range(20)))
        assert len(server.logins) == 1 and {h["authorization"] for h, _ in server.calls} == {"Bearer t1"}
        assert server.logins[0][1] == b"grant_type=client_credentials&scope=a+b"
        assert base64.b64decode(server.logins[0][0]["authorization"][6:]).decode() == f"so:{SECRET}"
        clock.now += 71  # ends at 100, renewed 30 early
        await c.send(CALL, 5)
        assert len(server.logins) == 2 and server.calls[-1][0]["authorization"] == "Bearer t2"
        await c.close()

    run(use)


def test_oauth2_refused_token_is_renewed_once() -> None:
    async def use(server: Server) -> None:
        good = "t2"
        server.on_login = lambda h, b: web.json_response({"access_token": f"t{len(server.logins)}"})
        server.on_call = lambda h, b: web.Response(status=200 if h["authorization"] == f"Bearer {good}" else 401)
        c = made(server, oauth(server, client_authentication="post"))
        assert (await c.send(CALL, 5)).status == 200
        assert len(server.logins) == 2 and len(server.calls) == 2
        assert b"client_secret=" + SECRET.encode() in server.logins[0][1]
        good = "never"
        assert (await c.send(CALL, 5)).status == 401  # once more and no further: the reply is the caller's to read
        assert len(server.logins) == 3 and len(server.calls) == 4
        await c.close()

    run(use)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b"{}", CredentialsRefused),
        (400, b'{"error":"invalid_client"}', CredentialsRefused),
        (404, b"", LoginRefused),
        (302, b"", LoginRefused),
        (429, b"", NotSent),
        (503, b"", NotSent),
        (200, b"not json", NotSent),
        (200, b"[]", NotSent),
        (200, b'{"access_token":5}', NotSent),
        (200, b'{"access_token":"a\\nb"}', NotSent),
        (200, b'{"access_token":"a","expires_in":"soon"}', NotSent),
    ],
)
def test_oauth2_failed_login_means_not_sent(status: int, body: bytes, kind: type[NotSent]) -> None:
    async def use(server: Server) -> None:
        server.on_login = lambda h, b: web.Response(status=status, body=body)
        c = made(server, oauth(server))
        with pytest.raises(NotSent) as error:
            await c.send(CALL, 5)
        assert type(error.value) is kind and SECRET not in str(error.value)
        assert server.calls == []
        await c.close()

    run(use)


def test_a_login_in_doubt_leaves_the_call_not_sent() -> None:
    async def use(server: Server) -> None:
        server.login_takes_s = 2
        c = made(server, oauth(server))
        with pytest.raises(NotSent):
            await c.send(CALL, 0.3)
        assert server.calls == []
        await c.close()

    run(use)


def test_every_scheme_hides_its_secrets_and_needs_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    examples: dict[str, dict[str, Any]] = {
        "none": {},
        "api_key": {},
        "bearer": {},
        "basic": {"username": "u"},
        "digest": {"username": "u"},
        "lgsp_token": {"token_url": "http://127.0.0.1:9/t", "client_id": "c"},
        "signed_headers": {"key_id": "k"},
        "standard_webhooks": {},
        "lgsp_header": {"access_key": "a", "app_name": "b", "partner_code": "c"},
        "oauth2_client_credentials": {"token_url": "http://127.0.0.1:9/t", "client_id": "c"},
        "portal_session": {"login_url": "http://127.0.0.1:9/t", "username": "u"},
        "population_signed": {"user": "u", "xroad_client": "x"},
    }
    assert set(examples) == set(SCHEMES)

    webhook = "whsec_" + base64.b64encode(SECRET.encode() * 2).decode()
    keyed = ("webhook_secret", "webhook_secret_previous")

    async def use(server: Server) -> None:
        for name, fields in examples.items():
            c = made(server, {"scheme": name, **fields}, **dict.fromkeys(keyed, webhook))
            said = repr(c) + repr(c.settings) + repr(c._scheme) + str(vars(c))
            try:
                await c.send(CALL, 1)
            except (NotSent, MaybeSent) as error:
                said += str(error) + repr(error)
            await c.close()
            assert SECRET not in said and webhook not in said
            needed = [s for s in secrets_of(c.settings) if s.required]
            if needed:
                with pytest.raises(SettingsInvalid) as missing:
                    build(c.settings, {}, AddressPolicy())
                assert {e.pointer for e in missing.value.errors} == {f"/secrets/{s.name}" for s in needed}

    run(use)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("auth", "secret"),
    [
        ({"scheme": "oauth2_client_credentials", "token_url": "{}/login", "client_id": "so"}, "client_secret"),
        ({"scheme": "lgsp_token", "token_url": "{}/login", "client_id": "so"}, "client_secret"),
        ({"scheme": "portal_session", "login_url": "{}/login", "username": "so"}, "password"),
    ],
)
def test_a_login_address_turned_inward_is_refused_and_never_called(auth: dict[str, str], secret: str) -> None:
    from connectors.errors import AddressRefused
    from connectors.settings import validate

    async def use(server: Server) -> None:
        inward = {k: v.format(f"http://127.0.0.1:{server.port}") for k, v in auth.items()}
        given = {
            "name": "thu",
            "system": "ministry",
            "transport": {"kind": "rest", "base_url": "https://192.0.2.7"},
            "auth": inward,
        }
        settings = validate(given)
        c = build(
            settings, {s.name: SECRET for s in secrets_of(settings) if s.name == secret or s.required}, AddressPolicy()
        )
        with pytest.raises(AddressRefused):
            await c.send(CALL, 3)
        assert server.calls == [] and server.logins == [], "no byte of a secret left"
        await c.close()

    run(use)
