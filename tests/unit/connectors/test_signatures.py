"""Schemes that sign: the gateway's token in its own header, HMAC over parts of a request, Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
import time_machine
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.errors import EndpointGone, SettingsInvalid
from connectors.settings import validate
from connectors.transports.webhook import id_of
from hub.kernel.ports import Call, NotSent
from tests.unit.connectors import login_server as kit

CALL, SECRET, Clock, Server, made, run = kit.CALL, kit.SECRET, kit.Clock, kit.Server, kit.made, kit.run

NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()


@pytest.mark.parametrize(
    ("more", "header", "value"),
    [
        ({}, "authorization", "Bearer t1"),
        ({"header": "X-LGSP-Token", "written": "bare"}, "x-lgsp-token", "t1"),
        ({"header": "lgsptoken", "written": "Token", "extra_headers": {"X-Partner": "H24"}}, "lgsptoken", "Token t1"),
    ],
)
def test_a_gateway_token_goes_where_the_gateway_wants_it(more: dict[str, Any], header: str, value: str) -> None:
    async def use(server: Any) -> None:
        good = "t1"
        server.on_login = lambda h, b: web.json_response({"access_token": f"t{len(server.logins)}", "expires_in": 3600})
        server.on_call = lambda h, b: web.Response(status=200 if h[header].endswith(good) else 401)
        url = f"http://127.0.0.1:{server.port}/login"
        c = made(server, {"scheme": "lgsp_token", "token_url": url, "client_id": "so", **more})
        assert (await c.send(CALL, 5)).status == 200
        assert server.calls[0][0][header] == value
        assert server.logins[0][1] == b"grant_type=client_credentials"
        assert base64.b64decode(server.logins[0][0]["authorization"][6:]).decode() == f"so:{SECRET}"
        if "extra_headers" in more:
            assert server.calls[0][0]["x-partner"] == "H24"
        good = "t2"  # the gateway has revoked the token: renewed once
        assert (await c.send(CALL, 5)).status == 200 and len(server.logins) == 2
        await c.close()

    run(use)


def test_headers_signed_over_parts_of_the_request() -> None:
    async def use(server: Any) -> None:
        clock = Clock()
        auth = {"scheme": "signed_headers", "key_id": "so-1", "signature_header": "Authorization"}
        c = made(server, {**auth, "signature_word": "HMAC-SHA256", "encoding": "base64"}, clock)
        await c.send(CALL, 5)
        await c.send(CALL, 5)
        first, second = (h for h, _ in server.calls)
        assert first["x-timestamp"] == "1790000000" and first["x-key-id"] == "so-1"
        assert first["x-nonce"] != second["x-nonce"]
        body = hashlib.sha256(CALL.body).hexdigest()
        text = f"POST\n/call\n\n1790000000\n{first['x-nonce']}\n{body}"
        digest = hmac.new(SECRET.encode(), text.encode(), "sha256").digest()
        assert first["authorization"] == "HMAC-SHA256 " + base64.b64encode(digest).decode()
        assert first["authorization"] != second["authorization"]
        await c.close()

    run(use)


def test_a_signature_that_leaves_the_body_out_is_no_setting() -> None:
    auth = {"scheme": "signed_headers", "key_id": "a", "parts": ["method"]}
    with pytest.raises(SettingsInvalid) as invalid:
        validate({"name": "a", "system": "b", "transport": {"kind": "rest", "base_url": "http://x.vn"}, "auth": auth})
    assert [e.code for e in invalid.value.errors] == ["body_unsigned"]


# ---------------------------------------------------------------------------------------------- webhooks


def webhook(server: Any, clock: Any, **secrets: str) -> Any:
    return made(server, {"scheme": "standard_webhooks"}, clock, **secrets)


def test_a_webhook_is_verified_by_the_standards_library_with_either_secret() -> None:
    async def use(server: Any) -> None:
        clock = Clock()
        c = webhook(server, clock, webhook_secret=NEW, webhook_secret_previous=OLD)
        await c.send(CALL, 5)
        headers, body = server.calls[0]
        with time_machine.travel(clock.now, tick=False):
            for secret in (NEW, OLD):
                assert Webhook(secret).verify(body, headers) == {"madonvi": "H24", "service": "TraCuuHoSo"}
            with pytest.raises(WebhookVerificationError):
                Webhook(NEW).verify(body + b" ", headers)
            with pytest.raises(WebhookVerificationError):
                Webhook(base64.b64encode(b"x" * 32).decode()).verify(body, headers)
        clock.now += 3600
        await c.send(CALL, 5)  # the same delivery later: the same id, signed anew
        again = server.calls[1][0]
        assert again["webhook-id"] == headers["webhook-id"] == "msg_1"
        assert again["webhook-timestamp"] != headers["webhook-timestamp"]
        await c.close()

    run(use)


def test_ids_are_stable_and_never_shared() -> None:
    def call(*deliveries: int) -> Call:
        return Call(operation="o", deliveries=deliveries, body=b"{}", content_type="application/json", idempotent=True)

    assert id_of(call(7)) == "msg_7"
    assert id_of(call(1, 2)) == id_of(call(2, 1)) != id_of(call(1, 3))
    assert id_of(call(1, 23)) != id_of(call(12, 3))
    with pytest.raises(NotSent):
        id_of(call())


def test_a_subscriber_that_is_gone_pauses_the_connector() -> None:
    async def use(server: Any) -> None:
        server.on_call = lambda h, b: web.Response(status=410)
        c = webhook(server, Clock(), webhook_secret=NEW, webhook_secret_previous="")
        with pytest.raises(EndpointGone) as gone:
            await c.send_with_tries(CALL, 5)
        assert len(server.calls) == 1 and gone.value.TEXT.vi and gone.value.cause == "endpoint_gone"
        await c.close()

    run(use)


@pytest.mark.parametrize("secret", ["ngan", "whsec_!!!!", "whsec_" + base64.b64encode(b"s" * 8).decode()])
def test_a_secret_that_is_none_is_told_at_once_and_not_repeated(secret: str) -> None:
    settings = validate(
        {
            "name": "a",
            "system": "b",
            "transport": {"kind": "webhook", "base_url": "http://x.vn"},
            "auth": {"scheme": "standard_webhooks"},
        }
    )
    with pytest.raises(SettingsInvalid) as invalid:
        build(settings, {"webhook_secret": secret}, AddressPolicy())
    assert invalid.value.errors[0].pointer == "/secrets/webhook_secret" and secret not in str(invalid.value)
