"""MTOM: base64 content moved out of a SOAP message into parts of its own, and back in on receiving.

One concern: the multipart form. Adapters see plain XML with base64, whichever way it travels. It must never build a
tree of a message, hold more than the settings allow, or let one part be put in twice: that is how small messages grow
large. Sources: SOAP MTOM 1.0, XOP 1.0, RFC 2387.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
import uuid
from collections.abc import Iterator
from email.message import Message
from typing import Any
from urllib.parse import unquote
from xml.parsers import expat

from connectors.transports.base import Request
from connectors.transports.envelope import tag_end
from connectors.transports.soap_options import AttachmentSettings
from connectors.transports.xroad_soap import ROOT
from hub.kernel.ports import MaybeSent, NotSent, Reply

XOP = "http://www.w3.org/2004/08/xop/include"
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]*")
_MOST_HEAD = 16 * 1024


class Broken(ValueError):
    """Bản tin nhiều phần không đọc được. / A multipart message that cannot be read; says why, without content."""


class Mtom:
    """See `connectors.transports.layers.Layer`."""

    under: str | None = None

    def __init__(self, settings: AttachmentSettings) -> None:
        self._settings = settings
        self._elements = frozenset(settings.elements)

    def wrap(self, request: Request, memory: dict[str, Any]) -> None:
        """Move content out; a message without any to move goes out as it is."""
        if not request.body:
            return
        memory["mtom"] = True
        try:
            root, parts = move_out(request.body, self._elements, self._settings)
        except Broken as error:
            raise NotSent(f"attachments: {error}") from None
        if not parts:
            return
        memory[ROOT] = root
        boundary, start = f"lt-{uuid.uuid4().hex}", f"root-{uuid.uuid4().hex}@lien-thong"
        kind = next((v for n, v in request.headers.items() if n.lower() == "content-type"), "text/xml")
        media, _, parameters = kind.partition(";")
        action = re.search(r'action="[^"]*"', parameters)
        inner = f"{media.strip()}; {action.group(0)}" if action else media.strip()
        quoted = inner.replace('"', '\\"')
        pieces = [
            f'--{boundary}\r\nContent-Type: application/xop+xml; charset=UTF-8; type="{quoted}"\r\n'
            f"Content-Transfer-Encoding: 8bit\r\nContent-ID: <{start}>\r\n\r\n".encode(),
            root,
        ]
        for name, content in parts:
            pieces += [
                f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
                f"Content-Transfer-Encoding: binary\r\nContent-ID: <{name}>\r\n\r\n".encode(),
                content,
            ]
        pieces.append(f"\r\n--{boundary}--\r\n".encode())
        request.body = b"".join(pieces)
        request.headers = {n: v for n, v in request.headers.items() if n.lower() != "content-type"} | {
            "MIME-Version": "1.0",
            "Content-Type": f'multipart/related; type="application/xop+xml"; boundary="{boundary}"; '
            f'start="<{start}>"; start-info="{quoted}"',
        }

    def unwrap(self, sent: Request, memory: dict[str, Any], reply: Reply) -> Reply:
        """The reply as one XML document. A multipart answer that cannot be read raises `MaybeSent`."""
        kind = reply.headers.get("content-type", "")
        if "mtom" not in memory or not kind.lower().lstrip().startswith("multipart/"):
            return reply
        try:
            body, media = move_in(reply.body, kind, self._settings)
        except Broken as error:
            raise MaybeSent(f"the answer's attachments cannot be read: {error}") from None
        headers = {**reply.headers, "content-type": media}
        return Reply(status=reply.status, body=body, headers=headers, elapsed_ms=reply.elapsed_ms)


def move_out(
    data: bytes, elements: frozenset[str], settings: AttachmentSettings
) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The message with `xop:Include` for the content of the named elements, and the parts by content id. Content that
    is not plain base64, or small, stays. Raises `Broken` for content larger than allowed."""
    pieces: list[bytes] = []
    parts: list[tuple[str, bytes]] = []
    done = 0
    for start, end in _contents(data, elements):
        text = data[start:end]
        if not _BASE64.fullmatch(text):
            continue
        try:
            content = base64.b64decode(text)
        except binascii.Error:
            continue
        if len(content) < settings.from_bytes:
            continue
        if len(content) > settings.max_bytes or len(parts) >= settings.max_parts:
            raise Broken(f"more than {settings.max_parts} attachments, or one over {settings.max_bytes} bytes")
        name = f"{uuid.uuid4().hex}@lien-thong"
        parts.append((name, content))
        pieces += [data[done:start], f'<xop:Include xmlns:xop="{XOP}" href="cid:{name}"/>'.encode()]
        done = end
    return b"".join([*pieces, data[done:]]), parts


def move_in(data: bytes, content_type: str, settings: AttachmentSettings) -> tuple[bytes, str]:
    """The root document with its parts put back as base64, and its media type. Raises `Broken`."""
    about = _parameters(content_type)
    parts = _parts(data, about.get("boundary", ""), settings)
    if not parts:
        raise Broken("no parts")
    wanted = about.get("start", "").strip("<>")
    root_id = wanted if wanted in parts else next(iter(parts))
    root_head, root = parts.pop(root_id)
    if len(root) > settings.max_bytes:
        raise Broken(f"its document is over {settings.max_bytes} bytes")
    pieces: list[bytes] = []
    done = 0
    for start, end, href in _includes(root):
        name = unquote(href.removeprefix("cid:"))
        if not href.startswith("cid:") or name not in parts:
            raise Broken("it names a part that is not there, or names one twice")
        _, content = parts.pop(name)
        pieces += [root[done:start], base64.b64encode(content)]
        done = end
    inner = _parameters(root_head.get("content-type", ""))
    return b"".join([*pieces, root[done:]]), inner.get("type", about.get("start-info", "text/xml"))


def _contents(data: bytes, elements: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Where the text of the named elements stands, those with children left out."""
    found: list[tuple[int, int]] = []
    open_at: list[int] = []  # the start of the innermost element if it is a named one, else -1
    parser = expat.ParserCreate(namespace_separator=" ")

    def started(name: str, _: Any) -> None:
        if open_at:
            open_at[-1] = -1
        space, _, local = name.rpartition(" ")
        named = local in elements or f"{{{space}}}{local}" in elements
        open_at.append(parser.CurrentByteIndex if named else -1)

    def ended(_: str) -> None:
        start, end = open_at.pop(), parser.CurrentByteIndex
        if start >= 0:
            stop = tag_end(data, start)
            if data[stop - 1 : stop] != b"/":
                found.append((stop + 1, end))

    _scan(parser, data, started, ended)
    yield from found


def _includes(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Where each `xop:Include` stands, and what it names."""
    found: list[tuple[int, int, str]] = []
    opened: list[tuple[int, str]] = []
    parser = expat.ParserCreate(namespace_separator=" ")

    def started(name: str, attributes: dict[str, str]) -> None:
        if opened:
            raise Broken("something inside an include")
        if name == f"{XOP} Include":
            opened.append((parser.CurrentByteIndex, attributes.get("href", "")))

    def ended(name: str) -> None:
        if opened:
            start, href = opened.pop()
            stop = tag_end(data, start)
            if data[stop - 1 : stop] != b"/":
                stop = tag_end(data, parser.CurrentByteIndex)
            found.append((start, stop + 1, href))

    _scan(parser, data, started, ended)
    yield from found


def _scan(parser: Any, data: bytes, started: Any, ended: Any) -> None:
    def doctype(*_: Any) -> None:
        raise Broken("it carries a document type")

    parser.StartElementHandler, parser.EndElementHandler = started, ended
    parser.StartDoctypeDeclHandler = doctype
    if data[:2] in (b"\xfe\xff", b"\xff\xfe") or b"\0" in data[:4]:
        raise Broken("not UTF-8")
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise Broken(f"not well-formed XML ({expat.errors.messages.get(error.code, 'error')})") from None


def _parts(data: bytes, boundary: str, settings: AttachmentSettings) -> dict[str, tuple[dict[str, str], bytes]]:
    """Parts by content id, in order. Raises `Broken` for what is not closed, too many, too large or named twice."""
    if not 0 < len(boundary) <= 200:
        raise Broken("no boundary")
    mark = b"--" + boundary.encode()
    parts: dict[str, tuple[dict[str, str], bytes]] = {}
    at = 0 if data.startswith(mark) else data.find(b"\r\n" + mark) + 2
    if at == 1:
        raise Broken("its boundary does not occur")
    while not data.startswith(b"--", at + len(mark)):
        head_at = data.find(b"\r\n", at + len(mark)) + 2
        head_end = data.find(b"\r\n\r\n", head_at - 2, head_at + _MOST_HEAD)
        end = data.find(b"\r\n" + mark, max(head_end, 0))
        if head_at == 1 or head_end < 0 or end < 0:
            raise Broken("a part is not closed")
        head = _head(data[head_at : max(head_end, head_at)])
        name = head.get("content-id", "").strip().strip("<>") or f"part-{len(parts)}"
        if name in parts or len(parts) > settings.max_parts:
            raise Broken("a part named twice, or too many parts")
        content = _decoded(data[head_end + 4 : end], head.get("content-transfer-encoding", "").strip().lower())
        if parts and len(content) > settings.max_bytes:
            raise Broken(f"an attachment over {settings.max_bytes} bytes")
        parts[name] = (head, content)
        at = end + 2
    return parts


def _decoded(content: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        try:
            return base64.b64decode(content)
        except binascii.Error:
            raise Broken("a part's base64 is broken") from None
    return quopri.decodestring(content) if encoding == "quoted-printable" else content


def _head(data: bytes) -> dict[str, str]:
    text = data.decode("utf-8", "replace").replace("\r\n ", " ").replace("\r\n\t", " ")
    return {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in text.split("\r\n")) if v}


def _parameters(value: str) -> dict[str, str]:
    message = Message()
    message["Content-Type"] = value.replace("\r", " ").replace("\n", " ")
    return {name.lower(): str(text) for name, text in (message.get_params(failobj=[]) or [])[1:]}
