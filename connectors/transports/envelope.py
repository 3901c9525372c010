"""SOAP envelopes as bytes: putting header blocks in, and seeing headers and faults, without building the message.

One concern: what a protocol around an adapter's SOAP message needs to know of it. It must never change a byte of the
body, and never expand an entity: a document type ends the reading.
"""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from msgspec import Struct, field

_SPACES = {
    "http://schemas.xmlsoap.org/soap/envelope/": "1.1",
    "http://www.w3.org/2003/05/soap-envelope": "1.2",
}
_SEPARATOR = "\n"  # no namespace or name holds one
_MOST_DEPTH = 200
_MOST_TEXT = 64 * 1024
"""Characters of header blocks and faults that are kept."""


class NotSoap(ValueError):
    """Không phải bản tin SOAP. / Not a SOAP envelope; the text says what was found and holds no content."""


class Block(Struct):
    """One element: `{namespace}name`, its attributes and text, its children."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Block] = field(default_factory=list)

    def find(self, tag: str) -> Block | None:
        """The first child of that tag."""
        return next((c for c in self.children if c.tag == tag), None)


class Fault(Struct, frozen=True):
    """A SOAP fault: its code as written, its text, and the tags its detail holds."""

    code: str
    text: str
    detail: tuple[str, ...]


class Seen(Struct):
    """What was read: the version, the header blocks, the fault if the body is one; and where in the bytes headers go."""

    version: str
    headers: list[Block]
    fault: Fault | None
    header_at: int | None
    """Where the header element's `<` stands."""
    body_at: int
    prefix: bytes
    """The envelope's prefix in the document, with its colon; empty for the default namespace."""


class _Done(Exception):
    """Everything needed has been seen."""


class _Reader:
    """Reads until the body's first child is known not to be a fault, or the fault has ended."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stack: list[Block] = []
        self._path: list[str] = []
        self._space = ""
        self._kept = 0
        self.version = ""
        self.headers: list[Block] = []
        self.fault: Block | None = None
        self.header_at: int | None = None
        self.body_at = -1
        self._parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.buffer_text = True

    def read(self) -> None:
        try:
            self._parser.Parse(self._data, True)
        except _Done:
            return
        except (expat.ExpatError, ValueError, LookupError) as error:
            if isinstance(error, NotSoap):
                raise
            raise NotSoap(f"not well-formed XML ({type(error).__name__})") from None
        if self.body_at < 0:
            raise NotSoap("the envelope has no body")

    def _doctype(self, *_: Any) -> None:
        raise NotSoap("it carries a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(_SEPARATOR)
        depth = len(self._path)
        if depth == 0:
            if local != "Envelope" or space not in _SPACES:
                raise NotSoap("not a SOAP envelope")
            self._space, self.version = space, _SPACES[space]
        elif depth >= _MOST_DEPTH:
            raise NotSoap("nested too deeply")
        elif depth == 1 and space == self._space and local == "Header" and self.header_at is None and self.body_at < 0:
            self.header_at = self._parser.CurrentByteIndex
        elif depth == 1 and space == self._space and local == "Body":
            if self.body_at >= 0:
                raise NotSoap("two bodies")
            self.body_at = self._parser.CurrentByteIndex
        elif depth == 1:
            raise NotSoap("something beside header and body")
        elif depth == 2 and self.body_at >= 0 and (local != "Fault" or space != self._space):
            raise _Done
        self._path.append(name)
        if depth >= 2:
            block = Block(_clark(name), {_clark(n): v for n, v in attributes.items()})
            if self._stack:
                self._stack[-1].children.append(block)
            elif self.body_at >= 0:
                self.fault = block
            else:
                self.headers.append(block)
            self._stack.append(block)

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._stack:
            self._stack.pop()
        depth = len(self._path)
        if self.body_at >= 0 and depth <= 2:
            raise _Done

    def _text(self, data: str) -> None:
        if self._stack:
            self._kept += len(data)
            if self._kept > _MOST_TEXT:
                raise NotSoap("header blocks or fault too large")
            self._stack[-1].text += data


def see(data: bytes) -> Seen:
    """Headers and fault of an envelope. Reads no further than needed. Raises `NotSoap` for anything else whatever."""
    reader = _Reader(data)
    reader.read()
    raw = data[reader.body_at + 1 : reader.body_at + 1 + 256].split(b"Body", 1)[0]
    return Seen(
        version=reader.version,
        headers=reader.headers,
        fault=None if reader.fault is None else _fault(reader.fault),
        header_at=reader.header_at,
        body_at=reader.body_at,
        prefix=raw,
    )


def with_headers(data: bytes, blocks: bytes) -> bytes:
    """The envelope with header blocks (self-contained XML, UTF-8) put first into its header, which is made where there
    is none; every other byte stays. Raises `NotSoap`, also for an envelope that is not UTF-8."""
    if data[:2] in (b"\xfe\xff", b"\xff\xfe") or b"\0" in data[:4]:
        raise NotSoap("not UTF-8")
    head = data[:200].partition(b"?>")[0].lower()
    if b"encoding" in head and not any(e in head for e in (b"utf-8", b"us-ascii")):
        raise NotSoap("not UTF-8")
    seen = see(data)
    name = seen.prefix + b"Header"
    if seen.header_at is None:
        made = b"<%b>%b</%b>" % (name, blocks, name)
        return data[: seen.body_at] + made + data[seen.body_at :]
    start = seen.header_at
    stop = tag_end(data, start)
    if data[stop - 1 : stop] == b"/":  # closes itself: <soap:Header/>
        opened = data[start : stop - 1].rstrip()
        return data[:start] + opened + b">" + blocks + b"</" + name + b">" + data[stop + 1 :]
    return data[: stop + 1] + blocks + data[stop + 1 :]


def tag_end(data: bytes, at: int) -> int:
    """Where the tag that begins at `at` has its `>`. Raises `NotSoap` when it has none."""
    quote = 0
    for n in range(at, len(data)):
        c = data[n]
        if quote:
            quote = 0 if c == quote else quote
        elif c in (0x22, 0x27):
            quote = c
        elif c == 0x3E:
            return n
    raise NotSoap("an unfinished tag")


def _fault(block: Block) -> Fault:
    space = block.tag.rpartition("}")[0] + "}"
    code12 = block.find(f"{space}Code")
    if code12 is not None:
        value, reason = code12.find(f"{space}Value"), block.find(f"{space}Reason")
        sub = code12.find(f"{space}Subcode")
        inner = sub.find(f"{space}Value") if sub is not None else None
        chosen = inner or value
        said = reason.children[0].text if reason is not None and reason.children else ""
        code = chosen.text if chosen is not None else ""
        detail = block.find(f"{space}Detail")
    else:
        code_, text_ = block.find("faultcode"), block.find("faultstring")
        code, said = (code_.text if code_ else ""), (text_.text if text_ else "")
        detail = block.find("detail")
    return Fault(
        code=code.strip().rpartition(":")[2],
        text=said.strip(),
        detail=tuple(c.tag for c in detail.children) if detail is not None else (),
    )


def _clark(name: str) -> str:
    space, _, local = name.rpartition(_SEPARATOR)
    return f"{{{space}}}{local}" if space else local
