"""The time stamps within an XAdES signature: each token, and the bytes it has to be the stamp of.

One concern: those bytes, as ETSI EN 319 132-1 puts them together. Of a signature time stamp (5.3) they are the signature's value; of
an archive time stamp (5.5.2.2, not distributed; TS 101 903 v1.4.2, 8.2.1) all that was signed, the signature, and what was added to
it before, in this order. It must never guess: what is said in a way not read here cannot be read, and no stamp is looked at
as one of less than the standard has it cover.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from lxml import etree

from hub.signatures import stamps

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
_ARCHIVE = "{http://uri.etsi.org/01903/v1.4.1#}ArchiveTimeStamp"
_OLD_ARCHIVE = f"{XADES}ArchiveTimeStamp"
_HOLDER = f"{DS}Object/{XADES}QualifyingProperties/{XADES}UnsignedProperties/{XADES}UnsignedSignatureProperties"
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
_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_BASE64 = "http://www.w3.org/2000/09/xmldsig#base64"
_PARTS = 200
"""Properties and objects of one signature; one renewed for decades has some dozens, and each is written out for each stamp."""


def of_value(element: Any) -> list[stamps.Token]:
    """The stamps on a signature's own value; with one too many none is looked at. Raises ValueError or KeyError for what
    cannot be one: only what is encoded by RFC 3161, over the signature's value alone, is read."""
    tokens: list[stamps.Token] = []
    for stamp in element.findall(f"{_HOLDER}/{XADES}SignatureTimeStamp"):
        method, encoded = _said(stamp)
        if len(tokens) + len(encoded) > stamps.MOST:
            raise ValueError("not a few stamps")
        covers = canonical(_value(element), method)
        tokens += [stamps.Token(der, covers) for der in encoded]
    return tokens


def archives(element: Any) -> tuple[list[Any], bool]:
    """A signature's archive time stamps as they stand, and whether any are of the form before (XAdES 1.3.2), which is not read."""
    return element.findall(f"{_HOLDER}/{_ARCHIVE}"), element.find(f"{_HOLDER}/{_OLD_ARCHIVE}") is not None


def of_archive(element: Any, stamp: Any, signed: list[Any]) -> list[stamps.Token]:
    """The tokens of one of a signature's archive time stamps. `signed`: what the signature was seen to sign, reference by reference.

    Raises ValueError or KeyError for one said in a way that is not read.
    """
    method, encoded = _said(stamp)
    around = element.findall(_HOLDER)
    info, keys = element.findall(f"{DS}SignedInfo"), element.findall(f"{DS}KeyInfo")
    if len(around) != 1 or len(info) != 1 or len(keys) > 1 or len(encoded) > stamps.MOST:
        raise ValueError("not one signature with a few stamps")
    if method is not None and method.get("Algorithm", "").startswith(_LATER) and _based(stamp):
        raise ValueError("an address around it changes the canonical form")
    before = [e for e in takewhile(lambda e: e is not stamp, around[0]) if isinstance(e.tag, str)]
    objects = [o for o in element.findall(f"{DS}Object") if o.find(f"{XADES}QualifyingProperties") is None]
    if len(before) + len(objects) > _PARTS:
        raise ValueError("more parts than a signature has")
    covers = b"".join(
        (*_references(info[0], signed, method),
         *(canonical(e, method) for e in (info[0], _value(element), *keys, *before, *objects)))
    )  # fmt: skip
    return [stamps.Token(der, covers) for der in encoded]


def canonical(element: Any, method: Any) -> bytes:
    """An element in the canonical form a stamp names, or, when it names none, in the standard's own. Raises KeyError for another."""
    name = _INCLUSIVE if method is None else method.get("Algorithm", "")
    takes = _CANONICAL[name]
    prefixes = None if method is None else method.find(f"{{{_EXCLUSIVE}}}InclusiveNamespaces")
    lent: dict[str, str] = {}
    for outer in element.iterancestors():
        for key, said in outer.attrib.items():
            if key.startswith(takes) and key not in element.attrib:
                lent.setdefault(key, said)
    # Only while it is written: a copy of the document for each of a thousand elements would be anybody's to ask for.
    element.attrib.update(lent)
    try:
        return bytes(
            etree.tostring(
                element, method="c14n", exclusive=name.startswith(_EXCLUSIVE), with_comments=name.endswith("WithComments"),
                inclusive_ns_prefixes=None if prefixes is None else (prefixes.get("PrefixList") or "").split(),
            )
        )  # fmt: skip
    finally:
        for key in lent:
            del element.attrib[key]


def _references(info: Any, signed: list[Any], method: Any) -> Iterator[bytes]:
    """What each reference led to: the bytes its transforms ended in, or, where they left nodes, their canonical form by the stamp."""
    references = info.findall(f"{DS}Reference")
    for reference, result in zip(references, signed, strict=True):
        transforms = {t.get("Algorithm") for t in reference.findall(f"{DS}Transforms/{DS}Transform")}
        if transforms - _CANONICAL.keys() - {_ENVELOPED, _BASE64}:
            raise ValueError("a transform that is not read")
        if transforms - {_ENVELOPED}:
            yield result.signed_data
        else:
            yield canonical(result.signed_xml, method)


def _said(stamp: Any) -> tuple[Any, list[bytes]]:
    """(the canonicalisation a stamp names, or None; its tokens). Raises ValueError where anything else stands in it."""
    method, *encoded = stamp if stamp.find(f"{DS}CanonicalizationMethod") is not None else (None, *stamp)
    if not encoded or (method is not None and method.tag != f"{DS}CanonicalizationMethod"):
        raise ValueError("not a stamp by RFC 3161")
    tokens: list[bytes] = []
    for one in encoded:
        if one.tag != f"{XADES}EncapsulatedTimeStamp" or len(one) or len(one.text or "") > 2 * stamps.LARGEST:
            raise ValueError("not a stamp by RFC 3161")
        tokens.append(base64.b64decode("".join((one.text or "").split()), validate=True))
    return method, tokens


def _value(element: Any) -> Any:
    """The signature's value: one, without anything inside that is not the value."""
    values = element.findall(f"{DS}SignatureValue")
    if len(values) != 1 or len(values[0]):
        raise ValueError("not one value")
    return values[0]


def _based(element: Any) -> bool:
    return any(e.get(f"{_XML}base") is not None for e in (element, *element.iterancestors()))
