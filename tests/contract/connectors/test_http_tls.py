"""TLS of the HTTP client: certificates of both sides, and the key that must belong to its certificate."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.address import AddressPolicy
from connectors.errors import SettingsInvalid
from hub.kernel.ports import MaybeSent, NotSent, Reply
from tests.contract.connectors import ready_server, wire_server

LOCAL = wire_server.LOCAL
OK, Answers, Server, run = ready_server.OK, ready_server.Answers, ready_server.Server, ready_server.run


def _name(common: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _issued(common: str, issuer: Any = None, ca: bool = False) -> tuple[Any, Any]:
    """(certificate, key), self-signed or by `issuer`, for 127.0.0.1."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer or (None, key)
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder().subject_name(_name(common)).issuer_name(signer[0].subject if signer[0] else _name(common))
        .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2)).add_extension(x509.BasicConstraints(ca, None), True).add_extension(names, False)
        .sign(signer[1], hashes.SHA256())
    )  # fmt: skip
    return certificate, key


def _pem(certificate: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return str(certificate.public_bytes(Encoding.PEM).decode())


def _key_pem(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


@pytest.fixture(scope="module")
def authority() -> Any:
    return _issued("Chứng thư thử", ca=True)


@pytest.fixture(scope="module")
def served(authority: Any, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's side of TLS, with a certificate by `authority`."""
    certificate, key = _issued("may-chu", authority)
    file = tmp_path_factory.mktemp("tls") / "s.pem"
    file.write_text(_pem(certificate) + _key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


LARGE = ("headers_close", "body_middle_close", "body_middle_reset")
"""Where the request must still be under way when the server goes: larger than the buffers."""


async def _said(boundary: str, kind: str, authority: Any, context: ssl.SSLContext | None) -> tuple[Any, Any]:
    """The reply or the error of one call over https, and the server's book."""
    from connectors.connector import build
    from connectors.settings import validate

    async with wire_server.wire(boundary, context) as (port, book):
        transport = {"kind": kind, "base_url": f"https://127.0.0.1:{port}", "tls": {"ca_pem": _pem(authority[0])}}
        # A handshake has time enough on a busy machine: what is asked about comes after it.
        policy = {
            "timeouts": {"connect_s": 10, "read_s": 0.5},
            "quick_tries": {"attempts": 3, "wait_s": 0.01},
        }
        given = {"name": "thu", "system": "ministry", "transport": transport, "policy": policy}
        c = build(validate(given), {}, LOCAL)
        body = b"x" * (8 << 20) if boundary in LARGE else b'{"a":1}'
        try:
            return await c.send(wire_server.call(body=body), 12.0), book
        except (NotSent, MaybeSent) as error:
            return error, book
        finally:
            await c.close()


@pytest.mark.parametrize(
    "boundary",
    [
        "accept_close", "accept_reset", "accept_stall", *LARGE, "request_close", "request_reset", "request_stall", "headers_middle",
        "body_reply_middle", "body_reply_stall", "chunked_middle",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["rest", "soap"])
def test_a_conversation_broken_inside_tls_is_told_truly_and_never_repeated(
    kind: str, boundary: str, authority: Any, served: ssl.SSLContext
) -> None:
    verdict, book = asyncio.run(asyncio.wait_for(_said(boundary, kind, authority, served), 30))
    assert not isinstance(verdict, Reply)
    assert book.requests <= 1
    if boundary.startswith("accept"):
        assert book.requests == 0
    else:
        assert book.connections == 1 and book.bytes, "the server read of it"
        assert isinstance(verdict, MaybeSent), f"the server holds {book.bytes} bytes"


@pytest.mark.parametrize("boundary", ["accept_close", "accept_reset"])
def test_a_handshake_that_breaks_is_not_sent(boundary: str, authority: Any) -> None:
    verdict, book = asyncio.run(asyncio.wait_for(_said(boundary, "rest", authority, None), 30))
    assert isinstance(verdict, NotSent) and book.bytes == 0


def test_both_sides_show_a_certificate(authority: Any, tmp_path: Path) -> None:
    from connectors.connector import build
    from connectors.settings import validate

    server_pair, hub_pair, stranger = _issued("may-chu", authority), _issued("truc", authority), _issued("la")
    (tmp_path / "s.pem").write_text(_pem(server_pair[0]) + _key_pem(server_pair[1]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "s.pem")
    context.load_verify_locations(cadata=_pem(authority[0]))
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # a refused certificate shows in the handshake itself

    async def go() -> list[Any]:
        server = Server(lambda _n: OK)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
        port = listening.sockets[0].getsockname()[1]
        found: list[Any] = []
        for tls, key in (
            ({"ca_pem": _pem(authority[0]), "certificate_pem": _pem(hub_pair[0])}, _key_pem(hub_pair[1])),
            ({"ca_pem": _pem(authority[0])}, None),
            ({"ca_pem": _pem(authority[0]), "certificate_pem": _pem(stranger[0])}, _key_pem(stranger[1])),
            ({"certificate_pem": _pem(hub_pair[0])}, _key_pem(hub_pair[1])),
        ):
            settings = validate(
                {
                    "name": "thu",
                    "system": "ministry",
                    "transport": {"kind": "rest", "base_url": f"https://127.0.0.1:{port}", "tls": tls},
                }
            )
            c = build(settings, {"tls_key": key} if key else {}, LOCAL)
            try:
                for _ in range(2):
                    reply = await c.send(wire_server.call(), 3.0)
                found.append((reply.status, server.connections))
            except NotSent as error:
                found.append(type(error))
            await c.close()
        listening.close()
        return found

    assert run(asyncio.wait_for(go(), 15)) == [(200, 1), NotSent, NotSent, NotSent]


def test_a_certificate_needs_its_own_key_and_keeps_none(authority: Any) -> None:
    from connectors.connector import build
    from connectors.settings import validate

    certificate, key = _issued("truc", authority)
    other = _issued("khac", authority)[1]

    def settings(pem: str) -> Any:
        tls = {"certificate_pem": pem}
        return validate(
            {
                "name": "thu",
                "system": "ministry",
                "transport": {"kind": "rest", "base_url": "https://a.example", "tls": tls},
            }
        )

    for secrets in ({}, {"tls_key": _key_pem(other)}, {"tls_key": "x"}):
        with pytest.raises(SettingsInvalid) as refused:
            build(settings(_pem(certificate)), secrets, AddressPolicy())
        assert [e.pointer for e in refused.value.errors] == ["/secrets/tls_key"]
    unended = _pem(certificate) + _key_pem(key).replace("-----END", "----END")
    for pem in ("x", "é", _pem(certificate) + _key_pem(key), unended):
        with pytest.raises(SettingsInvalid) as wrong:
            settings(pem)
        assert [e.pointer for e in wrong.value.errors] == ["/transport/tls/certificate_pem"]
    for pem, secret in (
        (_pem(certificate), _key_pem(key)),
        (_pem(certificate).replace("\n", ""), _key_pem(key).replace("\n", " ")),
    ):
        assert build(settings(pem), {"tls_key": secret}, AddressPolicy()), "also as pasted into a field of one line"
