"""Archive time stamps in XML: what one proves, that it covers all the standard has it cover, and that no other helps or hurts."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from lxml import etree
from signxml import SignatureConstructionMethod

from hub.kernel.documents import XML
from hub.signatures import (
    ARCHIVE_OLD,
    REVOKED,
    STAMP_FUTURE,
    STAMP_OTHER,
    STAMP_UNREADABLE,
    STAMP_UNTRUSTED,
    UNTRUSTED,
    Signature,
    archived_by,
    not_counted,
    stamps,
    xml_stamps,
)
from tests.pki import NOW, YEAR, Party
from tests.unit.signatures.stamping import (
    C14N,
    C14N11,
    DAY,
    EXCLUSIVE,
    STAMPING,
    XADES,
    Stamper,
    Stamping,
    covered,
    judged,
    stamped,
)
from tests.unit.signatures.test_signatures import DS, xml

X141 = "http://uri.etsi.org/01903/v1.4.1#"
HOLDER = f"{DS}Object/{XADES}QualifyingProperties/{XADES}UnsignedProperties/{XADES}UnsignedSignatureProperties"
THEN = NOW - 60 * DAY


def parsed(body: bytes) -> Any:
    return etree.fromstring(body)


def form(element: Any, method: str | None) -> bytes:
    name = method or C14N
    plain = etree.tostring(
        element, method="c14n", exclusive=name.startswith(EXCLUSIVE), with_comments=name.endswith("WithComments")
    )
    return bytes(plain)


def stream(body: bytes, method: str | None = C14N, upto: int | None = None) -> bytes:
    """What an archive time stamp added to a document's (first) signature now covers, by the standard's five steps. `upto`: so
    many of the properties added before."""
    root = parsed(body)
    (signature,) = [root] if root.tag == f"{DS}Signature" else root.findall(f"{DS}Signature")[:1]
    out = b""
    for reference in signature.iterfind(f"{DS}SignedInfo/{DS}Reference"):
        forms = [t.get("Algorithm") for t in reference.iter(f"{DS}Transform")]
        own = next((f for f in forms if "c14n" in f), method)
        if uri := reference.get("URI"):
            (found,) = root.xpath("//*[@Id=$id]", id=uri[1:])
            # Apart from what is around it, but for the namespaces.
            out += form(parsed(etree.tostring(found)), own)
        else:
            alone = parsed(body)
            alone.remove(alone.find(f"{DS}Signature"))
            out += form(alone, own)
    for name in ("SignedInfo", "SignatureValue", "KeyInfo"):
        out += form(signature.find(f"{DS}{name}"), method)
    holder = signature.find(HOLDER)
    for one in ([] if holder is None else [e for e in holder if isinstance(e.tag, str)])[:upto]:
        out += form(one, method)
    for one in signature.findall(f"{DS}Object"):
        if one.find(f"{XADES}QualifyingProperties") is None:
            out += form(one, method)
    return out


def archived(
    body: bytes, *tokens: bytes, method: str | None = C14N, name: str = f"{{{X141}}}ArchiveTimeStamp", at: int | None = None
) -> bytes:  # fmt: skip
    """The document with one more archive time stamp, at the end of its properties or at a place among them."""
    root = parsed(body)
    signature = root if root.tag == f"{DS}Signature" else root.find(f"{DS}Signature")
    holder = signature.find(HOLDER)
    if holder is None:
        properties = signature.find(f"{DS}Object/{XADES}QualifyingProperties")
        unsigned = etree.SubElement(properties, f"{XADES}UnsignedProperties")
        holder = etree.SubElement(unsigned, f"{XADES}UnsignedSignatureProperties")
    stamp = etree.Element(name, nsmap={"xades141": X141})
    holder.insert(len(holder) if at is None else at, stamp)
    if method is not None:
        etree.SubElement(stamp, f"{DS}CanonicalizationMethod", Algorithm=method)
    for token in tokens:
        etree.SubElement(stamp, f"{XADES}EncapsulatedTimeStamp").text = base64.b64encode(token).decode()
    return bytes(etree.tostring(root))


def sealed(world: Stamping, body: bytes, at: Any = THEN, method: str | None = C14N, tsa: Party | None = None) -> bytes:
    """The document with a good archive time stamp over all there is of its signature."""
    return archived(body, Stamper(tsa or world.tsa, at).token(stream(body, method)), method=method)


def on_value(world: Stamping, body: bytes, at: Any = THEN) -> bytes:
    """The document with a good time stamp on its signature's value."""
    root = parsed(body)
    return stamped(root, Stamper(world.tsa, at).token(covered(root)))


def of(world: Stamping, body: bytes) -> Signature:
    return judged(world, body, XML)


def said(world: Stamping, at: Any) -> Any:
    return archived_by(of(world, on_value(world, xml(world))).stamped_by or "", at)


def plainly(one: Signature) -> tuple[Any, ...]:
    """A verdict but for the word on archive time stamps."""
    return one.problems, one.stamped_at, one.stamped_by


# ------------------------------------------------------------------------------------------------ what one proves


def test_a_good_one_proves_its_time_and_the_verdict_says_whose_it_is(world: Stamping) -> None:
    one = of(world, sealed(world, xml(world)))
    assert one.problems == () and one.stamped_at == THEN.isoformat() and "Tests TSA" in (one.stamped_by or "")
    assert one.notes == (said(world, THEN),)
    assert "Tests TSA" in one.notes[0].vi and f"{THEN + timedelta(hours=7):%d/%m/%Y %H:%M:%S}" in one.notes[0].en


def test_a_signer_who_expired_or_was_revoked_after_it_signed_before(world: Stamping) -> None:
    over = Party("Đã hết hạn", world.authority, since=NOW - YEAR, until=NOW - 30 * DAY)
    assert of(world, xml(world, over)).problems == (UNTRUSTED,)
    assert of(world, sealed(world, xml(world, over))).problems == ()
    assert of(world, sealed(world, xml(world, over), NOW - DAY)).problems == (UNTRUSTED,)
    early, late = sealed(world, xml(world)), sealed(world, xml(world), NOW - 10 * DAY)
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    assert of(world, early).problems == () and of(world, late).problems == (REVOKED,)
    assert of(world, late).stamped_at == (NOW - 10 * DAY).isoformat(), "proved, and of no help"


def test_one_that_covers_a_stamp_on_the_value_stands_beside_it(world: Stamping) -> None:
    body = sealed(world, on_value(world, xml(world), THEN - DAY), THEN)
    one = of(world, body)
    assert one.problems == () and one.stamped_at == (THEN - DAY).isoformat() and one.notes == (said(world, THEN),)
    again = of(world, sealed(world, body, NOW - DAY))
    assert again.problems == () and again.stamped_at == (THEN - DAY).isoformat()
    assert again.notes == (said(world, THEN), said(world, NOW - DAY))


def test_one_made_after_the_signer_expired_accuses_nobody_who_stood_without_it(world: Stamping) -> None:
    over = Party("Đã hết hạn", world.authority, since=NOW - YEAR, until=NOW - 30 * DAY)
    with time_machine.travel(THEN):
        body = xml(world, over)
    assert of(world, body).problems == ()
    one = of(world, sealed(world, body, NOW - DAY))
    assert one.problems == () and one.stamped_at == (NOW - DAY).isoformat()


# ------------------------------------------------------------------------------------------------ those that do not hold


def _damaged(world: Stamping, body: bytes) -> bytes:
    token = Stamper(world.tsa, THEN).token(stream(body))
    return archived(body, token[:30] + bytes(len(token) - 30))


def _of_another(world: Stamping, body: bytes) -> bytes:
    return archived(body, Stamper(world.tsa, THEN).token(stream(xml(world))))


def _by_a_stranger(world: Stamping, body: bytes) -> bytes:
    return sealed(world, body, tsa=Party("Người lạ", None, purposes=STAMPING))


def _without(part: str) -> Callable[[Stamping, bytes], bytes]:
    def made(world: Stamping, body: bytes) -> bytes:
        root = parsed(body)
        left = form(root.find(f"{DS}Signature/{DS}{part}"), C14N)
        whole = stream(body)
        assert whole.count(left) == (2 if part == "KeyInfo" else 1), "signed as well, where it is the key's"
        at = whole.rindex(left)
        return archived(body, Stamper(world.tsa, THEN).token(whole[:at] + whole[at + len(left) :]))

    return made


BAD: dict[str, tuple[Callable[[Stamping, bytes], bytes], Any]] = {
    "damaged": (_damaged, STAMP_UNREADABLE),
    "of another signature": (_of_another, STAMP_OTHER),
    "by a stranger": (_by_a_stranger, STAMP_UNTRUSTED),
    "from the future": (lambda world, body: sealed(world, body, NOW + DAY), STAMP_FUTURE),
    "on the value alone": (
        lambda world, body: archived(body, Stamper(world.tsa, THEN).token(covered(parsed(body)))),
        STAMP_OTHER,
    ),
    "without what says the key": (_without("KeyInfo"), STAMP_OTHER),
    "without the value": (_without("SignatureValue"), STAMP_OTHER),
    "without what is signed": (_without("SignedInfo"), STAMP_OTHER),
    "by a weak hash": (
        lambda world, body: archived(body, Stamper(world.tsa, THEN).token(stream(body), "sha1")),
        STAMP_OTHER,
    ),
}


@pytest.mark.parametrize("which", BAD)
def test_one_that_does_not_hold_neither_helps_nor_hurts_and_is_said(world: Stamping, which: str) -> None:
    made, why = BAD[which]
    plain = xml(world)
    on = on_value(world, plain, NOW - DAY)
    for body in (plain, on):
        one = of(world, made(world, body))
        assert plainly(one) == plainly(of(world, body)) and one.problems == ()
        assert one.notes == (not_counted(why),)
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    for body in (plain, on):
        assert of(world, made(world, body)).problems == (REVOKED,)


def test_one_beside_a_good_one_is_said_and_the_good_one_counts(world: Stamping) -> None:
    one = of(world, sealed(world, _damaged(world, xml(world)), NOW - DAY))
    assert one.problems == () and one.stamped_at == (NOW - DAY).isoformat()
    assert one.notes == (not_counted(STAMP_UNREADABLE), said(world, NOW - DAY))


def test_a_revoked_authoritys_proves_nothing(world: Stamping) -> None:
    body = sealed(world, xml(world))
    (world.folder / "tsa.crl").write_bytes(world.stamp_root.revoke(world.tsa, at=NOW - DAY))
    one = of(world, body)
    assert one.problems == () and one.stamped_at is None and one.notes == (not_counted(STAMP_UNTRUSTED),)


def test_a_signature_that_does_not_hold_is_not_helped(world: Stamping) -> None:
    good = sealed(world, xml(world))
    for old, new in ((b"8.5", b"9.5"), (b"</ds:SignatureValue>", b"AA</ds:SignatureValue>")):
        one = of(world, good.replace(old, new))
        assert one.problems and one.stamped_at is None and one.notes == ()


def test_a_co_signers_stamp_proves_nothing_for_another(world: Stamping) -> None:
    """Each signature stands for itself: what was archived of one is no proof of the other's time."""
    first = sealed(world, xml(world))
    second = parsed(xml(world, Party("Người ký thứ hai", world.authority)))
    second.find(f"{DS}Signature").find(f"{DS}Object/{XADES}QualifyingProperties").append(
        copy.deepcopy(parsed(first).find(f"{DS}Signature/{DS}Object/{XADES}QualifyingProperties/{XADES}UnsignedProperties"))
    )  # fmt: skip
    one = of(world, etree.tostring(second))
    assert one.problems == () and one.stamped_at is None and one.notes == (not_counted(STAMP_OTHER),)


# ------------------------------------------------------------------------------------------------ what it covers, and in which form


def test_what_was_added_before_is_covered_and_what_was_added_after_is_not(world: Stamping) -> None:
    body = on_value(world, xml(world), THEN - DAY)
    whole = sealed(world, body)
    after = parsed(whole)
    etree.SubElement(after.find(f"{DS}Signature/{HOLDER}"), f"{XADES}CertificateValues").text = "\n"
    assert of(world, etree.tostring(after)).notes == (said(world, THEN),)
    before = parsed(whole)
    before.find(f"{DS}Signature/{HOLDER}").insert(0, etree.Element(f"{XADES}CertificateValues"))
    one = of(world, etree.tostring(before))
    assert one.notes == (not_counted(STAMP_OTHER),) and one.stamped_at == (THEN - DAY).isoformat()
    # Made before the stamp on the value that stands before it now, or with it taken out.
    early = archived(body, Stamper(world.tsa, THEN).token(stream(body, upto=0)))
    taken = parsed(whole)
    held = taken.find(f"{DS}Signature/{HOLDER}")
    held.remove(held[0])
    for odd in (early, etree.tostring(taken)):
        assert of(world, odd).notes == (not_counted(STAMP_OTHER),)
    # Exchanged for another good one of the same value.
    other = parsed(on_value(world, xml(world), THEN - 2 * DAY)).find(f"{DS}Signature/{HOLDER}")[0]
    exchanged = parsed(whole)
    exchanged.find(f"{DS}Signature/{HOLDER}")[0][1].text = other[1].text
    assert not_counted(STAMP_OTHER) in of(world, etree.tostring(exchanged)).notes


AROUND = b"<hocba xmlns='urn:thu' xmlns:them='urn:them'><!-- b --><diem them:mon='toan'>8</diem></hocba>"
METHODS = [None, C14N, C14N11, EXCLUSIVE, f"{C14N}#WithComments", f"{EXCLUSIVE}WithComments"]


@pytest.mark.parametrize("method", METHODS)
def test_each_standard_canonical_form_is_read_and_no_other_taken_for_it(world: Stamping, method: str | None) -> None:
    commented = parsed(on_value(world, xml(world, document=AROUND), THEN - DAY))
    commented.find(f"{DS}Signature/{HOLDER}")[0].append(etree.Comment(" a "))
    # A comment within a stamp on the value makes that one unreadable; within another property it is anybody's.
    held = commented.find(f"{DS}Signature/{HOLDER}")
    held.remove(held[0])
    etree.SubElement(held, f"{XADES}CertificateValues").append(etree.Comment(" a "))
    body = bytes(etree.tostring(commented))
    assert of(world, sealed(world, body, method=method)).notes == (said(world, THEN),)
    for other in METHODS:
        token = Stamper(world.tsa, THEN).token(stream(body, other))
        same = stream(body, other) == stream(body, method)
        one = of(world, archived(body, token, method=method))
        assert one.notes == ((said(world, THEN),) if same else (not_counted(STAMP_OTHER),)), (method, other)
    assert len({stream(body, m) for m in METHODS}) == 4


def test_by_the_bytes_the_standard_gives_written_out(world: Stamping) -> None:
    """The stream put together from the document's own text, by hand, without a canonicaliser."""
    body = on_value(world, xml(world), THEN - DAY)
    text = body.decode()
    ds, xades = 'xmlns:ds="http://www.w3.org/2000/09/xmldsig#"', 'xmlns:xades="http://uri.etsi.org/01903/v1.3.2#"'

    def part(name: str, *more: str) -> str:
        """An element as it stands, with the namespaces in force, attributes in order, and no empty tags."""
        found = re.search(rf"<{name}[ >].*</{name}>", text, re.S)
        assert found is not None
        tags = re.sub(
            r"<([\w:]+)((?: [\w:]+=\"[^\"]*\")+)(/?)>",
            lambda m: f"<{m[1]} {' '.join(sorted(m[2].split()))}{m[3]}>", found[0],
        )  # fmt: skip
        tags = re.sub(r"<([\w:]+)([^<>]*)/>", r"<\1\2></\1>", tags)
        return tags.replace(f"<{name}", f'<{name} xmlns="urn:thu" {ds} {xades}', 1)

    said_first = '<hocba xmlns="urn:thu"><hocsinh>3100000001</hocsinh><diem mon="toan">8.5</diem></hocba>'
    whole = "".join(
        (
            said_first, part("xades:SignedProperties"), part("ds:KeyInfo"),
            part("ds:SignedInfo"), part("ds:SignatureValue"), part("ds:KeyInfo"), part("xades:SignatureTimeStamp"),
        )
    )  # fmt: skip
    one = of(world, archived(body, Stamper(world.tsa, THEN).token(whole.encode())))
    assert one.notes == (said(world, THEN),), one.notes


def test_the_language_of_the_document_is_part_of_the_form(world: Stamping) -> None:
    body = xml(world, document=b"<hocba xmlns='urn:thu' xml:lang='vi'><diem>8</diem></hocba>")
    whole = stream(body)
    lent = whole
    for name in ("SignedInfo", "SignatureValue", "KeyInfo"):
        plain = form(parsed(body).find(f"{DS}Signature/{DS}{name}"), C14N)
        start = plain[: plain.index(b">")]
        at = lent.rindex(plain)
        lent = lent[:at] + start + b' xml:lang="vi"' + lent[at + len(start) :]
    # Attributes are in order; an element's own (Id) comes before those of a namespace.
    assert lent.count(b'xml:lang="vi"') == 4
    one = of(world, archived(body, Stamper(world.tsa, THEN).token(lent)))
    assert one.notes == (said(world, THEN),)
    assert of(world, archived(body, Stamper(world.tsa, THEN).token(whole))).notes == (not_counted(STAMP_OTHER),)
    assert of(world, sealed(world, body, method=EXCLUSIVE)).notes == (said(world, THEN),)


def test_an_enveloping_signatures_content_is_covered_once_more(world: Stamping) -> None:
    body = xml(world, method=SignatureConstructionMethod.enveloping)
    assert of(world, body).problems == ()
    assert of(world, sealed(world, body)).notes == (said(world, THEN),)
    content = form(
        next(o for o in parsed(body).findall(f"{DS}Object") if o.find(f"{XADES}QualifyingProperties") is None), C14N
    )
    whole = stream(body)
    assert whole.endswith(content)
    short = archived(body, Stamper(world.tsa, THEN).token(whole[: -len(content)]))
    assert of(world, short).notes == (not_counted(STAMP_OTHER),)


# ------------------------------------------------------------------------------------------------ said in another way


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'Algorithm="{C14N}"/><xades:Enc', 'Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/><xades:Enc'),
        (f'<ds:CanonicalizationMethod Algorithm="{C14N}"/><xades:Enc', '<xades:Include URI="#x"/><xades:Enc'),
        ("xades:EncapsulatedTimeStamp>", "xades:XMLTimeStamp>"),
        ("<xades:EncapsulatedTimeStamp>", "<xades:EncapsulatedTimeStamp>!"),
    ],
)  # fmt: skip
def test_one_said_in_another_way_cannot_be_read(world: Stamping, old: str, new: str) -> None:
    body = sealed(world, xml(world))
    assert body.count(old.encode()) >= 1
    one = of(world, body.replace(old.encode(), new.encode()))
    assert one.problems == () and one.stamped_at is None and one.notes == (not_counted(STAMP_UNREADABLE),)


def test_an_address_around_it_changes_the_later_form_in_a_way_that_is_not_read(world: Stamping) -> None:
    body = xml(world, document=b"<hocba xmlns='urn:thu' xml:base='urn:goc'><diem>8</diem></hocba>")
    assert of(world, sealed(world, body, method=C14N11)).notes == (not_counted(STAMP_UNREADABLE),)
    assert of(world, sealed(world, body, method=EXCLUSIVE)).notes == (said(world, THEN),)


def test_the_older_form_is_not_read_and_said_so(world: Stamping) -> None:
    body = xml(world)
    older = archived(body, Stamper(world.tsa, THEN).token(stream(body)), name=f"{XADES}ArchiveTimeStamp")
    one = of(world, older)
    assert one.problems == () and one.stamped_at is None and one.notes == (ARCHIVE_OLD,)


def test_the_first_few_are_looked_at_and_no_more(world: Stamping) -> None:
    body = xml(world)
    for n in range(stamps.MOST + 2):
        body = sealed(world, body, THEN + n * DAY)
    one = of(world, body)
    assert one.stamped_at == THEN.isoformat() and len(one.notes) == stamps.MOST
    body = xml(world)
    token = Stamper(world.tsa, THEN).token(stream(body))
    assert of(world, archived(body, token, token)).notes == (said(world, THEN),)
    assert of(world, archived(body, *[token] * (stamps.MOST + 1))).notes == (not_counted(STAMP_UNREADABLE),)


def test_no_more_parts_are_written_out_than_a_signature_has(world: Stamping) -> None:
    root = parsed(on_value(world, xml(world), THEN - DAY))
    for _ in range(xml_stamps._PARTS - 1):
        etree.SubElement(root.find(f"{DS}Signature/{HOLDER}"), f"{XADES}CertificateValues")
    body = bytes(etree.tostring(root))
    assert of(world, sealed(world, body)).notes == (said(world, THEN),)
    etree.SubElement(root.find(f"{DS}Signature/{HOLDER}"), f"{XADES}CertificateValues")
    one = of(world, sealed(world, bytes(etree.tostring(root))))
    assert one.problems == () and one.notes == (not_counted(STAMP_UNREADABLE),)
