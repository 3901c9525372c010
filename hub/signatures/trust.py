"""Whose certificates are believed: a folder with authorities' certificates and revocation lists, as an administrator put them there.

One concern: the chain. Revocation data is what is given; nothing is fetched. It must never believe a certificate because
it came along with a document, nor the time a signer claims where a revocation is known: whoever holds a stolen key can claim any
time before it was reported. Only a time that a trusted stamp proves stands against a revocation, and only against a later one.
Nor may what came along decide how long judging takes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asn1crypto import crl, ocsp, pem, x509
from msgspec import Struct, field
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import InvalidCertificateError, PathError, RevokedError, ValidationError
from pyhanko_certvalidator.policy_decl import CertRevTrustPolicy, RevocationCheckingPolicy, RevocationCheckingRule

from hub.kernel.ports import Text
from hub.signatures import REVOKED, UNCHECKED, UNTRUSTED

log = logging.getLogger("hub.signatures")

_ALONG = 16
"""Certificates that come with a signature, beside the signer's own; a whole chain has three or four."""
_WAYS = 512
"""Steps up on all ways there are, a tenth of a second for the library; sixteen certificates one above the other have 136."""


class Trust(Struct, frozen=True):
    """Authorities (*.crt, *.cer, *.pem), revocation lists (*.crl) and OCSP answers (*.ocsp), DER or PEM.

    `refused` names the files that cannot be read, each with why. With one that tells revocations among them (`blind`) no
    signature holds: whom it revokes is not known.
    """

    roots: list[Any] = field(default_factory=list)
    crls: list[Any] = field(default_factory=list)
    ocsps: list[Any] = field(default_factory=list)
    revoked: dict[tuple[str | bytes, int], datetime] = field(default_factory=dict)
    """Since when: by the number of a certificate with its issuer's name, as lists have it, or its hash, as OCSP answers do."""
    answering: set[bytes] = field(default_factory=set)
    """Hashes of the names of the authorities whose certificates the OCSP answers are about."""
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def blind(self) -> bool:
        return any(not name.lower().endswith(_AUTHORITIES) for name in self.refused)

    def knows_revoked(self, certificate: Any, proved: datetime | None = None) -> bool:
        """Whether any list or answer says so: whatever the time it gives, or, once a time is proved, not after that."""
        issuer, number = certificate.issuer, certificate.serial_number
        since = [self.revoked.get((name, number)) for name in (issuer.hashable, *_hashed(issuer))]
        return any(one is not None and (proved is None or one <= proved) for one in since)

    def _answered_later(self, certificate: Any, moment: datetime) -> bool:
        """Whether an OCSP answer says that it was revoked after a moment: so it was not revoked at that moment."""
        since = [self.revoked.get((name, certificate.serial_number)) for name in _hashed(certificate.issuer)]
        return any(one is not None and one > moment for one in since)

    def _names_above(self, leaf: Any, others: Iterable[Any]) -> set[str]:
        """Of whoever may stand above a certificate, by what the known ones say of their issuers."""
        known = [(c.subject.hashable, c.issuer.hashable) for c in (*self.roots, *others)]
        names = {leaf.issuer.hashable}
        while more := {issuer for subject, issuer in known if subject in names} - names:
            names |= more
        return names

    def _ways_up(self, leaf: Any, others: list[Any]) -> int:
        """How many steps up, by names, there are on all ways from a certificate or one that came with it: the library takes
        every one, and a few certificates of one name are enough for more than it can ever take. Counts no further than needed."""
        above: dict[str, set[tuple[bytes, str | None]]] = {}
        for known, end in ((others, False), (self.roots, True)):
            for c in known:
                issuer = None if end and c.self_issued else c.issuer.hashable
                above.setdefault(c.subject.hashable, set()).add((c.issuer_serial, issuer))
        ways = [(c.issuer.hashable, frozenset({c.issuer_serial})) for c in (leaf, *others)]
        steps = 0
        while ways and steps <= _WAYS:
            name, behind = ways.pop()
            for one, issuer in above.get(name, ()):
                if issuer is None or one not in behind:
                    steps += 1
                    if issuer is not None:
                        ways.append((issuer, behind | {one}))
        return steps

    def context(self, leaf: Any, moment: datetime, others: Iterable[Any] = ()) -> ValidationContext:
        """How a chain is judged at a moment. Where an authority's revocation data was given, no certificate of its own is
        believed without. Raises ValueError where `others`, which came along, are too many or lead to one another in too many
        ways."""
        others = list(others)
        if len(others) > _ALONG or self._ways_up(leaf, others) > _WAYS:
            raise ValueError("more certificates came along than a chain has")
        known = any(c.issuer == leaf.issuer for c in self.crls) or any(
            h in self.answering for h in _hashed(leaf.issuer)
        )
        # The library takes an answer that tells of a later revocation for none at all.
        known = known and not self._answered_later(leaf, moment)
        rule = RevocationCheckingRule.CRL_OR_OCSP_REQUIRED if known else RevocationCheckingRule.NO_CHECK
        names = self._names_above(leaf, others)
        tops = {r.subject.hashable for r in self.roots if r.self_issued} & names
        above = any(c.issuer.hashable in tops for c in self.crls)
        over = RevocationCheckingRule.CRL_OR_OCSP_REQUIRED if above else RevocationCheckingRule.NO_CHECK
        policy = RevocationCheckingPolicy(ee_certificate_rule=rule, intermediate_ca_cert_rule=over)
        return ValidationContext(
            trust_roots=[r for r in self.roots if r.self_issued],
            other_certs=[*(r for r in self.roots if not r.self_issued), *others],
            crls=self.crls, ocsps=self.ocsps, moment=moment, allow_fetching=False,
            revinfo_policy=CertRevTrustPolicy(policy, retroactive_revinfo=True),
        )  # fmt: skip

    async def problem(
        self, leaf: Any, others: Iterable[Any], claimed: datetime, proved: datetime | None = None
    ) -> Text | None:
        """Why a certificate may not be believed, or None: its chain at the time proved, or else at the one it claims, and
        revocations known now, but for those after the time proved."""
        moment, others = proved or claimed, list(others)
        if self.knows_revoked(leaf, proved):
            return REVOKED
        if not any(r.self_issued for r in self.roots):
            return UNTRUSTED
        try:
            validator = CertificateValidator(leaf, others, self.context(leaf, moment, others))
            path = await validator.async_validate_usage(set())
        except RevokedError:
            return REVOKED
        except (InvalidCertificateError, PathError, ValidationError):
            return UNTRUSTED
        if any(self.knows_revoked(c, proved) for c in path.iter_certs(include_root=True)):
            return REVOKED
        return UNCHECKED if self.blind else None


_AUTHORITIES = (".crt", ".cer", ".pem")
_REVOCATIONS = (".crl", ".ocsp")
_Revocations = Iterator[tuple[tuple[str | bytes, int], datetime]]


def load(folder: Path | None) -> Trust:
    """The folder's contents; no folder: nobody is believed. Files that cannot be read are passed over and named in
    `refused`. What was read is kept until a file of the folder changes."""
    if folder is None or not folder.is_dir():
        return Trust()
    try:
        stands = [
            (path, stat.st_mtime_ns, stat.st_size, stat.st_ino)
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in (*_AUTHORITIES, *_REVOCATIONS)
            for stat in (path.stat(),)
        ]
    except OSError as error:
        log.error("trusted certificates: the folder cannot be read: %s", error.strerror)
        return Trust(refused={folder.name: str(error.strerror)})
    known = _kept.get(folder)
    if known is None or known[0] != stands:
        known = _kept[folder] = (stands, _read([path for path, *_ in stands]))
    return known[1]


_kept: dict[Path, tuple[list[Any], Trust]] = {}


def _read(paths: list[Path]) -> Trust:
    trust = Trust()
    for path in paths:
        kind = path.suffix.lower()
        try:
            if kind in _AUTHORITIES:
                found = [x509.Certificate.load(der) for der in _ders(path.read_bytes())]
                for certificate in found:
                    certificate.native  # noqa: B018  parsed to the end, or refused here
                trust.roots.extend(found)
            elif kind == ".crl":
                lists = [crl.CertificateList.load(der) for der in _ders(path.read_bytes())]
                for one in lists:
                    _earliest(trust.revoked, _listed(one))
                trust.crls.extend(lists)
            else:
                answer = ocsp.OCSPResponse.load(path.read_bytes())
                _earliest(trust.revoked, _answered(answer))
                trust.answering.update(
                    one["cert_id"]["issuer_name_hash"].native for one in answer.response_data["responses"]
                )
                trust.ocsps.append(answer)
        except (OSError, ValueError, TypeError, KeyError) as error:
            trust.refused[path.name] = str(error)[:200]
            log.error("trusted certificates: %s cannot be read: %s", path.name, str(error)[:200])
    return trust


def _earliest(known: dict[tuple[str | bytes, int], datetime], told: _Revocations) -> None:
    for key, since in told:
        known[key] = min(since, known.get(key, since))


def _listed(one: Any) -> _Revocations:
    """Who is on a list, and since when: the time the list gives, or the one from which a certificate is said to have been
    worth nothing (invalidity date), if that is earlier."""
    for entry in one.native["tbs_cert_list"]["revoked_certificates"] or []:
        doubted = [
            extension["extn_value"]
            for extension in entry["crl_entry_extensions"] or []
            if extension["extn_id"] == "invalidity_date"
        ]
        yield (one.issuer.hashable, entry["user_certificate"]), min([entry["revocation_date"], *doubted])


def _answered(answer: Any) -> _Revocations:
    """What an OCSP answer says is revoked, and since when; it names the issuer by whichever hash its asker chose."""
    for one in answer.response_data["responses"]:
        if one["cert_status"].name == "revoked":
            doubted = one.invalidity_date_value
            times = [one["cert_status"].chosen["revocation_time"].native, *([doubted.native] if doubted else [])]
            yield (one["cert_id"]["issuer_name_hash"].native, one["cert_id"]["serial_number"].native), min(times)


def _hashed(name: Any) -> list[bytes]:
    return [hash_(name.dump()).digest() for hash_ in (hashlib.sha1, hashlib.sha256)]


def _ders(data: bytes) -> list[bytes]:
    return [der for _, _, der in pem.unarmor(data, multiple=True)] if pem.detect(data) else [data]


def aware(moment: datetime | None) -> datetime:
    """A signing time with its zone; now when a signer gave none."""
    if moment is None:
        return datetime.now(UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
