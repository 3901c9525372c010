"""XAdES: the signatures inside an XML document.

One concern: each signature by itself, with its own signer's certificate and time stamps, and whether what it signs is the whole
document.
It must never follow a reference out of the document, nor take one element signed for the document (signature wrapping).
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import x509 as asn1
from cryptography import x509
from lxml import etree
from signxml.exceptions import InvalidDigest, InvalidInput
from signxml.xades import XAdESSignatureConfiguration, XAdESVerifier

from hub.kernel.ports import Text
from hub.signatures import ALTERED, PARTIAL, UNREADABLE, UNTRUSTED, Signature, stamps
from hub.signatures.trust import Trust, aware

_DS = "http://www.w3.org/2000/09/xmldsig#"
_XADES = "http://uri.etsi.org/01903/v1.3.2#"
_MOST = 20
_FUTURE = timedelta(hours=1)
_XML = "{http://www.w3.org/XML/1998/namespace}"
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_LATER = "http://www.w3.org/2006/12/xml-c14n11"
# What each canonicalisation takes over of the attributes of the elements around.
_CANONICAL: dict[str, tuple[str, ...]] = {
    _EXCLUSIVE: (), f"{_EXCLUSIVE}WithComments": (),
    _INCLUSIVE: (_XML,), f"{_INCLUSIVE}#WithComments": (_XML,),
    _LATER: (f"{_XML}lang", f"{_XML}space"), f"{_LATER}#WithComments": (f"{_XML}lang", f"{_XML}space"),
}  # fmt: skip
_PARSER_OPTIONS: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}


def _nothing_outside(uri: str) -> bytes:
    raise InvalidInput("a reference leads out of the document")


async def signatures(body: bytes, trust: Trust) -> tuple[Signature, ...]:
    """Every signature of an XML document. Raises nothing for any bytes whatever."""
    unreadable = Signature(form="XAdES", signer="", issuer="", serial="", signed_at=None, problems=(UNREADABLE,))
    try:
        root = etree.fromstring(body, etree.XMLParser(**_PARSER_OPTIONS))
    except (etree.XMLSyntaxError, ValueError):
        return (unreadable,)
    found = list(root.iter(f"{{{_DS}}}Signature"))
    if not found:
        return ()
    info: Any = root.getroottree().docinfo
    if len(found) > _MOST or info.doctype or _repeated_ids(root):
        return (unreadable,)
    return tuple([await _one(root, element, trust) for element in found])


def _repeated_ids(root: Any) -> bool:
    """Two elements of one id: which of them is signed would be a matter of who reads."""
    seen: set[str] = set()
    for element in root.iter():
        for name in ("Id", "ID", "id"):
            value = element.get(name) if isinstance(element.tag, str) else None
            if value is not None:
                if value in seen:
                    return True
                seen.add(value)
    return False


class _This(XAdESVerifier):
    """A verifier of the signature that stands at a place among all of a document's, whatever stands beside it."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._place = place

    def _get_signature(self, root: Any) -> Any:
        return list(root.iter(f"{{{_DS}}}Signature"))[self._place]


async def _one(root: Any, element: Any, trust: Trust) -> Signature:
    try:
        certificates = [
            base64.b64decode(c.text or "") for c in element.findall(f"{{{_DS}}}KeyInfo//{{{_DS}}}X509Certificate")
        ]
        leaf = asn1.Certificate.load(certificates[0])
        names = {
            "signer": leaf.subject.human_friendly[:300], "issuer": leaf.issuer.human_friendly[:300], "serial": f"{leaf.serial_number:x}",
        }  # fmt: skip
        others = [asn1.Certificate.load(der) for der in certificates[1:]]
        signer = x509.load_der_x509_certificate(certificates[0])
    except Exception:
        return Signature(form="XAdES", signer="", issuer="", serial="", signed_at=None, problems=(UNREADABLE,))
    problems: list[Text] = []
    at = None
    try:
        results = _verified(root, element, signer)
        at = _time(results)
        if not _whole(root, element, results):
            problems.append(PARTIAL)
    except InvalidInput:
        problems.append(UNREADABLE)
    except Exception:
        problems.append(ALTERED)
    claimed = aware(at)
    stamp = await stamps.judge(lambda: _tokens(root, element), trust)
    try:
        if (bad := await trust.problem(leaf, others, claimed, stamp.at)) is not None:
            problems.append(bad)
    except Exception:
        problems.append(UNREADABLE)
    if at is not None and claimed > aware(None) + _FUTURE:
        problems.append(UNTRUSTED)
    return Signature(
        form="XAdES", signed_at=claimed.isoformat() if at else None, stamped_at=stamp.at.isoformat() if stamp.at else None,
        stamped_by=stamp.by, problems=tuple(dict.fromkeys([*problems, *stamp.problems])), **names
    )  # fmt: skip


def _verified(root: Any, element: Any, signer: x509.Certificate) -> list[Any]:
    """What one signature signs. Raises signxml's exceptions where it does not hold.

    Whoever signs after others signs their signatures too; whoever signs beside others signs none of them. So one holds
    over the document as it is, without the signatures after it, or without any other: each of those is looked at by itself.
    One that brought content along is no such other.
    """
    found = list(root.iter(element.tag))
    mine = found.index(element)
    around = {element, *element.iterancestors(), *element.iterdescendants()}
    apart = [i for i, e in enumerate(found) if e not in around and _bare(e)]
    ways = [[], [i for i in apart if i > mine], apart]
    for tried, without in enumerate(ways):
        if without in ways[:tried]:
            continue
        try:
            verified = _This(mine - sum(i < mine for i in without)).verify(
                _without(root, without), x509_cert=signer, uri_resolver=_nothing_outside,
                parser=etree.XMLParser(**_PARSER_OPTIONS),
                # When the certificate was valid is for the trust to judge, at the time the signature says.
                expect_config=XAdESSignatureConfiguration(
                    require_x509=True, verification_time=signer.not_valid_before_utc,
                    expect_references=len(element.findall(f"{{{_DS}}}SignedInfo/{{{_DS}}}Reference")),
                ),
            )  # fmt: skip
        except InvalidDigest:
            continue
        return verified if isinstance(verified, list) else [verified]
    raise InvalidDigest("another document was signed")


def _bare(element: Any) -> bool:
    """Whether a signature holds nothing but what says who signed: content that came with it, others did not sign."""
    objects = element.findall(f"{{{_DS}}}Object")
    return all(len(o) == 1 and o[0].tag == f"{{{_XADES}}}QualifyingProperties" for o in objects)


def _without(root: Any, places: list[int]) -> bytes:
    """The document without the signatures at these places; the text between them stays."""
    copy = etree.fromstring(etree.tostring(root), etree.XMLParser(**_PARSER_OPTIONS))
    found = list(copy.iter(f"{{{_DS}}}Signature"))
    for element in (found[i] for i in places):
        parent, before = element.getparent(), element.getprevious()
        if element.tail and before is not None:
            before.tail = (before.tail or "") + element.tail
        elif element.tail:
            parent.text = (parent.text or "") + element.tail
        parent.remove(element)
    return etree.tostring(copy)


def _time(results: list[Any]) -> datetime | None:
    """The signing time the signer signed; whatever else the document says of it counts for nothing."""
    for result in results:
        if result.signed_xml is not None and result.signed_xml.tag == f"{{{_XADES}}}SignedProperties":
            said = result.signed_xml.findtext(f"{{{_XADES}}}SignedSignatureProperties/{{{_XADES}}}SigningTime")
            return datetime.fromisoformat(said.strip().replace("Z", "+00:00")) if said else None
    return None


def _whole(root: Any, element: Any, results: list[Any]) -> bool:
    """Whether one of the references is the document itself: its root (without the signature), or, in an enveloping signature,
    the one object there is."""
    tags = [r.signed_xml.tag for r in results if r.signed_xml is not None]
    if element is root:
        objects = [
            o for o in element.findall(f"{{{_DS}}}Object") if o.find(f"{{{_XADES}}}QualifyingProperties") is None
        ]
        return len(objects) == 1 and f"{{{_DS}}}Object" in tags
    own = root.get("Id") or root.get("ID") or root.get("id")
    for reference in element.findall(f"{{{_DS}}}SignedInfo/{{{_DS}}}Reference"):
        uri = reference.get("URI")
        if uri == "" or (own and uri == f"#{own}"):
            return root.tag in tags
    return False


def _tokens(root: Any, element: Any) -> list[stamps.Token]:
    """The stamps on a signature's own value; with one too many none is looked at. Raises ValueError or KeyError for what
    cannot be one: only what is encoded by RFC 3161, over the signature's value alone, is read."""
    held = element.findall(
        f"{{{_DS}}}Object/{{{_XADES}}}QualifyingProperties/{{{_XADES}}}UnsignedProperties"
        f"/{{{_XADES}}}UnsignedSignatureProperties/{{{_XADES}}}SignatureTimeStamp"
    )
    values = element.findall(f"{{{_DS}}}SignatureValue")
    tokens: list[stamps.Token] = []
    for stamp in held:
        method, *encoded = stamp if stamp.find(f"{{{_DS}}}CanonicalizationMethod") is not None else (None, *stamp)
        if len(values) != 1 or len(values[0]) or not encoded or len(tokens) + len(encoded) > stamps.MOST:
            raise ValueError("not one value with a few stamps")
        covers = _canonical(root, values[0], method)
        for one in encoded:
            if one.tag != f"{{{_XADES}}}EncapsulatedTimeStamp" or len(one) or len(one.text or "") > 2 * stamps.LARGEST:
                raise ValueError("not a stamp by RFC 3161")
            tokens.append(stamps.Token(base64.b64decode("".join((one.text or "").split()), validate=True), covers))
    return tokens


def _canonical(root: Any, value: Any, method: Any) -> bytes:
    """An element without children in the canonical form a stamp names, or, when it names none, in the standard's own."""
    name = _INCLUSIVE if method is None else method.get("Algorithm", "")
    takes = _CANONICAL[name]
    prefixes = None if method is None else method.find(f"{{{_EXCLUSIVE}}}InclusiveNamespaces")
    around: dict[str, str] = {}
    for outer in value.iterancestors():
        for key, said in outer.attrib.items():
            if key.startswith(takes):
                around.setdefault(key, said)
    if missing := {key: said for key, said in around.items() if key not in value.attrib}:
        place = list(root.iter(value.tag)).index(value)
        value = list(etree.fromstring(etree.tostring(root), etree.XMLParser(**_PARSER_OPTIONS)).iter(value.tag))[place]
        value.attrib.update(missing)
    return etree.tostring(
        value, method="c14n", exclusive=name.startswith(_EXCLUSIVE), with_comments=False,
        inclusive_ns_prefixes=None if prefixes is None else (prefixes.get("PrefixList") or "").split(),
    )  # fmt: skip
