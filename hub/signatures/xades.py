"""XAdES: the signatures inside an XML document.

One concern: each signature by itself, with its own signer's certificate and time stamps, and whether what it signs is the whole
document.
It must never follow a reference out of the document, nor take one element signed for the document (signature wrapping).
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from asn1crypto import x509 as asn1
from cryptography import x509
from lxml import etree
from signxml.exceptions import InvalidDigest, InvalidInput
from signxml.xades import XAdESSignatureConfiguration, XAdESVerifier

from hub.kernel.ports import Text
from hub.signatures import (
    ALTERED,
    ARCHIVE_OLD,
    PARTIAL,
    UNREADABLE,
    UNTRUSTED,
    Signature,
    archived_by,
    not_counted,
    stamps,
    xml_stamps,
)
from hub.signatures.trust import Trust, aware

_DS = "http://www.w3.org/2000/09/xmldsig#"
_XADES = "http://uri.etsi.org/01903/v1.3.2#"
_MOST = 20
_FUTURE = timedelta(hours=1)
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
    results: list[Any] = []
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
    stamp = await stamps.judge(lambda: xml_stamps.of_value(element), trust)
    archive, notes = await _archived(element, results, trust)
    try:
        bad = await trust.problem(leaf, others, claimed, stamp.at)
        # A later time proved beside can excuse; it accuses nobody who stood without it.
        if bad is not None and archive.at is not None and (stamp.at is None or archive.at < stamp.at):
            bad = bad if await trust.problem(leaf, others, claimed, archive.at) is not None else None
        if bad is not None:
            problems.append(bad)
    except Exception:
        problems.append(UNREADABLE)
    first = stamps.together(stamp, archive)
    if at is not None and claimed > aware(None) + _FUTURE:
        problems.append(UNTRUSTED)
    return Signature(
        form="XAdES", signed_at=claimed.isoformat() if at else None, stamped_at=first.at.isoformat() if first.at else None,
        stamped_by=first.by, problems=tuple(dict.fromkeys([*problems, *stamp.problems])), notes=notes, **names
    )  # fmt: skip


async def _archived(element: Any, signed: list[Any], trust: Trust) -> tuple[stamps.Stamp, tuple[Text, ...]]:
    """What a signature's archive time stamps prove together, and a word on each; without a signature that holds none is looked at.
    Each is judged by itself: the first prove the most, those after the first few renew them."""
    held, old = xml_stamps.archives(element)
    if not signed:
        return stamps.Stamp(), ()
    proved: list[stamps.Stamp] = []
    notes: list[Text] = [ARCHIVE_OLD] if old else []
    for one in held[: stamps.MOST]:
        found = await stamps.judge(partial(xml_stamps.of_archive, element, one, signed), trust)
        if found.problems:
            notes += [not_counted(p) for p in found.problems]
        elif found.at is not None and found.by is not None:
            proved.append(found)
            notes.append(archived_by(found.by, found.at))
    return stamps.together(*proved), tuple(dict.fromkeys(notes))


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
