"""The biometric firewall for what devices send: judged more strictly than a push, for a device has no honest use for what
it takes as well.

One concern: documents in base64, addresses of pictures by their shape, and vectors in shapes a list does not have. Pure. It
must never open an address, take out what a decoder of ours reads, or cost a usual event more than a glance at its bytes."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import orjson

from hub.kernel.firewall import EMBEDDING_NAMED, Cleaned, clean, dump, escape, report, spaced
from hub.kernel.firewall_text import MARK, Cut, cut_documents, left, levels
from hub.kernel.firewall_wide import beneath, from_utf16
from hub.kernel.ports import Hasher, Removed

VECTOR = 48
"""So many decimals together are taken for a vector, whatever holds them."""

WHOLE = 64
"""The same of whole numbers, where they come in no order: numbers of events, moments and plans of a day have one."""

_ENCLOSED_FROM = 256
"""A body shorter than this encloses no document."""

_SHORTEST = 5
"""A shorter text is no address: `7.jpg`."""

_VECTOR_TEXT = 2 * VECTOR - 1
"""The shortest text with so many numbers."""

_AGAIN = 6
"""How often a text is gone over at most."""

_VECTOR_BODY = 160
"""The shortest body with so many decimals (`0.5,`), or with whole numbers of which `_DISTINCT` differ."""

_DISTINCT = 24
"""A vector of whole numbers has at least so many different ones; a plan of a day's quarters has not."""

_USUAL = (b'{"', b'["', b"{}", b"[{", b"--", b"<")
"""How bodies begin that are not in UTF-16 or UTF-32; for others it is looked up."""

_WORDS = rb"face(?!book)|snap|captur|photo|pictur|image|avatar|portrait|thumb|selfie|khuon[_-]?mat|hinh[_-]?anh|chan[_-]?dung"
_INNER = rb"Face(?!book)|Snap|Captur|Photo|Pictur|Image|Avatar|Portrait|Thumb|Selfie"
_SHORT_WORDS = rb"(?:pic|img|anh|video|crop)s?(?-i:(?![a-z]))"
_SEPARATOR = rb"(?:[/\\]|%2[fF]|%5[cC]|u002[fF]|u005[cC])"

_DOTTED = re.compile(rb"\.(?i:[jpgbwhatmf3d][pnigmebhaevokl2])").search
"""What an ending may begin with: a glance, which begins with one byte as the search for it is fastest so."""

_HINT = re.compile(rb"(?i:" + _WORDS + rb"|pic|img|anh|video|crop)")
_ESCAPED = re.compile(rb"\\u00[2-7]")
_EXTENSION = re.compile(
    rb"(?<=[^\s./\\=:,;|&?])(?:\.|%2[eE]|u002[eE])(?i:jpe?g|jpe|jfif|jp2|png|gif|bmp|webp|hei[cf]|avif|tiff?|mp4|m4v|mov|avi|mkv"
    rb"|flv|3gp|webm|h26[45]|dav)(?![A-Za-z0-9])"
)
_SEGMENT = re.compile(
    rb"(?:" + _SEPARATOR + rb"|[?&=])(?:(?i:" + _WORDS + rb"|" + _SHORT_WORDS + rb")"
    rb"|[A-Za-z0-9_.-]{0,40}?(?:(?<=[0-9_.-])(?i:" + _WORDS + rb"|" + _SHORT_WORDS + rb")"
    rb"|(?<=[a-z0-9])(?:" + _INNER + rb"|(?:Pic|Img|Anh|Video|Crop)s?(?![a-z]))))"
)
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{1,15}(?::|%3[aA]|\\{1,8}u003[aA])(?:\\{0,8}/|%2[fF]|\\{1,8}u002[fF]){2}")
_ROOTED = re.compile(rb"(?:[A-Za-z](?::|%3[aA])|\.{1,2}|~)?" + _SEPARATOR + rb"{1,4}+[^\s/\\]|\\{1,8}u002[fF]")
_DEEP = re.compile(
    _SEPARATOR + rb"{1,4}+[^/\\%]{1,200}+" + _SEPARATOR + rb"|" + _SEPARATOR + rb"{1,4}+[^/\\%]{0,40}?\d"
)
_NAMED = re.compile(rb"\s*+(?:[\w.\[\]-]{1,64}+=)?+")
_UNIT = re.compile(rb"[^\"'<>\r\n\t;|\x00]++")
_PIECE = re.compile(rb"[^\s,]++")
_PIECE_OF_FORM = re.compile(rb"[^\s,&]++")

_NUMBER = rb"-?(?:\d{1,18}+(?:\.\d{0,40}+)?+|\.\d{1,40}+)(?:[eE][+-]?\d{1,4}+)?+"
_NUMBERS = re.compile(rb"(?<![\d.A-Za-z_-])(?:" + _NUMBER + rb"[\s,;|]{1,4}+){47,}+(?:" + _NUMBER + rb")?+(?![\d:-])")
_NUMERIC = re.compile(rb"(?<![\d.,;|\seE+-])[\d.,;|\seE+-]{%d,}+" % _VECTOR_TEXT)
"""What a vector is a part of, whatever its numbers are: found in a fraction of the time."""
_MEMBERS = re.compile(
    rb"(?:\\{0,8}[\"'][A-Za-z_]{0,16}\d{1,4}\\{0,8}[\"']\s{0,4}+:\s{0,4}+" + _NUMBER + rb"\s{0,4}+,?+\s{0,4}+){47,}+"
)
_VALUES = re.compile(r":\s{0,4}(" + _NUMBER.decode() + ")")
_PLAIN = re.compile(_NUMBER.decode())


def clean_device(payload: bytes, hasher: Hasher) -> Cleaned:
    """`clean` for what devices send. What goes as well:

    - a document in base64, for a picture may be inside of it;
    - links and paths, absolute or relative, that end like a picture or a video or have a segment named after one (reason
      `address`; of a sentence only the link, of a query string or a line `name=link` only the value);
    - `VECTOR` decimals, or `WHOLE` whole numbers in no order, as a list, as an object or as text (reason `embedding`).

    Never raises for any bytes; cleaning a cleaned body changes nothing.
    """
    cleaned = _ended(clean(payload, hasher), hasher)
    body = cleaned.body
    if len(body) >= _ENCLOSED_FROM:
        cleaned = _without_documents(cleaned, hasher)
        body = cleaned.body
    if not body.startswith(_USUAL) or body.find(b"\0") >= 0:
        wide = from_utf16(body)
        below = beneath(body, wide)
        if below is not None and (hidden := _text(Cleaned(below, []), True, hasher).removed):
            gone = Removed("", hasher(body), len(body), hidden[0].reason)
            return Cleaned(MARK.encode(), [*cleaned.removed, gone])
        if wide is not None:
            found = clean_device(wide, hasher)
            return found if found.removed else cleaned
    # `find`, not `in`: bytes are asked whether they are a number first, which costs more than the search.
    find = body.find
    escaped = find(b"\\") >= 0
    addresses = (_DOTTED(body) is not None and _EXTENSION.search(body) is not None) or (
        (escaped or find(b"/") >= 0 or find(b"%") >= 0) and _may_hide(body)
    )
    most = VECTOR - 2
    if not addresses and (
        len(body) < _VECTOR_BODY
        or (
            body.count(b",") <= most
            and body.count(b" ") <= most
            and find(b";") < 0
            and find(b"|") < 0
            and (not escaped or body.count(b"\\") <= most)
        )
    ):
        return cleaned
    return _tree(cleaned, addresses, hasher) if cleaned.is_json else _text(cleaned, addresses, hasher)


def _ended(cleaned: Cleaned, hasher: Hasher) -> Cleaned:
    """Of what begins like JSON and is none nothing behind the first cut: where a picture ends cannot be told there, and a few
    stray bytes in it would leave its tail."""
    if cleaned.is_json or not cleaned.removed or cleaned.body.lstrip()[:1] not in (b"{", b"["):
        return cleaned
    at = cleaned.body.find(MARK.encode())
    if at < 0:
        return cleaned
    cuts: list[Cut] = []
    body = left(cleaned.body[: at + len(MARK)], cuts)
    return Cleaned(body, cleaned.removed + report(cuts, hasher))


def _may_hide(body: bytes) -> bool:
    """Whether a body with slashes or escapes may hold the address of a picture."""
    return _HINT.search(body) is not None or _ESCAPED.search(body) is not None


def _without_documents(cleaned: Cleaned, hasher: Hasher) -> Cleaned:
    cuts: list[Cut] = []
    body = cut_documents(cleaned.body, cuts)
    if not cuts:
        return cleaned
    removed = cleaned.removed + report(cuts, hasher)
    if cleaned.is_json:
        try:
            return Cleaned(body, removed, True, orjson.loads(body))
        except orjson.JSONDecodeError:
            # The cut went through an escape: of such a body nothing is kept.
            return Cleaned(MARK.encode(), [*removed, Removed("", hasher(body), len(body), "document")])
    return Cleaned(body, removed)


def _text(cleaned: Cleaned, addresses: bool, hasher: Hasher) -> Cleaned:
    cuts: list[Cut] = []
    body = cut_addresses(cleaned.body, cuts) if addresses else cleaned.body
    body = cut_vectors(body, cuts)
    if not cuts:
        return cleaned
    body = left(body, cuts)
    return Cleaned(body, cleaned.removed + report(cuts, hasher))


def _tree(cleaned: Cleaned, addresses: bool, hasher: Hasher) -> Cleaned:
    walk = _Walk(hasher, addresses)
    tree = walk.value(cleaned.tree, 0, "")
    if walk.removed:
        return Cleaned(dump(tree), cleaned.removed + walk.removed, True, tree)
    body = cleaned.body
    if addresses and (spaced(body) or walk.keys != body.count(b'":')):
        # As in `clean`: of a key given twice only the last reached the tree, and the bytes still hold the others.
        hidden: list[Cut] = []
        cut_addresses(body, hidden)
        if hidden and (told := dump(tree)) != body:
            return Cleaned(told, cleaned.removed + report(hidden, hasher), True, tree)
    return cleaned


class _Walk:
    """One pass over a tree that `clean` has been over: replaces in place, collects what was removed."""

    __slots__ = ("addresses", "hasher", "keys", "removed")

    def __init__(self, hasher: Hasher, addresses: bool) -> None:
        self.hasher = hasher
        self.addresses = addresses
        self.keys = 0
        self.removed: list[Removed] = []

    def cut(self, pointer: str, content: bytes, reason: str) -> str:
        self.removed.append(Removed(pointer, self.hasher(content), len(content), reason))
        return MARK

    def value(self, value: Any, level: int, pointer: str) -> Any:
        kind = type(value)
        if kind is str:
            return self.string(value, pointer) if len(value) >= _SHORTEST else value
        if kind is dict:
            return self.mapping(value, level, pointer)
        return self.items(value, level, pointer) if kind is list else value

    def mapping(self, node: dict[str, Any], level: int, pointer: str) -> Any:
        self.keys += len(node)
        if (
            len(node) >= EMBEDDING_NAMED
            and all(key[-1:].isdigit() for key in node)
            and _is_vector(list(node.values()), level)
        ):
            return self.cut(pointer, dump(node), "embedding")
        renamed = False
        for key, value in node.items():
            cleaned = self.value(value, max(level, levels[key]), f"{pointer}/{escape(key)}")
            if cleaned is not value:
                node[key] = cleaned
            renamed = renamed or (
                self.addresses and len(key) >= _SHORTEST and _address(key.encode("utf-8", "replace")) >= 0
            )
        if not renamed:
            return node
        return {(self.string(k, f"{pointer}/*") if len(k) >= _SHORTEST else k): value for k, value in node.items()}

    def items(self, node: list[Any], level: int, pointer: str) -> Any:
        if len(node) >= VECTOR and _is_vector(node, level):
            return self.cut(pointer, dump(node), "embedding")
        for index, value in enumerate(node):
            cleaned = self.value(value, level, f"{pointer}/{index}")
            if cleaned is not value:
                node[index] = cleaned
        return node

    def string(self, value: str, pointer: str) -> str:
        if not self.addresses and len(value) < _VECTOR_TEXT:
            return value
        raw = value.encode("utf-8", "surrogatepass")
        cuts: list[Cut] = []
        cleaned = cut_addresses(raw, cuts) if self.addresses else raw
        if len(cleaned) >= _VECTOR_TEXT:
            cleaned = cut_vectors(cleaned, cuts)
        if not cuts:
            return value
        for cut in cuts:
            self.cut(pointer, cut.content, cut.reason)
        return cleaned.decode("utf-8", "surrogatepass")


def cut_addresses(data: bytes, cuts: list[Cut]) -> bytes:
    """Cut links and paths of pictures out of a text: of one that is nothing else up to its end, blanks and all; of others
    the words that hold them."""
    # What a cut leaves may be read as an address with it: again, until nothing is found.
    for _ in range(_AGAIN):
        before, data = data, _cut_addresses(data, cuts)
        if data is before:
            break
    return data


def _cut_addresses(data: bytes, cuts: list[Cut]) -> bytes:
    parts: list[bytes] = []
    done = 0
    for unit in _UNIT.finditer(data):
        text = unit.group()
        if len(text) < _SHORTEST or (text[:1] == b"/" and data[unit.start() - 1 : unit.start()] == b"<"):
            continue  # too short, or a tag's end
        for start, end in _addresses(text):
            start, end = unit.start() + start, unit.start() + end
            parts += (data[done:start], MARK.encode())
            cuts.append(Cut(start, data[start:end], "address"))
            done = end
    return b"".join((*parts, data[done:])) if parts else data


def _addresses(text: bytes) -> list[tuple[int, int]]:
    """Where in a text without quotes and markup addresses of pictures stand."""
    if _EXTENSION.search(text) is None and _HINT.search(text) is None:
        return []
    head = _NAMED.match(text)
    first = head.end() if head else 0
    alone = b"?" in text or (b"&" not in text and b"," not in text)
    if alone and (_SCHEME.match(text, first) or _ROOTED.match(text, first)):
        start = _address(text)
        return [(start, len(text.rstrip(b" \\")))] if start >= 0 else []
    found = []
    for piece in (_PIECE if b"?" in text else _PIECE_OF_FORM).finditer(text):
        if len(piece.group()) >= _SHORTEST and (start := _address(piece.group())) >= 0:
            found.append((piece.start() + start, piece.start() + len(piece.group().rstrip(b"\\"))))
    return found


def _address(text: bytes) -> int:
    """Where in a text of one piece the address of a picture begins; -1: there is none."""
    scheme = _SCHEME.search(text)
    named = _NAMED.match(text)
    start = named.end() if named else 0
    if scheme is not None and b"/" not in text[start : scheme.start()]:
        start = max(start, scheme.start())
    rest = text[start:]
    if rest == MARK.encode():
        return -1
    if _EXTENSION.search(rest) is not None:
        return start
    if scheme is None and _ROOTED.match(rest) is None and _DEEP.search(rest) is None:
        return -1
    return start if _SEGMENT.search(b"/" + rest) is not None else -1


def cut_vectors(data: bytes, cuts: list[Cut]) -> bytes:
    """Cut vectors written as text, number after number, or as the members of an object that is no JSON of its own."""
    if _NUMERIC.search(data) is not None:
        data = _cut_numbers(_NUMBERS, data, cuts)
    return _cut_numbers(_MEMBERS, data, cuts) if data.count(b":") >= VECTOR - 1 else data


def _cut_numbers(pattern: re.Pattern[bytes], data: bytes, cuts: list[Cut]) -> bytes:
    parts: list[bytes] = []
    done = 0
    for match in pattern.finditer(data):
        start, text = match.start(), match.group().rstrip(b" \t\r\n,;|")
        values = _VALUES.findall(text.decode()) if pattern is _MEMBERS else _PLAIN.findall(text.decode())
        if not _is_vector(values, 0):
            continue
        parts += (data[done:start], MARK.encode())
        cuts.append(Cut(start, text, "embedding"))
        done = start + len(text)
    return b"".join((*parts, data[done:])) if parts else data


def _is_vector(values: list[Any], level: int) -> bool:
    """Whether values, numbers or texts of numbers, are a vector's."""
    numbers: list[float] = []
    decimals = 0
    for value in values:
        kind = type(value)
        if kind is str:
            if len(value) > 64 or _PLAIN.fullmatch(value) is None:
                return False
            decimals += not value.lstrip("-").isdigit()
            numbers.append(float(value))
        elif kind is float or kind is int:
            decimals += kind is float
            numbers.append(value)
        else:
            return False
    if level and len(numbers) >= EMBEDDING_NAMED:
        return True
    if decimals * 2 >= len(numbers):
        return len(numbers) >= VECTOR
    if len(numbers) < WHOLE or max(map(abs, numbers)) >= 100_000 or len(set(numbers[:256])) < _DISTINCT:
        return False
    down = sum(after < before for before, after in pairwise(numbers))
    return len(numbers) <= down * 4 <= len(numbers) * 3
