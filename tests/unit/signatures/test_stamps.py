"""Time stamps on signatures: what they prove and who may say so, and that no other proves a thing."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from asn1crypto import algos, cms, core, tsp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ReasonFlags
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponderEncoding, OCSPResponseBuilder
from cryptography.x509.oid import ExtendedKeyUsageOID
from lxml import etree
from pyhanko.sign.timestamps import dummy_client

from hub.kernel.documents import XML
from hub.signatures import (
    REVOKED,
    STAMP_FUTURE,
    STAMP_OTHER,
    STAMP_UNREADABLE,
    STAMP_UNTRUSTED,
    UNCHECKED,
    UNTRUSTED,
)
from hub.signatures.stamps import LARGEST, MOST, Token, judge
from hub.signatures.trust import load
from tests.pki import NOW, YEAR, Party, along
from tests.unit.signatures.stamping import (
    C14N,
    C14N11,
    DAY,
    EXCLUSIVE,
    STAMPING,
    Kind,
    Stamper,
    Stamping,
    covered,
    in_pdf,
    in_xml,
    judged,
    stamped,
)
from tests.unit.signatures.test_signatures import DS, xml

BOTH = pytest.mark.parametrize("made", [in_xml, in_pdf])


# ------------------------------------------------------------------------------------------------ what one proves


@BOTH
def test_a_good_stamp_proves_its_time_beside_the_one_claimed(world: Stamping, made: Kind) -> None:
    then = NOW - 10 * DAY
    one = judged(world, *made(world, Stamper(world.tsa, then)))
    assert one.problems == () and one.stamped_at == then.isoformat() and one.signed_at != one.stamped_at
    # What it leaves open counts as later.
    one = judged(world, *made(world, Stamper(world.tsa, then, accuracy=5)))
    assert one.problems == () and one.stamped_at == (then + timedelta(seconds=5)).isoformat()


@BOTH
def test_without_a_stamp_no_time_is_proved(world: Stamping, made: Kind) -> None:
    body, kind, held = made(world, Stamper(world.tsa))
    assert judged(world, xml(world), XML).stamped_at is None
    assert judged(world, body.replace(held, held[::-1]), kind).stamped_at is None


@BOTH
def test_the_chain_is_judged_at_the_time_proved(world: Stamping, made: Kind) -> None:
    over = Party("Đã hết hạn", world.authority, since=NOW - YEAR, until=NOW - 30 * DAY)
    assert judged(world, *made(world, Stamper(world.tsa, NOW - 60 * DAY), over)).problems == ()
    assert judged(world, *made(world, Stamper(world.tsa, NOW), over)).problems == (UNTRUSTED,)
    fresh = Party("Mới cấp", world.authority, since=NOW - 10 * DAY)
    assert judged(world, *made(world, Stamper(world.tsa, NOW - 60 * DAY), fresh)).problems == (UNTRUSTED,)


@BOTH
def test_a_signer_revoked_after_the_time_proved_still_signed_and_one_before_did_not(
    world: Stamping, made: Kind
) -> None:
    early, late = made(world, Stamper(world.tsa, NOW - 60 * DAY)), made(world, Stamper(world.tsa, NOW - 10 * DAY))
    list_ = world.folder / "ca.crl"
    list_.write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    assert judged(world, *early).problems == () and judged(world, *late).problems == (REVOKED,)
    assert judged(world, *late).stamped_at == (NOW - 10 * DAY).isoformat(), "proved, and of no help"
    # To the second: revoked at the very time is not after it.
    list_.write_bytes(world.authority.revoke(world.signer, at=NOW - 60 * DAY))
    assert judged(world, *early).problems == (REVOKED,)
    list_.write_bytes(world.authority.revoke(world.signer, at=NOW - 60 * DAY + timedelta(seconds=1)))
    assert judged(world, *early).problems == ()
    # A key known to others before it was reported.
    list_.write_bytes(world.authority.revoke(world.signer, at=NOW - 5 * DAY, doubted=NOW - 30 * DAY))
    assert judged(world, *early).problems == () and judged(world, *late).problems == (REVOKED,)
    # Of two that tell, the earlier.
    list_.write_bytes(world.authority.revoke(world.signer, at=NOW - 5 * DAY))
    assert judged(world, *late).problems == ()
    (world.folder / "another.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 15 * DAY))
    assert judged(world, *late).problems == (REVOKED,)
    assert list(load(world.folder).revoked.values()) == [NOW - 15 * DAY]


@BOTH
def test_an_authority_revoked_after_the_time_proved_had_not_been_then(world: Stamping, made: Kind) -> None:
    document = made(world, Stamper(world.tsa, NOW - 60 * DAY))
    list_ = world.folder / "root.crl"
    list_.write_bytes(world.root.revoke(world.authority, at=NOW - 30 * DAY))
    assert judged(world, *document).problems == ()
    list_.write_bytes(world.root.revoke(world.authority, at=NOW - 90 * DAY))
    assert judged(world, *document).problems == (REVOKED,)


@BOTH
def test_an_ocsp_answer_counts_by_the_time_it_names(world: Stamping, made: Kind) -> None:
    document = made(world, Stamper(world.tsa, NOW - 20 * DAY))
    for since, problems in ((NOW - 10 * DAY, ()), (NOW - 30 * DAY, (REVOKED,))):
        built: Any = OCSPResponseBuilder().add_response(
            cert=world.signer.certificate, issuer=world.authority.certificate, algorithm=hashes.SHA256(),
            cert_status=OCSPCertStatus.REVOKED, this_update=NOW - DAY, next_update=NOW + YEAR,
            revocation_time=since, revocation_reason=ReasonFlags.superseded,
        )  # fmt: skip
        built = built.responder_id(OCSPResponderEncoding.NAME, world.authority.certificate)
        answer = built.sign(world.authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        (world.folder / "signer.ocsp").write_bytes(answer)
        assert judged(world, *document).problems == problems


# ------------------------------------------------------------------------------------------------ those that do not hold


@BOTH
def test_a_stamp_of_something_else_is_a_problem_and_proves_nothing(world: Stamping, made: Kind) -> None:
    one = judged(world, *made(world, Stamper(world.tsa, over=bytes(32))))
    assert one.problems == (STAMP_OTHER,) and one.stamped_at is None
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW + DAY))
    one = judged(world, *made(world, Stamper(world.tsa, over=bytes(32))))
    assert set(one.problems) == {REVOKED, STAMP_OTHER}


@cache
def _others(root: Party) -> list[Party]:
    mail = ExtendedKeyUsageOID.EMAIL_PROTECTION
    return [
        Party("Người lạ", None, purposes=STAMPING),
        Party("Dưới gốc lạ", Party("Gốc lạ", authority=True), purposes=STAMPING),
        Party("Không có quyền", root),
        Party("Quyền khác", root, purposes=(mail,)),
        Party("Quyền không bắt buộc", root, purposes=STAMPING, critical=False),
        Party("Nhiều quyền", root, purposes=(*STAMPING, mail)),
        Party("Đã hết hạn", root, purposes=STAMPING, since=NOW - YEAR, until=NOW - DAY),
        Party("Không để ký", root, purposes=STAMPING, authority=True),
    ]


@BOTH
def test_only_a_trusted_authority_whose_certificate_says_so_may_stamp(world: Stamping, made: Kind) -> None:
    for tsa in _others(world.stamp_root):
        one = judged(world, *made(world, Stamper(tsa)))
        assert one.problems == (STAMP_UNTRUSTED,) and one.stamped_at is None, tsa.name


@BOTH
def test_an_authority_that_was_revoked_at_any_time_proves_nothing(world: Stamping, made: Kind) -> None:
    document = made(world, Stamper(world.tsa, NOW - 60 * DAY))
    list_ = world.folder / "tsa.crl"
    for since in (NOW - 90 * DAY, NOW - DAY):
        list_.write_bytes(world.stamp_root.revoke(world.tsa, at=since))
        one = judged(world, *document)
        assert one.problems == (STAMP_UNTRUSTED,) and one.stamped_at is None
    list_.write_bytes(world.stamp_root.revoke(Party("Người khác", world.stamp_root)))
    assert judged(world, *document).problems == ()
    list_.write_bytes(b"0\x03nothing")
    assert judged(world, *document).problems == (UNCHECKED,), "whom a list revokes that cannot be read, nobody knows"


@BOTH
def test_a_stamp_from_the_future_does_not_hold(world: Stamping, made: Kind) -> None:
    one = judged(world, *made(world, Stamper(world.tsa, NOW + DAY)))
    assert one.problems == (STAMP_FUTURE,) and one.stamped_at is None


@BOTH
def test_a_time_written_over_another_does_not_hold(world: Stamping, made: Kind) -> None:
    body, kind, held = made(world, Stamper(world.tsa, NOW - DAY))
    token = base64.b64decode(held) if kind == XML else bytes.fromhex(held.decode())
    said, wanted = (f"{at:%Y%m%d%H%M%SZ}".encode() for at in (NOW - DAY, NOW - 60 * DAY))
    assert token.count(said) == 1
    forged = token.replace(said, wanted)
    changed = base64.b64encode(forged) if kind == XML else forged.hex().upper().encode()
    one = judged(world, body.replace(held, changed), kind)
    assert one.problems == (STAMP_OTHER,) and one.stamped_at is None


@BOTH
def test_a_damaged_stamp_is_all_that_is_wrong_with_the_signature(world: Stamping, made: Kind) -> None:
    body, kind, held = made(world, Stamper(world.tsa))
    one = judged(world, body.replace(held, held[:60] + b"00" * ((len(held) - 60) // 2)), kind)
    assert one.problems == (STAMP_UNREADABLE,) and one.stamped_at is None


@BOTH
def test_another_documents_stamp_proves_nothing_for_this_one(world: Stamping, made: Kind) -> None:
    """Whoever holds a stolen key has the stamps of what its owner signed before."""
    stamper = Stamper(world.tsa, NOW - 60 * DAY)
    _, _, old = made(world, stamper)
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer))
    body, kind, new = made(world, stamper)
    assert len(old) == len(new) and old != new
    one = judged(world, body.replace(new, old), kind)
    assert set(one.problems) == {REVOKED, STAMP_OTHER} and one.stamped_at is None


def test_a_weak_hash_proves_nothing(world: Stamping) -> None:
    root = etree.fromstring(xml(world))
    one = judged(world, stamped(root, Stamper(world.tsa).token(covered(root), "sha1")), XML)
    assert one.problems == (STAMP_OTHER,)
    stamper = Stamper(world.tsa)
    stamper.override_md = "sha1"
    one = judged(world, in_xml(world, stamper)[0], XML)
    assert one.problems == (STAMP_UNTRUSTED,), "what the authority signed it with"


def test_a_stamp_has_to_say_which_certificate_signed_it(world: Stamping, monkeypatch: pytest.MonkeyPatch) -> None:
    said = dummy_client.simple_cms_attribute
    time = cms.Time({"utc_time": core.UTCTime(NOW)})
    monkeypatch.setattr(
        dummy_client,
        "simple_cms_attribute",
        lambda name, value: said("signing_time", time) if name == "signing_certificate" else said(name, value),
    )
    assert judged(world, in_xml(world, Stamper(world.tsa))[0], XML).problems == (STAMP_OTHER,)


# ------------------------------------------------------------------------------------------------ several, and how XML says it


def test_of_several_the_earliest_counts_and_none_that_fails_is_passed_over(world: Stamping) -> None:
    root = etree.fromstring(xml(world))
    covers = covered(root)
    first, second = (Stamper(world.tsa, NOW - days * DAY).token(covers) for days in (20, 10))
    one = judged(world, stamped(root, second, first), XML)
    assert one.problems == () and one.stamped_at == (NOW - 20 * DAY).isoformat()
    root = etree.fromstring(xml(world))
    one = judged(world, stamped(root, second, Stamper(world.tsa, NOW - DAY).token(covered(root))), XML)
    assert one.problems == (STAMP_OTHER,) and one.stamped_at == (NOW - DAY).isoformat()


def test_the_work_is_bounded(world: Stamping) -> None:
    root = etree.fromstring(xml(world))
    token = Stamper(world.tsa).token(covered(root))
    one = judged(world, stamped(root, *[token] * (MOST + 1)), XML)
    assert one.problems == (STAMP_UNREADABLE,) and one.stamped_at is None
    # Whoever hands the tokens over, and whatever else there is to them.
    trust, covers = load(world.folder), covered(root)
    assert asyncio.run(judge(lambda: [Token(token, covers)], trust)).problems == ()
    assert asyncio.run(judge(lambda: [Token(token, covers)] * (MOST + 1), trust)).problems == (STAMP_UNREADABLE,)
    large = cms.ContentInfo.load(token)
    note = cms.CMSAttribute({"type": "1.2.3", "values": [core.OctetString(bytes(LARGEST))]})
    large["content"]["signer_infos"][0]["unsigned_attrs"] = cms.CMSAttributes([note])
    crowded = cms.ContentInfo.load(token)
    more = [cms.CertificateChoices("certificate", one) for one in along([("nobody", "no one")] * 17)]
    crowded["content"]["certificates"] = [*crowded["content"]["certificates"], *more]
    for odd in (large.dump(force=True), crowded.dump(force=True)):
        assert asyncio.run(judge(lambda odd=odd: [Token(odd, covers)], trust)).problems == (STAMP_UNREADABLE,)


AROUND = b"<hocba xmlns='urn:thu' xmlns:them='urn:them' xml:lang='vi' xml:base='urn:goc'><diem them:mon='toan'>8</diem></hocba>"


@pytest.mark.parametrize("method", [None, C14N, C14N11, EXCLUSIVE, f"{C14N}#WithComments", f"{EXCLUSIVE}WithComments"])
def test_each_standard_canonical_form_of_the_value_is_stamped(world: Stamping, method: str | None) -> None:
    """By the bytes the standards give for it, written out: namespaces of the elements around, and attributes of xml:."""
    root = etree.fromstring(xml(world, document=AROUND))
    value = root.find(f"{DS}Signature/{DS}SignatureValue").text
    ds = b'xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
    xades = b'xmlns:xades="http://uri.etsi.org/01903/v1.3.2#"'
    begin = {
        EXCLUSIVE: b"<ds:SignatureValue %s>" % ds,
        C14N: b'<ds:SignatureValue xmlns="urn:thu" %s xmlns:them="urn:them" %s xml:base="urn:goc" xml:lang="vi">'
        % (ds, xades),
        C14N11: b'<ds:SignatureValue xmlns="urn:thu" %s xmlns:them="urn:them" %s xml:lang="vi">' % (ds, xades),
    }
    for form, start in begin.items():
        token = Stamper(world.tsa).token(start + value.encode() + b"</ds:SignatureValue>")
        body = stamped(etree.fromstring(etree.tostring(root)), token, method=method)
        wanted = (method or C14N) in (form, f"{form}#WithComments", f"{form}WithComments")
        assert judged(world, body, XML).problems == (() if wanted else (STAMP_OTHER,)), (method, form)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'Algorithm="{C14N}"/><xades:Enc', 'Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/><xades:Enc'),
        ("<xades:EncapsulatedTimeStamp>", '<xades:Include URI="#x"/><xades:EncapsulatedTimeStamp>'),
        ("xades:EncapsulatedTimeStamp>", "xades:XMLTimeStamp>"),
        ("<xades:EncapsulatedTimeStamp>", "<xades:EncapsulatedTimeStamp>!"),
        ("<xades:EncapsulatedTimeStamp>", "<xades:EncapsulatedTimeStamp>AA=="),
        ("</ds:SignatureValue>", "<!-- --></ds:SignatureValue>"),
    ],
)
def test_a_stamp_said_in_another_way_cannot_be_read(world: Stamping, old: str, new: str) -> None:
    body, kind, _ = in_xml(world, Stamper(world.tsa))
    assert old.encode() in body
    one = judged(world, body.replace(old.encode(), new.encode()), kind)
    assert STAMP_UNREADABLE in one.problems and one.stamped_at is None


def test_a_token_without_the_certificates_or_of_another_kind_cannot_be_read(world: Stamping) -> None:
    root = etree.fromstring(xml(world))
    token = Stamper(world.tsa).token(covered(root))
    bare = tsp.ContentInfo.load(token)
    del bare["content"]["certificates"]
    other = tsp.ContentInfo({"content_type": "data", "content": core.OctetString(b"x")}).dump()
    answer = algos.DigestAlgorithm({"algorithm": "sha256"}).dump()
    for odd in (bare.dump(force=True), other, answer, b"", token + b"\x00"):
        one = judged(world, stamped(etree.fromstring(etree.tostring(root)), odd), XML)
        assert one.problems == (STAMP_UNREADABLE,), odd[:20]
