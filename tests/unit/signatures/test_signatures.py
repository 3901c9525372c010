"""Signatures on documents: good ones hold; altered, wrapped, partial, untrusted, expired and revoked ones do not."""

from __future__ import annotations

import asyncio
import copy
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
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
from hub.signatures import ALTERED, REVOKED, UNTRUSTED, verify
from hub.signatures.trust import load
from tests.pki import NOW, YEAR, Party, World

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


def pdf(world: World, signer: Party | None = None, body: bytes | None = None, field: str = "Ky1") -> bytes:
    by = signer or world.signer
    store = SimpleCertificateStore()
    from asn1crypto import keys, pem, x509

    def cert(party: Party) -> Any:
        return x509.Certificate.load(pem.unarmor(party.pem)[2])

    store.register(cert(world.authority))
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
        list_.write_bytes(world.authority.revoke(world.signer, at=NOW + timedelta(hours=12)))
        assert judged(world, body, kind).state == "good", "revoked only after it signed"
    finally:
        list_.unlink()


def test_unsigned_documents_have_nothing_against_them(world: World) -> None:
    assert judged(world, DOCUMENT, XML).state == "unsigned"
    assert judged(world, blank(), PDF).state == "unsigned"


def test_a_damaged_trust_folder_says_which_file(tmp_path: Path) -> None:
    (tmp_path / "broken.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match=r"broken\.crt"):
        load(tmp_path)


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
