"""The contract suite of all transports: which tests a kind gets follows from the capabilities it declares."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from typing import Any

import pytest

from connectors.address import AddressPolicy
from connectors.connector import LiveConnector, build
from connectors.errors import AddressRefused
from connectors.settings import CAPABILITIES, KINDS, SCHEMES, document, form, secrets_of, validate
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply
from tests.contract.connectors import wire_server

VOCABULARY = {
    "http", "headers", "status", "tls", "probe_path", "soap", "xroad", "webhook", "mqtt", "files", "remote", "single",
}  # fmt: skip
CLIENT = {"member_class": "GOV", "member_code": "000.00.00.H24", "subsystem": "so-gddt"}
SERVICE = {"member_class": "GOV", "member_code": "000.00.00.G01", "subsystem": "dancu", "service": "TraCuu"}
ENVELOPE = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><TraCuu><Tep>'
    + base64.b64encode(b"tep" * 50)
    + b"</Tep></TraCuu></s:Body></s:Envelope>"
)
HOST_KEY = "ssh-ed25519 " + base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(32)).decode()
SECRET = "bi-mat-khong-duoc-lo"
WHSEC = "whsec_" + base64.b64encode(SECRET.encode() * 2).decode()
MTOM = {"form": "mtom", "elements": ["Tep"], "from_bytes": 1}

VARIANTS: dict[str, dict[str, Any]] = {
    "rest": {},
    "soap": {},
    "soap+mtom+token": {"attachments": MTOM, "security": {"username": "so", "sent_as": "text"}},
    "xroad_rest": {"client": CLIENT, "service": SERVICE},
    "xroad_soap": {"client": CLIENT, "service": SERVICE},
    "xrd_forward": {"dstcode": "VN:GOV:000.00.00.G04:portal"},
    "webhook": {},
    "mqtt": {"client_id": "thu", "username": "so", "tls": False},
    "sftp": {"username": "so", "login": "password", "host_keys": [HOST_KEY]},
    "folder": {"path": "/khong-co"},
}
"""Every kind at least once, with its options on top of it."""


def kind_of(variant: str) -> str:
    return variant.partition("+")[0]


def having(*capabilities: str) -> list[str]:
    return [v for v in VARIANTS if set(capabilities) <= CAPABILITIES[kind_of(v)]]


def connector(variant: str, host: str, port: int, policy: AddressPolicy) -> LiveConnector:
    kind = kind_of(variant)
    transport: dict[str, Any] = {"kind": kind, **VARIANTS[variant]}
    if "http" in CAPABILITIES[kind]:
        transport["base_url"] = f"http://{host}:{port}"
    elif kind != "folder":
        transport |= {"host": host.strip("[]"), "port": port}
    settings = validate(
        {
            "name": "thu",
            "system": "ministry",
            "transport": transport,
            "auth": {"scheme": "standard_webhooks"} if kind == "webhook" else {"scheme": "none"},
            "policy": {"timeouts": {"connect_s": 0.6, "read_s": 0.5}, "quick_tries": {"attempts": 1}},
        }
    )
    optional = {"tls_key", "wss_key", "sftp_key", "sftp_key_passphrase"}
    secrets = {s.name: SECRET for s in secrets_of(settings) if s.required or s.name not in optional}
    return build(settings, {n: WHSEC if n.startswith("webhook") else s for n, s in secrets.items()}, policy)


def call(variant: str, big: bool = False) -> Call:
    soap = "soap" in CAPABILITIES[kind_of(variant)]
    body = ENVELOPE if soap else b'{"a":1}'
    if big:
        body = body.replace(b"<TraCuu>", b"<TraCuu>" + b"x" * (8 << 20)) if soap else b'"' + b"x" * (8 << 20) + b'"'
    path = "tep.xml" if "files" in CAPABILITIES[kind_of(variant)] else "x"
    return Call(operation="o", deliveries=(1,), body=body, content_type="text/xml", idempotent=False, path=path)


async def verdict(c: LiveConnector, asked: Call, deadline_s: float = 3.0) -> Reply | Exception:
    try:
        return await c.send(asked, deadline_s)
    except (NotSent, MaybeSent) as error:
        return error
    finally:
        await c.close()


# ----------------------------------------------------------------------------------------- declarations


def test_every_kind_is_declared_known_and_tried_here() -> None:
    assert set(CAPABILITIES) == set(KINDS) == {kind_of(v) for v in VARIANTS}
    assert set().union(*CAPABILITIES.values()) <= VOCABULARY


@pytest.mark.parametrize("kind", KINDS)
def test_a_kinds_schema_is_whole_in_both_languages(kind: str) -> None:
    def walk(node: dict[str, Any], path: str) -> None:
        for name, field in node.get("properties", {}).items():
            if name in ("kind", "scheme", "secrets"):
                continue  # chosen before the form is made; never shown
            for words in filter(None, (field.get("x-title"), field.get("x-help"))):
                assert words["vi"].strip() and words["en"].strip(), f"{path}/{name}"
            assert "x-title" in field, f"{path}/{name}"
            assert "properties" in field or field.get("examples"), f"{path}/{name} needs an example"
            walk(field, f"{path}/{name}")

    for scheme in SCHEMES:
        whole = form(kind, scheme)
        walk(whole, f"{kind} with {scheme}")
        for secret in whole["properties"]["secrets"]["properties"].values():
            assert secret["x-title"]["vi"] and secret["x-title"]["en"]
    assert KINDS[kind].ABOUT.vi and KINDS[kind].ABOUT.en
    assert f"### `{kind}`" in document()


# --------------------------------------------------------------------------- the truth about delivery


@pytest.mark.parametrize("boundary", wire_server.BOUNDARIES)
@pytest.mark.parametrize("variant", [v for v in having("http") if v not in ("rest", "soap")])
def test_protocols_around_a_call_keep_the_truth_about_it(variant: str, boundary: str) -> None:
    big = boundary in ("headers_close", "body_middle_close", "body_middle_reset")

    async def go() -> tuple[Reply | Exception, Any]:
        async with wire_server.wire(boundary) as (port, book):
            return await verdict(connector(variant, "127.0.0.1", port, wire_server.LOCAL), call(variant, big)), book

    got, book = asyncio.run(go())
    assert not isinstance(got, Reply) and book.requests <= 1
    if book.bytes:
        assert isinstance(got, MaybeSent), f"the server holds {book.bytes} bytes"
    if boundary == "refused":
        assert isinstance(got, NotSent)
    if boundary not in ("refused", "accept_close", "accept_reset", "accept_stall"):
        assert isinstance(got, MaybeSent)


@pytest.mark.parametrize("boundary", ["refused", "accept_close", "accept_reset", "accept_stall", "garbage"])
@pytest.mark.parametrize("variant", having("files", "remote"))
def test_a_session_that_never_stands_is_certain(variant: str, boundary: str) -> None:
    async def go() -> Reply | Exception:
        async with wire_server.wire(boundary) as (port, _):
            return await verdict(connector(variant, "127.0.0.1", port, wire_server.LOCAL), call(variant))

    assert isinstance(asyncio.run(go()), NotSent)


# -------------------------------------------------------------------------------------------- addresses

REMOTE = [v for v in VARIANTS if kind_of(v) != "folder"]


@pytest.mark.parametrize("variant", REMOTE)
def test_no_kind_reaches_inward(variant: str) -> None:
    async def go() -> None:
        async with wire_server.wire("request_close") as (port, book):
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
                if "mqtt" in CAPABILITIES[kind_of(variant)] and host.startswith("["):
                    continue
                got = await verdict(connector(variant, host, port, AddressPolicy()), call(variant))
                assert isinstance(got, AddressRefused), (host, got)
            assert book.connections == 0

    asyncio.run(go())


@pytest.mark.parametrize("variant", REMOTE)
def test_a_name_that_changes_its_answer_gains_nothing(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: an allowed address first, an inward one afterwards, where a server listens."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def resolve(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host not in ("doi-tac.example", b"doi-tac.example"):
            return real(host, port, *more, **named)
        asked.append("127.0.0.1" if not asked else "127.0.0.9")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (asked[-1], int(port)))]

    async def go() -> None:
        book = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal book
            book += 1
            writer.close()

        # A port of the first address that is taken but listened on by nobody: whoever connects is refused.
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        server = await asyncio.start_server(serve, "127.0.0.9", port)
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        policy = AddressPolicy(["127.0.0.1/32"])
        first = await verdict(connector(variant, "doi-tac.example", port, policy), call(variant), 1.0)
        second = await verdict(connector(variant, "doi-tac.example", port, policy), call(variant), 1.0)
        server.close()
        closed.close()
        assert isinstance(first, NotSent) and isinstance(second, NotSent) and book == 0
        assert asked[:2] == ["127.0.0.1", "127.0.0.9"]

    asyncio.run(go())


# ---------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_secret_shows_in_logs_errors_or_representations(variant: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def go() -> str:
        async with wire_server.wire("request_close") as (port, _):
            c = connector(variant, "127.0.0.1", port, wire_server.LOCAL)
            said = repr(c) + repr(vars(c)) + repr(c.settings) + repr(c._transport)
            layers = getattr(c._transport, "_layers", ())
            said += "".join(repr(layer) for layer in layers)
            got = await verdict(c, call(variant), 2.0)
            assert isinstance(got, Exception)
            inner: BaseException | None = got
            while inner is not None:
                said += str(inner) + repr(inner)
                inner = inner.__cause__
            return said

    said = asyncio.run(go()) + caplog.text
    for secret in (SECRET, WHSEC, base64.b64encode(SECRET.encode()).decode()):
        assert secret not in said
