"""Which canonical forms an archive stamp in XML is read in, what of a document it covers, and how many are looked at."""

from __future__ import annotations

import re

import pytest
from lxml import etree
from signxml import SignatureConstructionMethod

from hub.signatures import (
    ARCHIVE_OLD,
    STAMP_OTHER,
    STAMP_UNREADABLE,
    not_counted,
    stamps,
    xml_stamps,
)
from tests.unit.signatures.archiving import (
    HOLDER,
    THEN,
    archived,
    form,
    of,
    on_value,
    parsed,
    said,
    sealed,
    stream,
)
from tests.unit.signatures.stamping import (
    C14N,
    C14N11,
    DAY,
    EXCLUSIVE,
    XADES,
    Stamper,
    Stamping,
)
from tests.unit.signatures.test_signatures import DS, xml

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
