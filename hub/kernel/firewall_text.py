"""The byte rules of the biometric firewall: what an image, a template or an embedding looks like outside parsed JSON.

One concern: patterns and names, applied to bytes. Every pattern is linear in its input, whatever a sender makes up:
repeats are possessive or bounded. It must never hash, log or keep what it cuts beyond the list its caller
gives; the caller turns that list into hashes at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

MARK = "biometric-removed"
"""What stands in the place of removed content: plain enough to be a value in JSON, XML, forms and CSV alike."""
_MARK = MARK.encode()

SHORT = 8
"""A string of at most this many characters can hold no image and no address of one."""

RUN = 200
"""Length from which an unbroken base64 text is taken for an image whatever its field is called. Above a SHA-512 in
hex."""

PROOF = 1400
"""Longest base64 text that a field named after signatures may hold: an RSA-8192 signature. Longer ones are
certificates, known by how they begin."""

STRONG = 2
"""The field holds an image or a template by its name: any longer string in it goes."""
WEAK = 1
"""The name may also mean something harmless (`face`, `template`): only long strings and links go."""


class Cut(Struct, frozen=True):
    """One removed piece, on its way to being hashed."""

    offset: int
    content: bytes
    reason: str


_STRONG_NAMES = re.compile(
    r"(?:(?:face|facial|finger|head|scene|snap|sanp|capture|captured|detect|detected|crop|cropped|full|small|big|background|bg"
    r"|person|user|student|learner|teacher|staff|visitor|customer|profile|id|card|register|registered|live|raw|origin|original)*"
    r"(?:pic|picture|image|img|photo|avatar|selfie|portrait|thumbnail|thumb|snapshot|jpeg|jpg|png)"
    r"(?:s|url|uri|link|path|data|base|bytes|content|file|buffer|str|string|b|info)*"
    r"|(?:face|facial|finger|palm|iris|vein|voice|bio|biometric|biometrics)"
    r"(?:print|feature|template|embedding|vector|descriptor|encoding|data|code|minutiae|model|signature|url|uri|s)+"
    r"|(?:feature|template)(?:vector|data|base|url|s)+|embeddings?|biometrics?|scene|(?:scene|snap|sanp)(?:url|uri|data)"
    r"|hinhanh|anhthe|anhchandung|anhkhuonmat|khuonmat|vantay|mongmat|chandung)"
)
_WEAK_NAMES = re.compile(r"faces?|facial|features?|templates?|descriptors?|vectors?|palm|iris|vein|snap|anh|minutiae")
_NOT_LETTERS = re.compile(r"[^a-z]+")


class _Levels(dict[str, int]):
    """Field name → 0, WEAK or STRONG. Remembers the names it met, up to a bound: names are the sender's choice."""

    def __missing__(self, name: str) -> int:
        bare = _NOT_LETTERS.sub("", name[:64].lower())
        level = STRONG if _STRONG_NAMES.fullmatch(bare) else WEAK if _WEAK_NAMES.fullmatch(bare) else 0
        if len(self) < 4096 and len(name) <= 64:
            self[name] = level
        return level


levels = _Levels()


def unwanted(level: int, value: str) -> bool:
    """Whether a string in a field named after images or biometrics has to go."""
    size = len(value)
    if not level or size <= SHORT or value == MARK:
        return False
    if level == STRONG:
        return size > 16 or "/" in value or "." in value
    return size > 64 or "://" in value or value[:5].lower() == "data:"


_DOCUMENTS = (b"%PDF-", b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
# The same, in base64, with XML and DER (signatures, certificates).
_DOCUMENTS_B64 = (b"JVBERi0", b"UEsDB", b"0M8R4KGx", b"PD94bWw", b"MII")
_ENCLOSED = re.compile(
    rb"(?:JVBERi0|UEsDB|0M8R4KGx|PD94bWw|MII)(?:[A-Za-z0-9+/=_-]|\\++(?:[/nrt]|u00[0-9A-Fa-f]{2})|[\r\n])++"
)
_PROOF_NAMES = re.compile(rb"(?i:signature(?:value)?|certificate|digest(?:value)?|chu_?ky(?:_?so)?|jws|hmac)\W*$")
_IMAGES_B64 = (b"/9j/", b"_9j_", b"iVBORw0KGgo", b"R0lGOD", b"UklGR", b"\\/9j\\/", b"%2F9j%2F", b"%2f9j%2f")
_IMAGE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP", re.DOTALL)
_CONTROL = bytes(c for c in range(32) if c not in b"\t\n\r\x0c\x1b")
_TEXT = bytes(c for c in range(256) if c not in _CONTROL)

_RUN = re.compile(
    rb"[A-Za-z0-9+/=_-]{20,}+"
    rb"(?:(?:[\r\n]++[ \t]*+|\\++(?:[/nrt]|u00[0-9A-Fa-f]{2})|%[0-9A-Fa-f]{2}|[ \t](?=[A-Za-z0-9+/=_-]{20}))++"
    rb"[A-Za-z0-9+/=_-]++)*+"
)
_DATA = re.compile(
    rb"[dD][aA][tT][aA](?::|%3[Aa])(?=[^,\"'<>\s]{0,120}?(?:[iI][mM][aA][gG][eE]|[vV][iI][dD][eE][oO]|[oO][cC][tT][eE][tT]|[bB][aA][sS][eE]64))"
    rb"[^,\"'<>\s]{0,120}?(?:,|%2[Cc])((?:[^\"'<>\s\\)]|\\(?!\\{0,8}[\"']))*)"
)
_BLOB = re.compile(rb"(?<![!#-+\--:=?-Z^-z~])[!#-+\--:=?-Z^-z~]{512,}+")
_HEXDUMP = re.compile(rb"(?:(?:0[xX])?[0-9A-Fa-f]{2}[ :,]{1,2}){96,}+|(?:\\{1,8}+x[0-9A-Fa-f]{2}){64,}+")
_DECIMAL = rb"-?\d{0,12}+\.\d{3,40}+(?:[eE][+-]?\d{1,4}+)?+"
_FLOATS = re.compile(_DECIMAL + rb"(?:[\s,;|]{1,8}+" + _DECIMAL + rb"){62,}+(?:[\s,;|]{1,8}+-?\d{0,12}+\.\d{1,40}+)?+")
_NUMBER_LIST = re.compile(
    rb"\[(?:[\s\[\]]{0,8}+-?\d[\d.eE+-]{0,40}+[\s\[\]]{0,8}+,){63,}+[\s\[\]]{0,8}+(?:-?\d[\d.eE+-]{0,40}+)?"
)
_NAME = re.compile(
    rb"(?<![A-Za-z0-9_.-])([A-Za-z_][A-Za-z0-9_.-]{1,47}+)(?:\\{0,8}+[\"'])?[ \t\r\n]{0,64}+[:=][ \t\r\n]{0,64}+"
)
_VALUE = re.compile(rb"\\{0,8}+([\"'])((?:(?!\\{0,8}+\1).)*+)|([^\"'&<>\s,\\\[{]++)", re.DOTALL)
_ELEMENT = re.compile(rb"<(?:[\w.-]++:)?([A-Za-z_][\w.-]{1,47})(?=[\s>])[^<>]*>\s*+(?:<!\[CDATA\[)?([^<\]]++)")
_B64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
_EXTENDS = frozenset(_B64 + b"\\%")


def is_document(payload: bytes) -> bool:
    """An office, archive or PDF document, or one of those in base64: opaque, never opened here."""
    return payload.startswith(_DOCUMENTS)


def cut_documents(data: bytes, cuts: list[Cut]) -> bytes:
    """Cut documents in base64."""
    # One after another, and by `find`: where there is none, that takes a fraction of what the pattern takes.
    if all(data.find(mark) < 0 for mark in _DOCUMENTS_B64):
        return data
    return _replace(_ENCLOSED, data, "document", cuts, lambda _, start, end: start if end - start >= RUN else -1)


def _replace(
    pattern: re.Pattern[bytes], data: bytes, reason: str, cuts: list[Cut], judge: Callable[[bytes, int, int], int]
) -> bytes:
    """Cut every match that `judge(data, start, end)` gives a start for; a negative start keeps the match."""
    parts: list[bytes] = []
    done = 0
    for match in pattern.finditer(data):
        start, end = match.span()
        start = judge(data, start, end)
        if start < done:
            continue
        parts += (data[done:start], _MARK)
        cuts.append(Cut(start, data[start:end], reason))
        done = end
    if not parts:
        return data
    parts.append(data[done:])
    return b"".join(parts)


def _in_link(data: bytes, start: int, end: int) -> bool:
    """The match stands inside a link of reasonable length, such as a signed address of an attachment."""
    head = max(data.rfind(mark, max(0, start - 2048), start) for mark in (b'"', b" ", b"'", b">", b"\n", b","))
    return end - head < 2048 and data[head + 1 : head + 9].lower().replace(b"\\", b"").startswith(
        (b"http:/", b"https:/")
    )


def is_proof(name: bytes, size: int) -> bool:
    """Whether a base64 text in a field so called is a signature, a certificate or a digest, which must stay
    verifiable."""
    return size <= PROOF and _PROOF_NAMES.search(name) is not None


def _judge_run(data: bytes, start: int, end: int) -> int:
    least = max(0, start - 64)
    while start > least and data[start - 1] in _EXTENDS and not data.startswith((b"\\n", b"\\r", b"\\t"), start - 1):
        start -= 1
    head = data[start : start + 16]
    if head.lstrip(b"\\/").startswith(_DOCUMENTS_B64):
        return -1
    if head.startswith(_IMAGES_B64) and end - start >= 24:
        return start
    if end - start < RUN:
        return -1
    run = data[start:end]
    if len(set(run[:4096])) < 12 or (run.count(b"\n") + 1) * 16 > len(run):
        return -1
    if _in_link(data, start, end) or is_proof(data[max(0, start - 48) : start], end - start):
        return -1
    return start


def _judge_data(data: bytes, start: int, end: int) -> int:
    body = data.find(b",", start, end) + 1
    if body and data.startswith(_DOCUMENTS_B64, body):
        return -1
    return -1 if data.startswith(_MARK, body) and end - body <= len(_MARK) else start


BLOB = 512
"""Length from which unbroken printable ASCII is taken for encoded content."""


def _judge_blob(data: bytes, start: int, end: int) -> int:
    if len(set(data[start : min(end, start + 4096)])) < 12:
        return -1
    head = data[start : start + 60].lstrip(b"=")
    if head.rpartition(b";base64,")[2].startswith(_DOCUMENTS_B64):
        return -1
    return -1 if end - start < 2048 and b"://" in head else start


def _always(_data: bytes, start: int, _end: int) -> int:
    return start


def scan_large(data: bytes, cuts: list[Cut]) -> bytes:
    """Cut whole quoted strings that are base64 but for a data URI's head and line breaks: the patterns below would find
    them too, but take several times as long over a megabyte."""
    if len(data) < 4096:
        return data
    pieces = data.split(b'"')
    at, changed = 0, False
    for index, piece in enumerate(pieces):
        size = len(piece)
        if size >= 4096 and len(piece.translate(None, _B64)) * 20 < size and piece.count(b" ") * 100 < size:
            comma = piece.find(b",", 0, 160)
            is_document_b64 = piece[comma + 1 : comma + 17].startswith(_DOCUMENTS_B64)
            # What holds markup is not one value: between an attribute's quotes may stand half a document.
            if not is_document_b64 and b"<" not in piece and len(set(piece[:4096])) >= 12:
                cuts.append(Cut(at, piece, "base64"))
                pieces[index] = _MARK
                changed = True
        at += size + 1
    return b'"'.join(pieces) if changed else data


def scan_text(data: bytes, cuts: list[Cut]) -> bytes:
    """Cut what looks like an image or an embedding in any text: base64 (also broken into lines, escaped or
    percent-encoded), data URIs, other long unbroken text, hex dumps, long lists of decimals."""
    data = scan_large(data, cuts)
    longest = max(map(len, data.split()), default=0) if len(data) < 65536 else len(data)
    if longest >= 20:
        data = _replace(_RUN, data, "base64", cuts, _judge_run)
        if b":" in data or b"%3" in data:
            data = _replace(_DATA, data, "data_uri", cuts, _judge_data)
        if longest >= 512:
            data = _replace(_BLOB, data, "blob", cuts, _judge_blob)
    if len(data) >= 190:
        data = _replace(_HEXDUMP, data, "hex", cuts, _always)
        if data.count(b".") >= 63:
            data = _replace(_FLOATS, data, "embedding", cuts, _always)
        if b"[" in data:
            data = _replace(_NUMBER_LIST, data, "embedding", cuts, _always)
    return data


def scan_fields(data: bytes, cuts: list[Cut]) -> bytes:
    """Cut the values of fields named after images or biometrics in text that is not JSON: broken JSON, XML, forms."""
    parts: list[bytes] = []
    done = 0
    for name in _NAME.finditer(data):
        if name.end() < done or not levels[name.group(1).decode()]:
            continue
        value = _VALUE.match(data, name.end())
        if value is not None:
            done = _cut_field(data, name.group(1), value.span(2 if value.group(1) else 3), done, parts, cuts)
    data = b"".join((*parts, data[done:]))
    parts, done = [], 0
    for element in _ELEMENT.finditer(data):
        done = _cut_field(data, element.group(1), element.span(2), done, parts, cuts)
    return b"".join((*parts, data[done:]))


def _cut_field(data: bytes, name: bytes, span: tuple[int, int], done: int, parts: list[bytes], cuts: list[Cut]) -> int:
    start, end = span
    value = data[start:end]
    if start < done or _MARK in value or not unwanted(levels[name.decode()], value.decode("utf-8", "replace")):
        return done
    parts += (data[done:start], _MARK)
    cuts.append(Cut(start, value, "field"))
    return end


def looks_encoded(value: bytes) -> bool:
    """Whether one whole string value is nothing but a long unbroken run of printable characters, in whatever
    encoding."""
    return value[:1] not in b"{[<" and len(value.split(None, 1)) == 1 and _judge_blob(value, 0, len(value)) == 0


def remove_images(data: bytes, cuts: list[Cut]) -> bytes:
    """Cut raw JPEG, PNG, GIF and WebP images out of a binary body, each to its own end, to the next multipart
    boundary, or to the end of the body; a remainder that is still mostly not text goes too."""
    parts: list[bytes] = []
    done = 0
    while (match := _IMAGE.search(data, done)) is not None:
        start = match.start()
        end = _image_end(data, start)
        parts += (data[done:start], _MARK)
        cuts.append(Cut(start, data[start:end], "image"))
        done = end
    if parts:
        data = b"".join((*parts, data[done:]))
    return left(data, cuts)


def left(data: bytes, cuts: list[Cut]) -> bytes:
    """What cuts have left of a body, unless that is mostly not text: then it goes too."""
    if len(data.translate(None, _TEXT)) * 20 > len(data):
        cuts.append(Cut(0, data, "binary"))
        return _MARK
    return data


def _image_end(data: bytes, start: int) -> int:
    if data.startswith(b"\xff\xd8", start):
        end = _jpeg_end(data, start)
    elif data.startswith(b"\x89PNG", start):
        end = data.find(b"IEND", start)
        end = end + 8 if end >= 0 else -1
    elif data.startswith(b"RIFF", start):
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
    else:
        end = -1
    boundary = data.find(b"\r\n--", start)
    if boundary >= 0 and data.lstrip(b"\r\n").startswith(b"--"):
        return boundary
    return end if 0 < end <= len(data) else len(data)


def _jpeg_end(data: bytes, start: int) -> int:
    """Just after the end-of-image marker, following the segments; -1 when they do not add up."""
    at, size = start + 2, len(data)
    while at + 4 <= size and data[at] == 0xFF:
        marker = data[at + 1]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker != 0xDA:
            continue
        while True:
            at = data.find(b"\xff", at)
            if at < 0 or at + 1 >= size:
                return -1
            if data[at + 1] == 0xD9:
                return at + 2
            if data[at + 1] not in (0x00, *range(0xD0, 0xD8)):
                break
            at += 2
    return at + 2 if data[at : at + 2] == b"\xff\xd9" else -1
