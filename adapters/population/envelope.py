"""SOAP bytes out and in, over the pinned contract of this folder.

One concern: turning values into a request envelope and reply bytes into a checked element. It must never fetch
anything: the contract's files are beside this module, entities and document types are refused, and a reply is parsed
only up to a size.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import xmlschema
import zeep
from lxml import etree
from zeep.transports import Transport

from adapters.population.identity import ANSWER_NS

CONTRACT = Path(__file__).parent / "contract"
REQUEST_NS = "http://dancuquocgia.bca"
OPERATION = "TraCuuThongTinCongDan"
_SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
_ENVELOPE, _BODY, _FAULT = _SOAP + "Envelope", _SOAP + "Body", _SOAP + "Fault"
_Q = f"{{{ANSWER_NS}}}"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_PLAIN = re.compile("[^\t\n\r\u0020-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot hold, and what it holds only written otherwise: `&`, `<`, `>`."""
_LONG_NUMBER = re.compile(r"\d{6,}")
_MARKS = ("lt-request", "lt-number", "lt-name", "lt-birth")
MAX_BYTES = 256 * 1024
"""The largest reply that is read: an answer about one person is under 8 KB."""


class Unreadable(Exception):
    """Không đọc được câu trả lời. / The answer cannot be read. Its text says why and holds no personal value."""


class _NoNetwork(Transport):
    """zeep is a codec here: it reads the files beside this module and nothing else."""

    def _load_remote_data(self, url: str) -> bytes:
        raise zeep.exceptions.TransportError(f"{url}: the contract is local, nothing is fetched")


@cache
def client() -> zeep.Client:
    """The codec over the pinned description; built once, it holds no connection."""
    return zeep.Client(str(CONTRACT / "population.wsdl"), transport=_NoNetwork())


def zeep_request(values: dict[str, Any], operation: str = OPERATION) -> bytes:
    """One request as zeep writes it. `values` are keyed by the contract's element names.

    Raises zeep's own errors for a name or an order the contract does not have: nothing else is ever sent."""
    codec = client()
    message = codec.create_message(codec.service, operation, **values)
    return bytes(etree.tostring(message, xml_declaration=True, encoding="utf-8"))


class RequestTemplate:
    """zeep's own output, prepared once with marks where the four values of each look-up go.

    Thirty times as fast as asking zeep for each request; the order of elements, the namespaces and the escaping of the
    constants stay zeep's.
    """

    def __init__(self, constants: dict[str, str], operation: str = OPERATION) -> None:
        self._pieces: dict[tuple[bool, bool], list[bytes]] = {}
        request, number, name, birth = _MARKS
        for old_number in (False, True):
            for year_only in (False, True):
                whole = zeep_request(
                    {
                        **constants,
                        "MaYeuCau": request,
                        "SoCMND" if old_number else "SoDinhDanh": number,
                        "HoVaTen": name,
                        "NgayThangNamSinh": {"Nam" if year_only else "NgayThangNam": birth},
                    },
                    operation,
                )
                pieces = []
                for mark in _MARKS:
                    before, found, whole = whole.partition(b">" + mark.encode() + b"<")
                    if not found:
                        raise ValueError(f"the contract places no {mark}")
                    pieces.append(before + b">")
                    whole = b"<" + whole
                self._pieces[old_number, year_only] = [*pieces, whole]

    def fill(self, request_id: str, number: str, name: str, birth: str) -> bytes:
        """The request's bytes. A 9-digit number goes to SoCMND, a 4-digit birth to Nam.

        Characters XML cannot hold are left out."""
        a, b, c, d, e = self._pieces[len(number) == 9, len(birth) == 4]
        return b"".join((a, _encode(request_id), b, _encode(number), c, _encode(name), d, _encode(birth), e))


def _encode(value: str) -> bytes:
    # Nearly every value is plain: one look tells.
    return value.encode() if _NOT_PLAIN.search(value) is None else escape(clean(value)).encode()


def clean(value: str) -> str:
    """A text without the characters XML cannot hold."""
    return _NOT_XML.sub("", value)


_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)


_UTF8 = tuple(
    f"<?xml version={q}1.0{q} encoding={q}{name}{q}{alone}?>".encode()
    for q in "\"'"
    for name in ("UTF-8", "utf-8")
    for alone in ("", f" standalone={q}yes{q}", f" standalone={q}no{q}")
)
"""Declarations after which every mark of the document's own is the very byte ASCII has for it."""


def payload(body: bytes) -> etree._Element:
    """The one element inside a SOAP 1.1 body. Raises `Unreadable` for anything else whatever."""
    if len(body) > MAX_BYTES:
        raise Unreadable(f"{len(body)} bytes are more than the {MAX_BYTES} an answer may have")
    # A document type is the door for entities; it is refused before parsing, where the encoding lets it be seen. Most answers
    # have not even its exclamation mark, which is found much faster.
    seen = body.startswith(_UTF8)
    if (not seen and b"\0" in body[:8]) or (b"!" in body and b"<!DOCTYPE" in body):
        raise _not_soap(body, "it carries a document type or is not in an ASCII-compatible encoding")
    try:
        root = etree.fromstring(body, _PARSER)
    except (etree.LxmlError, ValueError, LookupError) as error:
        raise _not_soap(body, f"not well-formed XML: {safe(str(error))}") from None
    # … and after it, where it does not.
    if not seen and root.getroottree().docinfo.internalDTD is not None:
        raise Unreadable("it carries a document type")
    if root.tag != _ENVELOPE:
        raise _not_soap(body, f"not a SOAP 1.1 envelope but {safe(str(root.tag))}")
    # Asked by name only where a header stands before it: a search costs a fifth of the parsing.
    holder = root[0] if len(root) else None
    if holder is None or holder.tag != _BODY:
        holder = root.find(_BODY)
    if holder is None or len(holder) != 1:
        raise Unreadable("the SOAP body does not hold exactly one element")
    return holder[0]


def _not_soap(body: bytes, why: str) -> Unreadable:
    """Why bytes cannot be read; of a web page (a proxy's, an error's) that it is one."""
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower()
    return Unreadable("a web page, not SOAP" if start.startswith((b"<!doctype html", b"<html")) else why)


def fault(element: etree._Element) -> tuple[str, str] | None:
    """Code (without its prefix) and text of a SOAP fault, numbers in it masked; None when the element is none."""
    if element.tag != _FAULT:
        return None
    code = (element.findtext("faultcode") or "").strip().rpartition(":")[2]
    return safe(code), safe((element.findtext("faultstring") or "").strip())


@cache
def _answer_schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(CONTRACT / "answer.xsd"), _PARSER))


@cache
def _answer_explainer() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(CONTRACT / "answer.xsd"), allow="local", defuse="always")


@cache
def _known() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Tags the answers' schema has, those of them that hold elements, and the names of all attributes."""
    xs = "{http://www.w3.org/2001/XMLSchema}"
    root = etree.parse(str(CONTRACT / "answer.xsd"), _PARSER).getroot()
    complex_types = {str(t.get("name")) for t in root.iter(f"{xs}complexType") if t.get("name")}
    elements = list(root.iter(f"{xs}element"))
    holders = (e for e in elements if e.find(f"{xs}complexType") is not None or str(e.get("type"))[3:] in complex_types)
    return (
        frozenset(f"{{{ANSWER_NS}}}{e.get('name')}" for e in elements),
        frozenset(f"{{{ANSWER_NS}}}{e.get('name')}" for e in holders),
        frozenset(str(a.get("name")) for a in root.iter(f"{xs}attribute")),
    )


def _without_unknown(element: etree._Element) -> bool:
    """Take out what the contract does not know yet, where elements or attributes may stand; whether there was any.

    Only what is of the answers' own namespace: another's element (an inclusion, a signature) is no new field of a person. What
    it knows must still be right: a known element in the wrong place, or inside a plain value, stays and is refused.
    """
    tags, holders, attributes = _known()
    found = False
    for holder in [node for node in element.iter() if node.tag in holders]:
        for child in [c for c in holder if c.tag not in tags and str(c.tag).startswith(_Q)]:
            holder.remove(child)
            found = True
        for name in [n for n in holder.attrib if n not in attributes and str(n)[:1] != "{"]:
            del holder.attrib[name]
            found = True
    return found


def checked(element: etree._Element, name: str) -> etree._Element:
    """An answer's element that has the tag `name` and follows the contract, but for elements the contract does not know.

    Raises `Unreadable` with the places and reasons otherwise.
    """
    if element.tag != f"{{{ANSWER_NS}}}{name}":
        raise Unreadable(f"{name} expected, {safe(str(element.tag))} found")
    schema = _answer_schema()
    # Looked through only where it is not as pinned: what the database adds one day costs the usual answer nothing.
    if not schema.validate(element) and not (_without_unknown(element) and schema.validate(element)):
        raise Unreadable("against the contract: " + explain(element))
    return element


def check_answer(element: etree._Element, *, trust_count: bool) -> list[etree._Element]:
    """The `CongDan` elements of a valid answer.

    Raises `Unreadable` with the places and reasons when it is not valid, and, with `trust_count`, when SoCongDan
    promises more people than there are: a cut answer must not pass for "no match".
    """
    checked(element, "CongdanCollection")
    if trust_count and len(element) < int(element.get("SoCongDan", "").strip() or 0):
        raise Unreadable("incomplete: fewer CongDan than SoCongDan says")
    return list(element)


def explain(element: etree._Element) -> str:
    """Where and why an answer breaks its schema: up to three places. Values of the answer do not appear."""
    try:
        errors = list(islice(_answer_explainer().iter_errors(element), 3))
    except (xmlschema.XMLSchemaException, RecursionError, ValueError, TypeError) as error:
        return f"no explanation ({type(error).__name__})"
    return "; ".join(f"{safe(error.path or '/')}: {_reason(error)}" for error in errors) or "no explanation"


def _reason(error: xmlschema.XMLSchemaValidationError) -> str:
    reason = error.reason or type(error).__name__
    if isinstance(error.obj, str) and error.obj:
        reason = reason.replace(error.obj, "…")
    text = getattr(error.elem, "text", None)
    if text and text.strip():
        reason = reason.replace(text, "…").replace(text.strip(), "…")
    return safe(reason)


def safe(text: str) -> str:
    """Short, on one line, without long numbers: a fault may quote the number it was asked about."""
    return _LONG_NUMBER.sub("…", " ".join(text.split()))[:240]
