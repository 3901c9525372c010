"""X-Road, both protocols, against a strict security server: what is accepted, what each error proves, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.address import AddressPolicy
from connectors.connector import LiveConnector, build
from connectors.errors import ExchangeRefused, ServiceRefused, SettingsInvalid
from connectors.settings import validate
from connectors.transports.envelope import NotSoap, see, with_headers
from connectors.transports.xroad_faults import judge, profile
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply
from tests.contract.connectors import security_server as ss

CLIENT = {"member_class": "GOV", "member_code": "000.00.00.H24", "subsystem": "sở gd"}
SERVICE = {"member_class": "GOV", "member_code": "000.00.00.G01", "subsystem": "dân cư", "service": "TraCuu"}
ENVELOPE = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
    b'<soap:Body><d:TraCuu xmlns:d="urn:d"><Ten>\xc3\x82n &amp; B</Ten></d:TraCuu></soap:Body></soap:Envelope>'
)
KINDS = ["xroad_rest", "xroad_soap"]


def answer(_: bytes) -> tuple[int, bytes]:
    return 200, b'<d:TraCuuResponse xmlns:d="urn:d">co</d:TraCuuResponse>'


def connector(
    kind: str, port: int, client: dict[str, Any] = CLIENT, auth: dict[str, Any] | None = None, **more: Any
) -> LiveConnector:
    transport = {"kind": kind, "base_url": f"http://127.0.0.1:{port}", "client": client, "service": SERVICE, **more}
    return build(
        validate(
            {
                "name": "thu",
                "system": "population",
                "transport": transport,
                "auth": auth or {"scheme": "none"},
                "policy": {"timeouts": {"connect_s": 0.5, "read_s": 0.5}, "quick_tries": {"attempts": 1}},
            }
        ),
        {"password": "p"} if auth else {},
        AddressPolicy(["127.0.0.0/8"]),
    )


def call(kind: str, **more: Any) -> Call:
    body, content = (ENVELOPE, "text/xml") if kind == "xroad_soap" else (b'{"so":"1"}', "application/json")
    path = "" if kind == "xroad_soap" else "v1/cong-dan?x=1"
    kept: dict[str, Any] = {"operation": "o", "deliveries": (1,), "body": body, "content_type": content}
    return Call(**{**kept, "idempotent": False, "path": path, **more})


def spoken(kind: str, fault: str | None, **more: Any) -> tuple[Reply | Exception, Any]:
    """What a call gives under a fault, and the server's books."""
    server = ss.SecurityServer(answer)
    server.fault = fault
    asked = {k: more.pop(k) for k in ("headers", "body", "method", "path") if k in more}

    async def use(port: int) -> Reply | Exception:
        c = connector(kind, port, **more)
        try:
            return await c.send(call(kind, **asked), 3)
        except (NotSent, MaybeSent) as error:
            return error
        finally:
            await c.close()

    return asyncio.run(ss.run(server, use)), server


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_is_accepted_delivered_and_answered(kind: str) -> None:
    reply, server = spoken(kind, None, user_id="VN012345678901", issue="HS-1")
    assert isinstance(reply, Reply) and reply.status == 200 and b"TraCuuResponse" in reply.body
    assert len(server.delivered) == 1 and not server.refused
    id_, body = server.delivered[0]
    assert len(id_) == 36
    if kind == "xroad_rest":
        assert server.headers[0]["x-road-client"] == "VN/GOV/000.00.00.H24/s%E1%BB%9F%20gd"
        assert server.headers[0]["x-road-userid"] == "VN012345678901" and server.headers[0]["x-road-issue"] == "HS-1"
        assert body == b'{"so":"1"}'
    else:
        seen = see(body)
        assert [b.tag.rpartition("}")[2] for b in seen.headers] == [
            "client", "service", "id", "userId", "issue", "protocolVersion",
        ]  # fmt: skip
        assert body.replace(body[body.index(b"<soap:Header>") : body.index(b"<soap:Body>")], b"") == ENVELOPE


@pytest.mark.parametrize("kind", KINDS)
def test_every_try_has_its_own_id_and_a_call_may_bring_user_and_issue(kind: str) -> None:
    server = ss.SecurityServer(answer)

    async def use(port: int) -> None:
        c = connector(kind, port, user_id="VN1")
        own = call(kind, headers={"X-Road-UserId": "VN2", "x-road-issue": "I"})
        await c.send(own, 3)
        await c.send(own, 3)
        await c.close()

    asyncio.run(ss.run(server, use))
    assert len({id_ for id_, _ in server.delivered}) == 2
    if kind == "xroad_rest":
        assert {h["x-road-userid"] for h in server.headers} == {"VN2"}
    else:
        assert all(b">VN2<" in body and b">I<" in body for _, body in server.delivered)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "error", "arrived"),
    [
        ("client", NotSent, False),
        ("client_proxy", NotSent, False),
        ("client_proxy_connect", NotSent, False),
        ("client_proxy_modern", NotSent, False),
        ("client_proxy_late", MaybeSent, True),
        ("client_proxy_reset", MaybeSent, True),
        ("server_proxy", MaybeSent, True),
        ("server_proxy_modern", MaybeSent, True),
        ("denied", ServiceRefused, False),
        ("unknown_service", ServiceRefused, False),
    ],
)
def test_each_class_of_error_says_what_it_proves(kind: str, fault: str, error: type, arrived: bool) -> None:
    got, server = spoken(kind, fault)
    assert isinstance(got, error) and bool(server.delivered) is arrived
    assert isinstance(got, MaybeSent) or not server.delivered, "nothing delivered may be called not sent"
    assert ss.ERRORS[fault][1] in str(got)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("client", ExchangeRefused), ("denied", ServiceRefused), ("unknown_service", ServiceRefused), ("client_proxy", NotSent),
        ("client_proxy_late", NotSent), ("server_proxy", NotSent), ("odd", NotSent), ("service", NotSent), ("id", NotSent),
        ("wrong_client", NotSent), ("hash", NotSent), ("no_hash", NotSent), ("no_headers", NotSent), ("page", NotSent), ("gateway", NotSent),
        ("provider", NotSent),
    ],
)  # fmt: skip
@pytest.mark.parametrize("service", [None, "dang nhap"])
def test_a_log_in_is_held_to_what_a_call_is_held_to(fault: str, error: type[NotSent], service: str | None) -> None:
    """Under the calls' own service, or another of the same provider. Whatever goes wrong with it, the call has not left."""
    server = ss.SecurityServer(lambda body: (200, b'{"session":"s1","error_code":0}' if b"username" in body else b"{}"))

    async def use(port: int) -> None:
        own = f"http://127.0.0.1:{port}/r1/VN/GOV/000.00.00.G01/d%C3%A2n%20c%C6%B0/{quote(service or '')}/login"
        login = {"scheme": "portal_session", "login_url": own if service else "/login", "username": "u"}
        c = connector("xroad_rest", port, auth=login)
        server.fault = fault
        with pytest.raises(NotSent) as told:
            await c.send(call("xroad_rest"), 3)
        assert type(told.value) is error, told.value
        assert all(b"username" in body for _, body in server.delivered)
        server.fault = None
        assert (await c.send(call("xroad_rest"), 3)).status == 200
        (first, _), (second, body) = server.delivered[-2:]
        assert first != second and body == b'{"session":"s1","so":"1"}'
        assert [h["x-road-client"] for h in server.headers[-2:]] == ["VN/GOV/000.00.00.H24/s%E1%BB%9F%20gd"] * 2
        await c.close()

    asyncio.run(ss.run(server, use))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["service", "id", "wrong_client", "hash", "no_hash", "no_headers", "page"])
def test_an_answer_that_is_not_the_calls_own_is_in_doubt(kind: str, fault: str) -> None:
    got, server = spoken(kind, fault)
    assert isinstance(got, MaybeSent), got
    assert len(server.delivered) == (0 if fault == "page" else 1)


def test_headers_repeated_in_another_order_are_not_repeated() -> None:
    assert isinstance(spoken("xroad_soap", "order")[0], MaybeSent)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_unknown_origin_is_in_doubt_or_the_providers(kind: str) -> None:
    got, _ = spoken(kind, "odd")
    # REST says by its header that the exchange failed; a SOAP fault of an unknown name may be anybody's own.
    assert isinstance(got, MaybeSent) if kind == "xroad_rest" else isinstance(got, Reply)


@pytest.mark.parametrize("kind", KINDS)
def test_the_providers_own_error_and_a_gateways_pass_as_they_are(kind: str) -> None:
    own, _ = spoken(kind, "provider")
    assert isinstance(own, Reply) and own.status == 500
    front, _ = spoken(kind, "gateway")
    assert isinstance(front, Reply) and front.status == 503


def test_the_hash_check_can_be_relaxed_but_the_echo_never() -> None:
    for kind in KINDS:
        assert isinstance(spoken(kind, "hash", request_hash="present")[0], Reply)
        assert isinstance(spoken(kind, "no_hash", request_hash="present")[0], MaybeSent)
        assert isinstance(spoken(kind, "no_hash", request_hash="off")[0], Reply)
        assert isinstance(spoken(kind, "id", request_hash="off")[0], MaybeSent)


def test_a_wrong_instance_is_refused_before_delivery() -> None:
    for kind in KINDS:
        got, server = spoken(kind, None, client={**CLIENT, "instance": "EE"})
        assert isinstance(got, NotSent) and not server.delivered


def test_a_call_cannot_forge_the_client_or_carry_what_is_no_soap() -> None:
    got, server = spoken("xroad_rest", None, headers={"X-Road-Client": "VN/GOV/1/ai-khac"})
    assert isinstance(got, NotSent) and not server.headers
    got, server = spoken("xroad_soap", None, body=b"<!DOCTYPE a []><a/>")
    assert isinstance(got, NotSent) and not server.delivered
    got, server = spoken("xroad_soap", None, body=ENVELOPE.replace(b"TraCuu", b"DichVuKhac"))
    assert isinstance(got, NotSent) and server.refused  # the strict server holds the wrapper against the service


def test_a_get_without_body_is_hashed_over_its_head_alone() -> None:
    reply, server = spoken("xroad_rest", None, method="GET", body=b"")
    assert isinstance(reply, Reply) and server.delivered[0][1] == b""


@pytest.mark.parametrize("name", ["A/B", "A%2FB", "..", "a:b", "a\nb", ""])
def test_identifiers_that_are_none(name: str) -> None:
    with pytest.raises(SettingsInvalid):
        connector("xroad_rest", 9, client={**CLIENT, "member_code": name})


def test_codes_are_judged_by_origin_alone_where_the_profile_says_nothing() -> None:
    assert profile().assumed and profile().why
    assert isinstance(judge("Server.ServerProxy.Whatever", ""), MaybeSent)
    assert isinstance(judge("Server.ClientProxy.Whatever", ""), MaybeSent)
    assert isinstance(judge("Server.ClientProxy", ""), MaybeSent)
    assert isinstance(judge("Server.ClientProxy.UnknownMember", ""), NotSent)
    assert isinstance(judge("Server.ClientProxy.UnknownMember.IOError", ""), MaybeSent)
    assert isinstance(judge("Client.Whatever", ""), NotSent)
    assert judge("Server", "") is None and judge("Client", "") is None and judge("", "") is None
    said = judge("Server.ServerProxy.X", "so 031234567890 sai")
    assert said is not None and "031234567890" not in str(said)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda t: ENVELOPE.replace(b"<soap:Body>", t.encode())))
def test_any_answer_whatever_is_read_or_refused(data: bytes) -> None:
    for read in (see, lambda d: with_headers(d, b"<a/>")):
        try:
            read(data)
        except NotSoap:
            continue


@pytest.mark.parametrize(
    "envelope",
    [
        b'<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Header/><S:Body><a/></S:Body></S:Envelope>',
        b'<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><a xmlns=""/></Body></Envelope>',
        b"<S:Envelope xmlns:S='http://schemas.xmlsoap.org/soap/envelope/'><S:Header a='&gt;' ><b/></S:Header><S:Body/></S:Envelope>",
        b'\xef\xbb\xbf<?xml version="1.0"?><!-- c --><S:Envelope xmlns:S="http://www.w3.org/2003/05/soap-envelope">\n'
        b" <S:Header></S:Header><S:Body>x</S:Body></S:Envelope>",
    ],
)
def test_header_blocks_go_into_any_envelope(envelope: bytes) -> None:
    made = with_headers(envelope, b'<h xmlns="urn:h">1</h>')
    seen = see(made)
    assert seen.headers[0].tag == "{urn:h}h" and seen.headers[0].text == "1"
    assert made[seen.body_at :] == envelope[see(envelope).body_at :]


# ------------------------------------------------------------------------------- the deployed forward form


@pytest.mark.parametrize(("name", "message"), [("XrdAdapter", "rest"), ("VXPAdapter", "soap_1.1")])
def test_the_forward_form(name: str, message: str) -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    class Forwarder(ss.SecurityServer):  # type: ignore[misc,name-defined]
        async def serve(self, request: Any) -> Any:
            seen.append((request.path, request.raw_path, dict(request.query), await request.read()))
            return ss.web.Response(text="ok", headers={"X-Seen": request.headers.get("SOAPAction", "none")})

    async def use(port: int) -> Reply:
        transport = {
            "kind": "xrd_forward",
            "base_url": f"http://127.0.0.1:{port}",
            "adapter": name,
            "path": "dancu",
            "dstcode": "VN:GOV:000.00.00.G01:vpcp",
            "provider_url": "http://10.0.0.1:8083/a?b=1",
            "message": message,
        }
        c = build(validate({"name": "a", "system": "b", "transport": transport}), {}, AddressPolicy(["127.0.0.0/8"]))
        try:
            return await c.send(call("xroad_rest", path="tra-cuu?trang=2"), 3)
        finally:
            await c.close()

    serve: Callable[..., Awaitable[Any]] = ss.run
    reply = asyncio.run(serve(Forwarder(answer), use))
    path, _, query, body = seen[0]
    assert path == f"/{name}/RestService/forward/dancu/tra-cuu"
    assert query == {"trang": "2", "dstcode": "VN:GOV:000.00.00.G01:vpcp", "providerurl": "http://10.0.0.1:8083/a?b=1"}
    assert body == b'{"so":"1"}' and reply.headers["x-seen"] == ("none" if message == "rest" else '""')
