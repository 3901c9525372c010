"""Archive time stamps made for a document, by the standard and not by the code that reads them."""

from __future__ import annotations

import base64
from typing import Any

from lxml import etree

from hub.kernel.documents import XML
from hub.signatures import (
    Signature,
    archived_by,
)
from tests.pki import NOW, Party
from tests.unit.signatures.stamping import (
    C14N,
    DAY,
    EXCLUSIVE,
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
