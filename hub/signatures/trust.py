"""Whose certificates are believed: a folder with authorities' certificates and revocation lists, as an administrator put them there.

One concern: the chain. Revocation data is what is given; nothing is fetched. It must never believe a certificate because
it came along with a document.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asn1crypto import crl, ocsp, pem, x509
from msgspec import Struct, field
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import InvalidCertificateError, PathError, RevokedError, ValidationError
from pyhanko_certvalidator.policy_decl import CertRevTrustPolicy, RevocationCheckingPolicy, RevocationCheckingRule

from hub.kernel.ports import Text
from hub.signatures import REVOKED, UNTRUSTED


class Trust(Struct, frozen=True):
    """Authorities (*.crt, *.cer, *.pem), revocation lists (*.crl) and OCSP answers (*.ocsp), DER or PEM."""

    roots: list[Any] = field(default_factory=list)
    crls: list[Any] = field(default_factory=list)
    ocsps: list[Any] = field(default_factory=list)

    def context(self, leaf: Any, moment: datetime, others: Iterable[Any] = ()) -> ValidationContext:
        """How a chain is judged at a moment. Where an authority's revocation data was given, no certificate of its own is
        believed without."""
        known = self.ocsps or any(c.issuer == leaf.issuer for c in self.crls)
        rule = RevocationCheckingRule.CRL_OR_OCSP_REQUIRED if known else RevocationCheckingRule.NO_CHECK
        above = any(c.issuer == r.subject for c in self.crls for r in self.roots if r.self_issued)
        over = RevocationCheckingRule.CRL_OR_OCSP_REQUIRED if above else RevocationCheckingRule.NO_CHECK
        policy = RevocationCheckingPolicy(ee_certificate_rule=rule, intermediate_ca_cert_rule=over)
        return ValidationContext(
            trust_roots=[r for r in self.roots if r.self_issued],
            other_certs=[*(r for r in self.roots if not r.self_issued), *others],
            crls=self.crls, ocsps=self.ocsps, moment=moment, allow_fetching=False,
            revinfo_policy=CertRevTrustPolicy(policy, retroactive_revinfo=True),
        )  # fmt: skip

    async def problem(self, leaf: Any, others: Iterable[Any], moment: datetime) -> Text | None:
        """Why a certificate may not be believed at a moment, or None."""
        if not any(r.self_issued for r in self.roots):
            return UNTRUSTED
        try:
            validator = CertificateValidator(leaf, list(others), self.context(leaf, moment, others))
            await validator.async_validate_usage(set())
        except RevokedError as error:
            when = error.revocation_dt
            # Revoked later than it signed: what it signed before stands.
            return None if when is not None and when > moment else REVOKED
        except (InvalidCertificateError, PathError, ValidationError):
            return UNTRUSTED
        return None


def load(folder: Path | None) -> Trust:
    """The folder's contents; no folder: nobody is believed. Raises ValueError naming a file that cannot be read."""
    trust = Trust()
    if folder is None or not folder.is_dir():
        return trust
    for path in sorted(folder.iterdir()):
        kind = path.suffix.lower()
        try:
            if kind in (".crt", ".cer", ".pem"):
                trust.roots.extend(x509.Certificate.load(der) for der in _ders(path.read_bytes()))
            elif kind == ".crl":
                trust.crls.extend(crl.CertificateList.load(der) for der in _ders(path.read_bytes()))
            elif kind == ".ocsp":
                trust.ocsps.append(ocsp.OCSPResponse.load(path.read_bytes()))
            for entry in (*trust.roots, *trust.crls):
                entry.native  # noqa: B018  parsed to the end, or refused here
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
    return trust


def _ders(data: bytes) -> list[bytes]:
    return [der for _, _, der in pem.unarmor(data, multiple=True)] if pem.detect(data) else [data]


def aware(moment: datetime | None) -> datetime:
    """A signing time with its zone; now when a signer gave none."""
    if moment is None:
        return datetime.now(UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
