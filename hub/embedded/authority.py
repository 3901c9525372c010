"""The hub's own certificate authority for the embedded broker, and the server certificate it signs.

One concern: those two files and their renewal. It must never sign anything else, nor leave a key readable to others.
Sites with a PKI of their own name their files in the settings instead.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.embedded.process import write_private

CA_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=397)
RENEW_BEFORE = timedelta(days=45)
_BACK = timedelta(days=1)
"""Certificates begin a day back: gates' clocks are slow more often than not."""


class Authority:
    """Files in a folder: `ca.pem`, `ca.key`, `server.pem`, `server.key`."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self.cert = folder / "server.pem"
        self.key = folder / "server.key"
        self._ca_key = folder / "ca.key"
        self._folder = folder

    def ensure(self, names: Sequence[str], now: datetime | None = None) -> bool:
        """Have an authority and a server certificate for these host names and addresses; True when the latter is new.

        Made anew when its names differ or it ends within `RENEW_BEFORE`. What a kill leaves is the pair there was, or a
        key without its certificate, which the next call replaces.
        """
        now = now or datetime.now(UTC)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.ca.exists() and self._ca_key.exists()):
            self._make_ca(now)
        wanted = list(dict.fromkeys([*names, "localhost", "127.0.0.1"]))
        if self._serves(wanted, now):
            return False
        self._make_server(wanted, now)
        return True

    def ends(self) -> datetime | None:
        """When the server certificate ends."""
        if not self.cert.exists():
            return None
        return x509.load_pem_x509_certificate(self.cert.read_bytes()).not_valid_after_utc

    def _serves(self, names: Sequence[str], now: datetime) -> bool:
        if not (self.cert.exists() and self.key.exists()):
            return False
        cert = x509.load_pem_x509_certificate(self.cert.read_bytes())
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        held = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        have = [*held.get_values_for_type(x509.DNSName), *map(str, held.get_values_for_type(x509.IPAddress))]
        return (
            sorted(have) == sorted(names)
            and cert.not_valid_after_utc - now > RENEW_BEFORE
            and key.public_key() == cert.public_key()
            and cert.issuer == x509.load_pem_x509_certificate(self.ca.read_bytes()).subject
        )

    def _make_ca(self, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Lien Thong gates {now:%Y%m%d%H%M%S}")])
        usage = x509.KeyUsage(
            digital_signature=False, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        cert = (
            _begun(name, name, key.public_key(), now, CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(self._ca_key, _pem(key))
        write_private(self.ca, cert.public_bytes(serialization.Encoding.PEM))

    def _make_server(self, names: Sequence[str], now: datetime) -> None:
        ca = x509.load_pem_x509_certificate(self.ca.read_bytes())
        ca_key = serialization.load_pem_private_key(self._ca_key.read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=False, crl_sign=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        cert = (
            _begun(subject, ca.subject, key.public_key(), now, SERVER_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        write_private(self.key, _pem(key))
        write_private(self.cert, cert.public_bytes(serialization.Encoding.PEM))


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
