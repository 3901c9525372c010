"""Signatures on documents: good ones hold; altered, wrapped, partial, untrusted, expired and revoked ones do not."""

from __future__ import annotations

import asyncio
import base64
import copy
import io
import itertools
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from asn1crypto import x509 as asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponderEncoding, OCSPResponseBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from pyhanko.pdf_utils.generic import DictionaryObject, StreamObject, pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko_certvalidator.registry import SimpleCertificateStore
from signxml import SignatureConstructionMethod
from signxml.xades import XAdESSigner

from hub.kernel.documents import PDF, XML, kind_of
from hub.signatures import ALTERED, REVOKED, UNCHECKED, UNREADABLE, UNTRUSTED, verify
from hub.signatures.trust import load
from tests.pki import NOW, YEAR, Party, World, along

DOCUMENT = b"<hocba xmlns='urn:thu'><hocsinh>3100000001</hocsinh><diem mon='toan'>8.5</diem></hocba>"
DS = "{http://www.w3.org/2000/09/xmldsig#}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("trust"))


def judged(world: World, body: bytes, kind: str) -> Any:
    return asyncio.run(verify(body, kind, load(world.folder)))


def problems(verdict: Any) -> set[Any]:
    return {p for s in verdict.signatures for p in s.problems}


# ------------------------------------------------------------------------------------------------ XML


def xml(world: World, signer: Party | None = None, document: bytes = DOCUMENT, **how: Any) -> bytes:
    by = signer or world.signer
    made = XAdESSigner(
        method=how.get("method", SignatureConstructionMethod.enveloped),
        signature_algorithm="rsa-sha256",
        digest_algorithm="sha256",
    ).sign(
        etree.fromstring(document),
        key=by.key_pem,
        cert=(by.pem + world.authority.pem).decode(),
        reference_uri=how.get("uri"),
    )
    return bytes(etree.tostring(made))


def test_a_good_xades_signature_holds_and_names_its_signer(world: World) -> None:
    body = xml(world)
    assert kind_of(body) == XML
    verdict = judged(world, body, XML)
    assert verdict.state == "good", verdict
    (signature,) = verdict.signatures
    assert "Nguyễn Văn Ký" in signature.signer and "Tests CA" in signature.issuer and signature.signed_at


@pytest.mark.parametrize("old", [b"8.5", b"3100000001", b"toan"])
def test_altered_xml_is_found(world: World, old: bytes) -> None:
    assert ALTERED in problems(judged(world, xml(world).replace(old, b"9" * len(old)), XML))


def test_a_signed_element_moved_into_another_document_is_not_that_document(world: World) -> None:
    signed = etree.fromstring(xml(world, document=b"<hocba xmlns='urn:thu' Id='a'><diem>8.5</diem></hocba>", uri="#a"))
    wrapper = etree.fromstring("<hocba xmlns='urn:thu'><diem>10</diem></hocba>")
    wrapper.append(signed)
    assert judged(world, etree.tostring(wrapper), XML).state == "bad"
    # The signature taken out of what it signs, with the original tucked away.
    forged = etree.fromstring("<hocba xmlns='urn:thu' Id='a'><diem>10</diem></hocba>")
    signature = copy.deepcopy(signed.find(f"{DS}Signature"))
    hidden = etree.SubElement(forged, "hidden")
    hidden.append(copy.deepcopy(signed))
    forged.append(signature)
    assert judged(world, etree.tostring(forged), XML).state == "bad"


def test_a_reference_that_leads_away_is_never_followed(world: World) -> None:
    for away in (b"http://127.0.0.1:9/x", b"file:///etc/hostname"):
        assert judged(world, xml(world).replace(b'URI=""', b'URI="%s"' % away, 1), XML).state == "bad"


def test_entities_and_document_types_are_refused(world: World) -> None:
    body = b'<!DOCTYPE h [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + xml(world)
    assert judged(world, body, XML).state == "bad"


# ------------------------------------------------------------------------------------------------ PDF


def blank() -> bytes:
    writer = PdfFileWriter()
    writer.insert_page(
        PageObject(
            contents=writer.add_object(StreamObject(stream_data=b"BT ET")),
            media_box=(0, 0, 200, 200),
            resources=DictionaryObject(),
        )
    )
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def pdf(
    world: World, signer: Party | None = None, body: bytes | None = None, field: str = "Ky1", beside: Sequence[Any] = ()
) -> bytes:
    by = signer or world.signer
    store = SimpleCertificateStore()
    from asn1crypto import keys, pem, x509

    def cert(party: Party) -> Any:
        return x509.Certificate.load(pem.unarmor(party.pem)[2])

    for one in beside or [cert(world.authority)]:
        store.register(one)
    simple = signers.SimpleSigner(
        signing_cert=cert(by), signing_key=keys.PrivateKeyInfo.load(pem.unarmor(by.key_pem)[2]), cert_registry=store
    )
    writer = IncrementalPdfFileWriter(io.BytesIO(body or blank()))
    out = io.BytesIO()
    meta = signers.PdfSignatureMetadata(field_name=field, subfilter=SigSeedSubFilter.PADES)
    signers.sign_pdf(writer, meta, signer=simple, output=out)
    return out.getvalue()


def test_good_pades_signatures_hold_one_after_the_other(world: World) -> None:
    once = pdf(world)
    assert kind_of(once) == PDF
    assert judged(world, once, PDF).state == "good", judged(world, once, PDF)
    twice = pdf(world, Party("Trần Thị Hai", world.authority), once, "Ky2")
    verdict = judged(world, twice, PDF)
    assert verdict.state == "good" and len(verdict.signatures) == 2, verdict


def test_altered_pdf_and_changes_after_signing_are_found(world: World) -> None:
    once = pdf(world)
    assert ALTERED in problems(judged(world, once.replace(b"BT ET", b"BT EX", 1), PDF))
    writer = IncrementalPdfFileWriter(io.BytesIO(once))
    kid = writer.root["/Pages"]["/Kids"].raw_get(0)
    page = kid.get_object()
    page[pdf_name("/Contents")] = writer.add_object(StreamObject(stream_data=b"BT (10.0) Tj ET"))
    writer.mark_update(kid)
    out = io.BytesIO()
    writer.write(out)
    assert ALTERED in problems(judged(world, out.getvalue(), PDF))
    # Whoever signs it again vouches for the whole; the first signer still did not sign that.
    again = pdf(world, Party("Trần Thị Hai", world.authority), out.getvalue(), "Ky2")
    assert judged(world, again, PDF).state == "bad"


# ------------------------------------------------------------------------------------------------ whom to believe


@pytest.mark.parametrize("make", [xml, pdf])
def test_strangers_expired_and_revoked_signers_are_not_believed(world: World, make: Any, tmp_path: Path) -> None:
    kind = XML if make is xml else PDF
    stranger = Party("Tự ký", None)
    assert UNTRUSTED in problems(judged(world, make(world, stranger), kind))
    expired = Party("Hết hạn", world.authority, since=NOW - 2 * YEAR, until=NOW - YEAR)
    assert UNTRUSTED in problems(judged(world, make(world, expired), kind))
    body = make(world)
    assert judged(World(tmp_path / "others"), body, kind).state == "bad"
    assert asyncio.run(verify(body, kind, load(None))).state == "bad", "with nobody trusted nothing is good"
    list_ = world.folder / "ca.crl"
    try:
        list_.write_bytes(world.authority.revoke(world.signer))
        assert REVOKED in problems(judged(world, body, kind))
        # When it signed is what the signer says: nothing proves that it was before.
        list_.write_bytes(world.authority.revoke(world.signer, at=NOW + timedelta(hours=12)))
        assert REVOKED in problems(judged(world, body, kind))
        list_.write_bytes(world.authority.revoke(Party("Người khác", world.authority)))
        assert judged(world, body, kind).state == "good"
    finally:
        list_.unlink()
    # An authority that was itself revoked, however long ago its people signed.
    list_ = world.folder / "root.crl"
    try:
        list_.write_bytes(world.root.revoke(world.authority, at=NOW + timedelta(hours=12)))
        assert REVOKED in problems(judged(world, body, kind))
    finally:
        list_.unlink()


def test_unsigned_documents_have_nothing_against_them(world: World) -> None:
    assert judged(world, DOCUMENT, XML).state == "unsigned"
    assert judged(world, blank(), PDF).state == "unsigned"


def ocsp_of(world: World, status: Any) -> bytes:
    made: Any = OCSPResponseBuilder().add_response(
        cert=world.signer.certificate, issuer=world.authority.certificate, algorithm=hashes.SHA1(), cert_status=status,
        this_update=NOW - timedelta(days=1), next_update=NOW + YEAR,
        revocation_time=NOW + timedelta(hours=12) if status is OCSPCertStatus.REVOKED else None, revocation_reason=None,
    )  # fmt: skip
    made = made.responder_id(OCSPResponderEncoding.NAME, world.authority.certificate)
    return bytes(made.sign(world.authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def test_an_ocsp_answer_that_says_revoked_counts_whatever_time_it_names(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "signer.ocsp").write_bytes(ocsp_of(world, OCSPCertStatus.REVOKED))
    assert REVOKED in problems(judged(world, xml(world), XML))
    (tmp_path / "signer.ocsp").write_bytes(ocsp_of(world, OCSPCertStatus.GOOD))
    assert REVOKED not in problems(judged(world, xml(world), XML))


def test_a_signing_time_beside_what_was_signed_counts_for_nothing(world: World) -> None:
    """Whoever holds a document can add to it what no signature covers, ahead of what one does."""
    signed = etree.fromstring(xml(world))
    signature = signed.find(f"{DS}Signature")
    real = judged(world, etree.tostring(signed), XML).signatures[0].signed_at
    said = etree.fromstring(
        "<ds:Object xmlns:ds='http://www.w3.org/2000/09/xmldsig#' xmlns:x='http://uri.etsi.org/01903/v1.3.2#'>"
        "<x:SignedSignatureProperties><x:SigningTime>2020-01-01T00:00:00Z</x:SigningTime></x:SignedSignatureProperties>"
        "</ds:Object>"
    )
    signature.insert(list(signature).index(signature.find(f"{DS}Object")), said)
    assert real is not None and real == judged(world, etree.tostring(signed), XML).signatures[0].signed_at


def test_a_document_signed_while_the_certificate_was_valid_stays_good(world: World) -> None:
    """When that was is the signer's word; that it has ended since must not pass for an alteration."""
    month = timedelta(days=30)
    gone = Party("Đã hết hạn", world.authority, since=NOW - 3 * month, until=NOW - month)
    with time_machine.travel(NOW - 2 * month):
        then = xml(world, gone), pdf(world, gone)
    for then_, now, kind in ((then[0], xml(world, gone), XML), (then[1], pdf(world, gone), PDF)):
        verdict = judged(world, then_, kind)
        assert verdict.state == "good" and verdict.signatures[0].signed_at < (NOW - month).isoformat(), verdict
        assert problems(judged(world, now, kind)) == {UNTRUSTED}


def test_a_certificate_that_is_none_makes_a_signature_unreadable(world: World) -> None:
    body = xml(world)
    more = body.replace(
        b"</ds:X509Certificate>", b"</ds:X509Certificate><ds:X509Certificate>MAA=</ds:X509Certificate>", 1
    )
    assert more != body
    assert UNREADABLE in problems(judged(world, more, XML))


def ladder(rungs: int, top: str = "nobody") -> list[tuple[str, str]]:
    """Pairs of one name, each pair below the next: twice as many ways up with every rung."""
    names = ["Tests CA", *(f"rung {n}" for n in range(1, rungs)), top]
    return [pair for pair in itertools.pairwise(names) for _ in range(2)]


@pytest.mark.parametrize(
    "names", [ladder(30), ladder(8), [("Tests CA", "Tests CA")] * 12, ladder(7, top="Tests CA")],
    ids=["a long ladder", "a ladder", "all of one name", "round and round"],
)  # fmt: skip
@pytest.mark.parametrize("kind", [XML, PDF])
def test_certificates_that_came_along_cannot_hold_the_verifier_up(
    world: World, kind: str, names: list[tuple[str, str]]
) -> None:
    found, leaf = along(names), asn1.Certificate.load(world.signer.certificate.public_bytes(serialization.Encoding.DER))
    with pytest.raises(ValueError):
        load(world.folder).context(leaf, NOW, found)
    if kind == XML:
        ends = b"</ds:X509Certificate>"
        more = b"".join(b"<ds:X509Certificate>%s%s" % (base64.b64encode(c.dump()), ends) for c in found)
        body = xml(world).replace(ends, ends + more, 1)
    else:
        body = pdf(world, beside=found)
    assert UNREADABLE in problems(judged(world, body, kind))


def test_a_long_plain_chain_and_renewed_authorities_that_came_along_are_looked_at(world: World) -> None:
    names = [f"link {n}" for n in range(17)]
    chain = along(list(itertools.pairwise(names)))
    renewed = along([("Tests CA", "Tests Root")] * 3 + [("Tests Root", "Tests Root")] * 3)
    for beside in (chain, renewed):
        assert judged(world, pdf(world, beside=beside), PDF).state == "good", "the folder has what is needed"


@pytest.mark.parametrize("way", ["after", "beside"])
def test_signatures_side_by_side_are_each_verified(world: World, way: str) -> None:
    second = Party("Trần Thị Hai", world.authority)
    first, other = etree.fromstring(xml(world)), etree.fromstring(xml(world, second))
    if way == "after":
        both = etree.fromstring(xml(world, second, etree.tostring(first)))
    else:
        first.append(copy.deepcopy(other.find(f"{DS}Signature")))
        both = first
    if len({e.get("Id") for e in both.iter() if e.get("Id")}) < len([e for e in both.iter() if e.get("Id")]):
        pytest.skip("the maker gave two elements one id")
    verdict = judged(world, etree.tostring(both), XML)
    assert verdict.state == "good" and len(verdict.signatures) == 2, verdict
    assert "Hai" in verdict.signatures[1].signer
    # Neither holds over another document, and an altered one spoils both.
    spoiled = etree.tostring(both).replace(b"8.5", b"9.5")
    assert [s.problems for s in judged(world, spoiled, XML).signatures] == [(ALTERED,), (ALTERED,)]


def test_content_that_came_with_a_later_signature_was_not_signed_before(world: World) -> None:
    later = etree.fromstring(xml(world, Party("Trần Thị Hai", world.authority)))
    both = etree.fromstring(xml(world))
    signature = copy.deepcopy(later.find(f"{DS}Signature"))
    etree.SubElement(etree.SubElement(signature, f"{DS}Object"), "diem").text = "10"
    both.append(signature)
    first, _ = judged(world, etree.tostring(both), XML).signatures
    assert first.problems == (ALTERED,)


def test_a_damaged_file_among_the_trusted_is_named_and_the_rest_believed(tmp_path: Path) -> None:
    world = World(tmp_path)
    body = xml(world)
    (tmp_path / "broken.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert list(load(tmp_path).refused) == ["broken.crt"]
    assert judged(world, body, XML).state == "good"
    # Whom a list revokes that cannot be read, nobody knows.
    (tmp_path / "broken.crl").write_bytes(b"0\x03nothing")
    assert problems(judged(world, body, XML)) == {UNCHECKED}
    (tmp_path / "broken.crl").unlink()
    (tmp_path / "broken.crt").unlink()
    assert judged(world, body, XML).state == "good" and not load(tmp_path).refused


def test_the_trusted_are_read_again_only_when_a_file_changed(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = load(tmp_path)
    assert load(tmp_path) is first
    (tmp_path / "ca.crl").write_bytes(world.authority.revoke(world.signer))
    assert load(tmp_path) is not first and len(load(tmp_path).revoked) == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.integers(0, 3000))
def test_no_bytes_whatever_raise(world: World, noise: bytes, cut: int) -> None:
    for kind, start in (
        (PDF, b"%PDF-1.7 /ByteRange "),
        (XML, b"<a xmlns:d='http://www.w3.org/2000/09/xmldsig#'><d:Signature/>"),
    ):
        judged(world, start + noise, kind)
    good = _cached(world)
    judged(world, good[0][:cut] + noise + good[0][cut + 3 :], XML)
    judged(world, good[1][: cut * 4] + noise + good[1][cut * 4 + 3 :], PDF)


_made: dict[int, tuple[bytes, bytes]] = {}


def _cached(world: World) -> tuple[bytes, bytes]:
    return _made.setdefault(id(world), (xml(world), pdf(world)))
