"""A public-key infrastructure of the tests' own: a root, an authority below it, signers, revocation lists. Nothing of it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.COUNTRY_NAME, "VN")])


class Party:
    """A key with its certificate, signed by `by` (None: by itself)."""

    def __init__(
        self,
        name: str,
        by: Party | None = None,
        *,
        authority: bool = False,
        since: datetime = NOW - YEAR,
        until: datetime = NOW + YEAR,
        purposes: Sequence[x509.ObjectIdentifier] = (),
        critical: bool = True,
    ) -> None:
        self.name = named(name)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        issuer = by or self
        usage = x509.KeyUsage(
            digital_signature=not authority, content_commitment=not authority, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=authority, crl_sign=authority, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        made = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        if purposes:
            made = made.add_extension(x509.ExtendedKeyUsage(purposes), critical=critical)
        self.certificate = made.sign(issuer.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def revoke(
        self, *parties: Party, at: datetime = NOW - timedelta(days=30), doubted: datetime | None = None
    ) -> bytes:
        """A revocation list (DER); `doubted`: since when their keys are said to have been known to others."""
        made: Any = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(NOW - timedelta(days=1))
            .next_update(NOW + YEAR)
        )
        for party in parties:
            entry = x509.RevokedCertificateBuilder().serial_number(party.certificate.serial_number).revocation_date(at)
            if doubted is not None:
                entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
                entry = entry.add_extension(x509.InvalidityDate(doubted.replace(tzinfo=None)), critical=False)
            made = made.add_revoked_certificate(entry.build())
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        made = made.add_extension(x509.CRLNumber(1), critical=False)
        return bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def along(names: Sequence[tuple[str, str]]) -> list[asn1.Certificate]:
    """Certificates (subject, issuer) that say they are authorities, all of one key, by nobody that is trusted."""
    key, found = rsa.generate_private_key(public_exponent=65537, key_size=2048), []
    for subject, issuer in names:
        made = (
            x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named(issuer)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(NOW - YEAR).not_valid_after(NOW + YEAR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )  # fmt: skip
        found.append(asn1.Certificate.load(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)))
    return found


class World:
    """Root → authority → signer, and a folder of what is trusted."""

    def __init__(self, folder: Path) -> None:
        self.root = Party("Tests Root", authority=True)
        self.authority = Party("Tests CA", self.root, authority=True)
        self.signer = Party("Nguyễn Văn Ký", self.authority)
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "root.crt").write_bytes(self.root.pem)
        (folder / "ca.pem").write_bytes(self.authority.pem)
