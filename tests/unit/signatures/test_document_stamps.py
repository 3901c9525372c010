"""Time stamps on a whole PDF (DocTimeStamp): proof for every signature they were made over, and for no other."""

from __future__ import annotations

import asyncio
import io
from datetime import datetime

import pytest
from asn1crypto import keys, pem
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
from pyhanko_certvalidator.registry import SimpleCertificateStore

from hub.kernel.documents import PDF
from hub.signatures import (
    ALTERED,
    REVOKED,
    STAMP_FUTURE,
    STAMP_OTHER,
    STAMP_UNREADABLE,
    STAMP_UNTRUSTED,
    UNREADABLE,
    UNTRUSTED,
    Signature,
    verify,
)
from hub.signatures.pades import _place
from hub.signatures.trust import load
from tests.pki import NOW, YEAR, Party
from tests.unit.signatures.stamping import DAY, STAMPING, Stamper, Stamping, cert, judged
from tests.unit.signatures.test_signatures import blank


def signed(world: Stamping, by: Party | None = None, body: bytes | None = None, field: str = "Ky1") -> bytes:
    """A PDF with one signature more, without any time stamp of its own."""
    party = by or world.signer
    store = SimpleCertificateStore()
    store.register(cert(world.authority))
    key = keys.PrivateKeyInfo.load(pem.unarmor(party.key_pem)[2])
    simple = signers.SimpleSigner(signing_cert=cert(party), signing_key=key, cert_registry=store)
    out = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(body or blank()))
    meta = signers.PdfSignatureMetadata(field_name=field, subfilter=SigSeedSubFilter.PADES)
    signers.PdfSigner(meta, signer=simple, new_field_spec=SigFieldSpec(field)).sign_pdf(writer, output=out)
    return out.getvalue()


def sealed(
    body: bytes, tsa: Party, at: datetime = NOW - 10 * DAY, field: str = "Dau1", over: bytes | None = None
) -> bytes:
    """The same with a time stamp on all of it."""
    out = io.BytesIO()
    stamper = signers.PdfTimeStamper(Stamper(tsa, at, over), field_name=field)
    stamper.timestamp_pdf(IncrementalPdfFileWriter(io.BytesIO(body)), "sha256", output=out)
    return out.getvalue()


def of(world: Stamping, body: bytes) -> Signature:
    return judged(world, body, PDF)


def test_a_stamp_on_the_document_proves_when_and_by_whom(world: Stamping) -> None:
    body = signed(world)
    assert (of(world, body).stamped_at, of(world, body).stamped_by) == (None, None)
    one = of(world, sealed(body, world.tsa))
    assert one.problems == () and one.stamped_at == (NOW - 10 * DAY).isoformat()
    assert one.stamped_by is not None and "Tests TSA" in one.stamped_by and "Root" not in one.stamped_by


def test_a_signer_whose_certificate_ended_or_was_revoked_after_the_stamp_still_signed(world: Stamping) -> None:
    over = Party("Đã hết hạn", world.authority, since=NOW - YEAR, until=NOW - 30 * DAY)
    body = signed(world, over)
    assert of(world, body).problems == (UNTRUSTED,)
    assert of(world, sealed(body, world.tsa, NOW - 60 * DAY)).problems == ()
    late = of(world, sealed(body, world.tsa, NOW - DAY))
    assert late.problems == (UNTRUSTED,) and late.stamped_at == (NOW - DAY).isoformat()
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    body = signed(world)
    assert of(world, body).problems == (REVOKED,)
    assert of(world, sealed(body, world.tsa, NOW - 60 * DAY)).problems == ()
    assert of(world, sealed(body, world.tsa, NOW - DAY)).problems == (REVOKED,)


def test_of_several_the_earliest_counts_and_a_later_one_may_be_there_to_renew_it(world: Stamping) -> None:
    body = sealed(signed(world), world.tsa, NOW - 60 * DAY)
    one = of(world, sealed(body, world.tsa, NOW - DAY, "Dau2"))
    assert one.problems == () and one.stamped_at == (NOW - 60 * DAY).isoformat()


def test_one_from_an_unknown_authority_or_without_the_right_never_helps(world: Stamping) -> None:
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    unknown = Party("TSA lạ", Party("Gốc lạ", authority=True), purposes=STAMPING)
    for tsa in (unknown, Party("Không có quyền", world.stamp_root)):
        one = of(world, sealed(signed(world), tsa, NOW - 60 * DAY))
        assert set(one.problems) == {REVOKED, STAMP_UNTRUSTED} and (one.stamped_at, one.stamped_by) == (None, None)
    one = of(world, sealed(signed(world), world.tsa, NOW + DAY))
    assert set(one.problems) == {REVOKED, STAMP_FUTURE} and one.stamped_at is None
    (world.folder / "tsa.crl").write_bytes(world.stamp_root.revoke(world.tsa, at=NOW - DAY))
    assert set(of(world, sealed(signed(world), world.tsa, NOW - 60 * DAY)).problems) == {REVOKED, STAMP_UNTRUSTED}


def test_a_broken_one_never_helps(world: Stamping) -> None:
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    body = sealed(signed(world), world.tsa, NOW - 60 * DAY, over=bytes(32))
    assert set(of(world, body).problems) == {REVOKED, STAMP_OTHER}, "the stamp of something else"
    body = signed(world)
    whole = sealed(body, world.tsa, NOW - 60 * DAY)
    start = whole.index(b"/Contents <", len(body)) + len(b"/Contents <")
    held = whole[start : whole.index(b">", start)]
    damages = {STAMP_UNREADABLE: [held[:60] + b"0" * (len(held) - 60), b"00" * (len(held) // 2)]}
    said, wanted = (f"{at:%Y%m%d%H%M%SZ}".encode().hex().upper().encode() for at in (NOW - 60 * DAY, NOW - 90 * DAY))
    assert held.count(said) == 1
    damages[STAMP_OTHER] = [held.replace(said, wanted)]
    for problem, odd in ((p, o) for p, each in damages.items() for o in each):
        assert len(odd) == len(held)
        (one,) = asyncio.run(verify(whole.replace(held, odd), PDF, load(world.folder))).signatures
        assert one.stamped_at is None and one.problems, odd[:80]
        assert REVOKED in one.problems and problem in one.problems, odd[:80]
    (one,) = asyncio.run(verify(whole.replace(held, b"z" * len(held)), PDF, load(world.folder))).signatures
    assert one.problems and one.stamped_at is None, "not even a PDF any more"


def test_a_byte_altered_below_the_stamp_undoes_it(world: Stamping) -> None:
    body = sealed(signed(world), world.tsa)
    at = body.index(b"/MediaBox") if b"/MediaBox" in body else body.index(b"/Type")
    one = of(world, body[: at + 1] + bytes([body[at + 1] ^ 2]) + body[at + 2 :])
    assert one.stamped_at is None and one.problems


def test_one_made_before_a_signature_proves_nothing_for_it(world: Stamping) -> None:
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    one = of(world, signed(world, body=sealed(blank(), world.tsa, NOW - 60 * DAY)))
    assert REVOKED in one.problems and (one.stamped_at, one.stamped_by) == (None, None)
    # Of two signatures, the one below it alone.
    early = sealed(signed(world), world.tsa, NOW - 60 * DAY)
    body = signed(world, body=early, field="Ky2")
    first, second = asyncio.run(verify(body, PDF, load(world.folder))).signatures
    assert first.problems == () and first.stamped_at == (NOW - 60 * DAY).isoformat()
    assert second.problems == (REVOKED,) and second.stamped_at is None
    both = asyncio.run(verify(sealed(body, world.tsa, NOW - DAY, "Dau2"), PDF, load(world.folder))).signatures
    assert [s.stamped_at for s in both] == [(NOW - 60 * DAY).isoformat(), (NOW - DAY).isoformat()]


def test_a_time_of_signing_that_is_no_time_makes_the_signature_unreadable(world: Stamping) -> None:
    body = signed(world)
    at = body.index(b"/M (D") + len(b"/M (")
    (one,) = asyncio.run(verify(body[:at] + b"x" + body[at + 1 :], PDF, load(world.folder))).signatures
    assert one.problems == (UNREADABLE,)


class _Sig:
    def __init__(self, byte_range: list[int], value: bytes) -> None:
        self.byte_range, self.pkcs7_content = byte_range, value


def test_a_value_that_stands_elsewhere_than_its_place_is_under_no_stamp() -> None:
    """Whoever signs later can have what they sign end before an old stamp, not the bytes of their own value."""
    body = b"0123456789<abcd>6789"
    assert _place(_Sig([0, 10, 16, 4], b"\xab\xcd"), body) == (10, 16, 20)
    for byte_range, value in (
        ([0, 10, 16, 4], b"\xab\xce"), ([0, 9, 16, 4], b"\xab\xcd"), ([1, 9, 16, 4], b"\xab\xcd"),
        ([0, 10, 16, 5], b"\xab\xcd"), ([0, 10, 16, -1], b"\xab\xcd"), ([0, 10, 16, 2, 18, 2], b"\xab\xcd"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"value|unpack"):
            _place(_Sig(byte_range, value), body)


def test_a_stamp_alone_is_no_signature(world: Stamping) -> None:
    assert asyncio.run(verify(sealed(blank(), world.tsa), PDF, load(world.folder))).state == "unsigned"


def test_a_changed_signed_text_is_altered_whatever_was_stamped_after(world: Stamping) -> None:
    body = signed(world)
    at = body.index(b"/Type")
    forged = body[: at + 1] + b"t" + body[at + 2 :]
    one = of(world, sealed(forged, world.tsa)) if forged != body else None
    assert one is not None and ALTERED in one.problems
