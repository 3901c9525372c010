"""The biometric firewall: takes images, templates and embeddings out of a body before anything is stored or logged.

One concern: bytes in, bytes without biometrics out, with a list of what was taken. Pure. It must never keep, return
or log any removed content: only a keyed hash, a size and a reason. It removes rather too much from fields that are
named after images or biometrics, and from anywhere what looks like an image whatever its field is called; ordinary
text, codes and links stay as they are.

JSON is judged by field names and values on the parsed tree (also JSON inside strings); everything else (broken JSON,
XML, forms, CSV, multipart and other binary bodies) by the shape of its bytes. A body that is an office or PDF document
goes whole: a document has doors of its own, where it is kept encrypted. One in base64 inside a field may be signed and
stays. What devices send is judged more strictly: `firewall_devices`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson
from msgspec import Struct

from hub.kernel.firewall_text import (
    BLOB,
    MARK,
    SHORT,
    STRONG,
    WEAK,
    Cut,
    is_document,
    is_proof,
    left,
    levels,
    looks_encoded,
    remove_images,
    scan_fields,
    scan_large,
    scan_text,
    unwanted,
)
from hub.kernel.firewall_wide import beneath, from_utf16
from hub.kernel.ports import Hasher, Removed

MAX_DEPTH = 64
"""JSON nested deeper than this is judged by its bytes, like broken JSON: no contract we know comes near it."""

MAX_NESTED_JSON = 4
"""How many times a string may hold JSON which holds a string which holds JSON …"""

EMBEDDING = 64
"""A list of at least this many numbers is taken for an embedding, wherever it stands."""

EMBEDDING_NAMED = 16
"""The same inside a field named after biometrics, where landmarks and boxes are shorter."""

_B64_LINE = re.compile(r"[A-Za-z0-9+/_-]+={0,2}\Z")
_DATA_URIS = ("data:", "DATA:", "Data:")


class Cleaned(Struct, frozen=True):
    """A body after the firewall.

    `body` is the very input when nothing was removed. `tree` is the cleaned body as parsed JSON when `is_json`, so that
    a decoder need not parse it again; it must be treated as read-only.
    """

    body: bytes
    removed: list[Removed]
    is_json: bool = False
    tree: Any = None


class _TooDeep(Exception):
    """Nested deeper than `MAX_DEPTH`: judged by its bytes instead."""


class _Walk:
    """One pass over a parsed tree: replaces in place, collects what was removed."""

    __slots__ = ("hasher", "keys", "nested", "removed")

    def __init__(self, hasher: Hasher, removed: list[Removed], nested: int = 0) -> None:
        self.hasher = hasher
        self.removed = removed
        self.keys = 0
        self.nested = nested

    def cut(self, pointer: str, content: bytes, reason: str) -> str:
        self.removed.append(Removed(pointer, self.hasher(content), len(content), reason))
        return MARK

    def value(self, value: Any, level: int, pointer: str, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self.string(value, level, pointer)
        if kind is dict or kind is list:
            if depth >= MAX_DEPTH:
                raise _TooDeep
            return (
                self.mapping(value, level, pointer, depth) if kind is dict else self.items(value, level, pointer, depth)
            )
        return value

    def mapping(self, node: dict[str, Any], level: int, pointer: str, depth: int) -> Any:
        self.keys += len(node)
        if level and len(node) >= EMBEDDING_NAMED and _is_numbered(node):
            return self.cut(pointer, dump(node), "embedding")
        long_keys = False
        for key, value in node.items():
            if len(key) > 96:
                long_keys = True
            kind = type(value)
            if kind is str:
                size = len(value)
                if size <= SHORT:
                    continue
                named = levels[key]
                named = max(named, level)
                if not named and size < 32:
                    continue
                cleaned: Any = self.string(value, named, f"{pointer}/{escape(key)}")
            elif kind is dict or kind is list:
                cleaned = self.value(value, max(level, levels[key]), f"{pointer}/{escape(key)}", depth + 1)
            else:
                continue
            if cleaned is not value:
                node[key] = cleaned
        return self._without_long_keys(node, pointer) if long_keys else node

    def _without_long_keys(self, node: dict[str, Any], pointer: str) -> dict[str, Any]:
        return {(self._text(key, f"{pointer}/*") if len(key) > 96 else key): value for key, value in node.items()}

    def items(self, node: list[Any], level: int, pointer: str, depth: int) -> Any:
        if not node:
            return node
        first = type(node[0])
        if first is int or first is float or first is list:
            if _numbers(node, 0) >= (EMBEDDING_NAMED if level else EMBEDDING):
                return self.cut(pointer, orjson.dumps(node), "embedding")
        elif first is str and (_is_base64_in_lines(node) or (level == STRONG and _any_long(node))):
            return self.cut(pointer, repr(node).encode("utf-8", "replace"), "field" if level else "base64")
        for index, value in enumerate(node):
            kind = type(value)
            if kind is str or kind is dict or kind is list:
                cleaned = self.value(value, level, f"{pointer}/{index}", depth + 1)
                if cleaned is not value:
                    node[index] = cleaned
        return node

    def string(self, value: str, level: int, pointer: str) -> str:
        if unwanted(level, value):
            return self.cut(pointer, value.encode("utf-8", "surrogatepass"), "field")
        if len(value) < 32:
            return value
        if value[0] in '{["' or value[0].isspace():
            return self._json(value, level, pointer)
        return self._text(value, pointer)

    def _json(self, value: str, level: int, pointer: str) -> str:
        if self.nested < MAX_NESTED_JSON:
            try:
                tree = orjson.loads(value)
            except orjson.JSONDecodeError:
                return self._text(value, pointer)
            before = len(self.removed)
            inner = _Walk(self.hasher, self.removed, self.nested + 1)
            try:
                tree = inner.value(tree, level, pointer, 0)
            except _TooDeep:
                del self.removed[before:]
                return self._text(value, pointer)
            return value if len(self.removed) == before else dump(tree).decode()
        return self._text(value, pointer)

    def _text(self, value: str, pointer: str) -> str:
        if len(value) < 96 and not _hinted(value):
            return value
        raw = value.encode("utf-8", "surrogatepass")
        name = pointer.rpartition("/")[2].encode()
        if len(value) >= BLOB and value.isascii() and looks_encoded(raw) and not is_proof(name, len(raw)):
            return self.cut(pointer, raw, "blob")
        cuts: list[Cut] = []
        cleaned = scan_text(raw, cuts)
        if not cuts:
            return value
        if cuts[0].reason == "base64" and is_proof(name, len(raw)):
            return value
        for cut in cuts:
            self.cut(pointer, cut.content, cut.reason)
        return cleaned.decode("utf-8", "surrogatepass")


def clean(payload: bytes, hasher: Hasher) -> Cleaned:
    """`payload` without biometrics. Never raises for any bytes; cleaning a cleaned body changes nothing.

    `Removed.pointer` is an RFC 6901 pointer into JSON (with the line's index first for NDJSON), or `@<offset>` in other
    bodies. `Removed.bytes` and `Removed.digest` are of the content as the message carried it (still encoded).
    """
    try:
        tree = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return _clean_other(payload, hasher)
    removed: list[Removed] = []
    walk = _Walk(hasher, removed)
    try:
        tree = walk.value(tree, 0, "", 0)
    except _TooDeep:
        return _clean_other(payload, hasher)
    if removed:
        return Cleaned(dump(tree), removed, True, tree)
    if spaced(payload) or walk.keys != payload.count(b'":'):
        # Either blanks before a colon, JSON inside strings, or a key given twice: of those only the last reached the
        # tree, and the bytes still hold the others.
        hidden: list[Cut] = []
        scan_fields(scan_text(payload, hidden), hidden)
        if hidden:
            return Cleaned(dump(tree), report(hidden, hasher), True, tree)
    return Cleaned(payload, removed, True, tree)


def untouched(payload: bytes, members: int, texts: Iterable[str]) -> bool:
    """Whether `clean` would certainly leave a JSON object as it is, judged in a tenth of its time; False: let it look.

    For whoever parsed it knowing every field by name (`harmless_names`) and refusing all others: `members` is how many
    the object has with those inside of it, `texts` all of its texts of 32 characters or more, as they came.
    """
    # As in `clean`: a key given twice, JSON in a string or blanks before a colon are for a closer look.
    if payload.count(b'":') != members or spaced(payload):
        return False
    return not any(len(text) >= 96 or text[0] in '{["' or text[0].isspace() or _hinted(text) for text in texts)


def harmless_names(names: Iterable[str]) -> bool:
    """Whether no field so called could be named after an image or a biometric."""
    return not any(levels[name] for name in names)


def _hinted(text: str) -> bool:
    """Whether a short text may hold the beginning of an image; written out, for it is asked of every one."""
    return (
        ("9j" in text and any(jpeg in text for jpeg in ("/9j/", "_9j_", "%2F9j")))
        or "iVBORw0" in text
        or "R0lGOD" in text
        or "UklGR" in text
        or (":" in text and any(uri in text for uri in _DATA_URIS))
    )


def spaced(payload: bytes) -> bool:
    """Whether blanks stand before a colon, so that names cannot be counted by `":`."""
    # `find`, not `in`: bytes are asked whether they are a number first, which costs more than the search.
    find = payload.find
    return find(b" :") >= 0 or find(b"\n:") >= 0 or find(b"\t:") >= 0 or find(b"\r:") >= 0


def _clean_other(payload: bytes, hasher: Hasher) -> Cleaned:
    if is_document(payload):
        return Cleaned(MARK.encode(), [Removed("", hasher(payload), len(payload), "document")])
    wide = from_utf16(payload)
    found: list[Cut] = []
    if (below := beneath(payload, wide)) is not None:
        scan_fields(scan_text(below, found), found)
    if found:
        return Cleaned(MARK.encode(), [Removed("", hasher(payload), len(payload), found[0].reason)])
    if wide is not None:
        cleaned = clean(wide, hasher)
        return cleaned if cleaned.removed else Cleaned(payload, [], cleaned.is_json, cleaned.tree)
    if payload.lstrip()[:1] in (b"{", b"[") and b"\n" in payload:
        lines = _clean_lines(payload, hasher)
        if lines is not None:
            return lines
    cuts: list[Cut] = []
    body = remove_images(scan_large(payload, cuts), cuts)
    body = scan_text(body, cuts)
    body = scan_fields(body, cuts)
    if not cuts:
        return Cleaned(payload, [])
    body = left(body, cuts)
    removed = report(cuts, hasher)
    if body[:1] in (b"{", b"["):
        # What the cuts have left may be JSON, in which more can be told.
        again = clean(body, hasher)
        return Cleaned(again.body, removed + again.removed, again.is_json, again.tree)
    return Cleaned(body, removed)


def _clean_lines(payload: bytes, hasher: Hasher) -> Cleaned | None:
    """NDJSON line by line; None when the first line is not JSON (then it is one broken document)."""
    lines = payload.split(b"\n")
    first = next(line for line in lines if line.strip())
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return None
    removed: list[Removed] = []
    for index, line in enumerate(lines):
        if not line.strip() or line is payload:
            continue
        cleaned = clean(line, hasher)
        if cleaned.removed:
            lines[index] = cleaned.body
            removed.extend(Removed(f"/{index}{r.pointer}", r.digest, r.bytes, r.reason) for r in cleaned.removed)
    return Cleaned(b"\n".join(lines), removed) if removed else Cleaned(payload, removed)


def report(cuts: list[Cut], hasher: Hasher) -> list[Removed]:
    """Cuts as they are noted: a keyed hash, a size, a reason and the place in the bytes."""
    return [Removed(f"@{cut.offset}", hasher(cut.content), len(cut.content), cut.reason) for cut in cuts]


def dump(tree: Any) -> bytes:
    """Serialise what orjson parsed: integers it cannot write back and lone surrogates go through the standard
    library."""
    try:
        return orjson.dumps(tree)
    except (orjson.JSONEncodeError, RecursionError):
        return json.dumps(tree, separators=(",", ":")).encode()


def _numbers(node: list[Any], depth: int) -> int:
    """How many numbers a (nested) list holds; -1 when it holds anything else."""
    if depth > 4:
        return -1
    count = 0
    for value in node:
        kind = type(value)
        if kind is float or kind is int:
            count += 1
        elif kind is list:
            inner = _numbers(value, depth + 1)
            if inner < 0:
                return -1
            count += inner
        else:
            return -1
    return count


def _is_numbered(node: dict[str, Any]) -> bool:
    """Whether an object is a list of numbers by another name: `{"0": 0.12, "1": …}`."""
    return all(key[-1:].isdigit() and type(value) in (int, float) for key, value in node.items())


def _any_long(node: list[Any]) -> bool:
    return any(type(value) is str and len(value) > SHORT and value != MARK for value in node)


def _is_base64_in_lines(node: list[Any]) -> bool:
    """One base64 text cut into equal lines, as MIME writers do: never a list of codes, which lack mixed case."""
    if len(node) < 3 or type(node[-1]) is not str:
        return False
    width = len(node[0])
    if width < 32 or any(type(line) is not str or len(line) != width for line in node[:-1]):
        return False
    text = "".join(node)
    return (
        len(text) >= 160
        and _B64_LINE.match(text) is not None
        and not text.isupper()
        and not text.islower()
        and any(c.isdigit() for c in text)
    )


def escape(key: str) -> str:
    """A member's name in a pointer (RFC 6901); `*` for one so long that it may be content."""
    if len(key) > 96:
        return "*"
    return key.replace("~", "~0").replace("/", "~1") if "/" in key or "~" in key else key


__all__ = [
    "MARK",
    "STRONG",
    "WEAK",
    "Cleaned",
    "clean",
    "dump",
    "escape",
    "harmless_names",
    "report",
    "spaced",
    "untouched",
]
