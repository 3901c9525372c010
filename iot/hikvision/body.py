"""Taking a Hikvision request apart: the event's text on one side, pictures and everything else on the other.

One concern: multipart, JSON and XML in all the shapes firmware gives them. Pure. It must never hand a picture on as
text, resolve an entity, or raise for any bytes."""

from __future__ import annotations

import re
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from iot.web import Cut, Unpacked

_BOUNDARY = re.compile(rb"boundary=(?:\"([^\"\r\n]{1,200})\"|([^\s;,\"]{1,200}))", re.IGNORECASE)
_TOKEN = re.compile(rb"[^\s\"'<>]++")
_SLASHES = re.compile(rb"(?:\\{0,8}/|\\{1,8}u002[fF]){2}|(?:%2[fF]){2}")
_HOST = re.compile(rb"[A-Za-z0-9.-]++(?:\\{0,8}/|\\{1,8}u002[fF]|%2[fF])")
"""A host alone before the path: an `@` further on is the path's own, unless a colon stands between."""
_COLON = re.compile(rb":|u003[aA]|%3[aA]")
_AT = re.compile(rb"@|\\{1,8}u0040|%40")
_BLANK = b"\xef\xbb\xbf \t\r\n"
_MOST_PARTS = 40
_DEEPEST = 12
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")


def unpack(content_type: str, body: bytes) -> Unpacked:
    """A request's body taken apart. The declared type only hints at the boundary: it is often wrong or missing."""
    start = body[:300].lstrip(_BLANK)
    if start.startswith(b"--"):
        unpacked = _multipart(content_type, body[len(body[:300]) - len(start) :])
    else:
        unpacked = Unpacked(body=body, broken=not start.startswith((b"{", b"<")))
    unpacked.body = without_credentials(unpacked.body)
    return unpacked


def without_credentials(body: bytes) -> bytes:
    """A text whose links have no user and password: what stands between a link's slashes and the last `@` before a quote, a
    blank or `<` goes, however slashes and `@` are escaped (JSON, JSON in JSON, percent). Rather too much of a link than
    a part of a password: one may hold `@` and `/` itself."""
    if b"@" not in body and b"u0040" not in body and b"%40" not in body:
        return body
    return _TOKEN.sub(_bare, body)


def _bare(token: re.Match[bytes]) -> bytes:
    text = token.group()
    slashes = _SLASHES.search(text)
    if slashes is None:
        return text
    encoded = text[slashes.start() : slashes.start() + 1] == b"%"
    end = 0
    for at in _AT.finditer(text, slashes.end()):
        # In a plain link `%40` is a password's or a query's own; where the slashes are written so, it is the sign itself.
        if encoded or at.group() != b"%40":
            end = at.end()
    if not end or (_HOST.match(text, slashes.end()) and _COLON.search(text, slashes.end(), end) is None):
        return text
    return text[: slashes.end()] + text[end:]


class _Parts:
    """Collects parts as the parser finds them: raw headers and content."""

    def __init__(self) -> None:
        self.headers: list[bytearray] = []
        self.contents: list[bytearray] = []
        self.ended = 0

    def begin(self) -> None:
        if len(self.contents) >= _MOST_PARTS:
            raise FormParserError("too many parts")
        self.headers.append(bytearray())
        self.contents.append(bytearray())

    def header(self, data: bytes, start: int, end: int) -> None:
        self.headers[-1] += data[start:end].lower() + b" "

    def content(self, data: bytes, start: int, end: int) -> None:
        self.contents[-1] += data[start:end]

    def end(self) -> None:
        self.ended += 1


def _multipart(content_type: str, body: bytes) -> Unpacked:
    first = body[: body.find(b"\n") + 1].rstrip(b"\r\n")[2:]
    declared = _BOUNDARY.search(content_type.encode("latin-1", "replace"))
    boundary = (declared.group(1) or declared.group(2)) if declared else first
    if first != boundary:
        boundary = first
    parts = _Parts()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header,
                "on_header_value": parts.header,
                "on_part_data": parts.content,
                "on_part_end": parts.end,
            },
        )
        parser.write(body)
    except (FormParserError, ValueError):
        return Unpacked(body=body, broken=True)
    return _choose(body, parts)


def _choose(body: bytes, parts: _Parts) -> Unpacked:
    """The first part that is JSON or XML is the event; the others are cut, whatever they call themselves."""
    event: bytes | None = None
    cuts: list[Cut] = []
    for index, (headers, content) in enumerate(zip(parts.headers, parts.contents, strict=True)):
        piece = bytes(content)
        pictured = b"image/" in headers or piece.startswith(_PICTURES)
        if event is None and not pictured and piece.lstrip(_BLANK).startswith((b"{", b"<")):
            event = piece
        elif piece:
            cuts.append(Cut(f"/parts/{index}", piece, "image" if pictured else "part"))
    if not parts.contents:
        return Unpacked(body=body, broken=True)
    return Unpacked(body=event or b"", cuts=cuts, broken=parts.ended < len(parts.contents))


def read_xml(body: bytes) -> Any:
    """An XML document as nested dictionaries (local names in lower case; of equal siblings the last stays); None for
    what is not well-formed or declares a document type."""
    from lxml import etree  # with the first gate that speaks XML

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True)
    try:
        root = etree.fromstring(body.lstrip(_BLANK), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    if root is None:
        return None
    about: Any = root.getroottree().docinfo
    if about.doctype:
        return None
    return {_name(root): _tree(root, 0)}


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _tree(element: Any, depth: int) -> Any:
    children = [child for child in element if isinstance(child.tag, str)]
    if not children or depth >= _DEEPEST:
        return element.text or ""
    return {_name(child): _tree(child, depth + 1) for child in children}
