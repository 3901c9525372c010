"""TLS of the HTTP client: certificates of both sides, and the key that must belong to its certificate."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.address import AddressPolicy
from connectors.errors import SettingsInvalid
from hub.kernel.ports import NotSent


def _kit(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    sys.modules[name] = kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    return kit


wire_server, ready_server = _kit("wire_server"), _kit("ready_server")
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
    for pem in ("x", _pem(certificate) + _key_pem(key)):
        with pytest.raises(SettingsInvalid) as wrong:
            settings(pem)
        assert [e.pointer for e in wrong.value.errors] == ["/transport/tls/certificate_pem"]
    for pem, secret in (
        (_pem(certificate), _key_pem(key)),
        (_pem(certificate).replace("\n", ""), _key_pem(key).replace("\n", " ")),
    ):
        assert build(settings(pem), {"tls_key": secret}, AddressPolicy()), "also as pasted into a field of one line"
