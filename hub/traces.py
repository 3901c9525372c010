"""Traces: finding a value in some bytes, in whatever form it stands there.

One concern: looking. Pure. It must never say that nothing is there because it could not read it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus

import orjson

SHORTEST = 4
"""Shorter values are not looked for: they are not to be told from other words."""
SPACES = re.compile(r"\s+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def plain(text: str) -> str:
    """A text without diacritics and case; as many characters as its composed form."""
    return "".join(_plain(c) for c in unicodedata.normalize("NFC", text))


def _plain(char: str) -> str:
    base = unicodedata.normalize("NFD", char)[0]
    lower = "d" if base in "đĐðÐ" else base.lower()
    return lower if len(lower) == 1 else base


def bare(text: str) -> str:
    """A text without diacritics, its capitals kept."""
    return "".join(_plain(c).upper() if c.isupper() else _plain(c) for c in unicodedata.normalize("NFC", text))


def _readings(text: str, depth: int = 0) -> Iterator[str]:
    """A text as it stands and as it may be meant: unescaped, URL-decoded, base64-decoded."""
    yield text
    if depth > 2:
        return
    for other in {
        html.unescape(text), unquote(text), unquote_plus(text), _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text)
    } - {text}:  # fmt: skip
        yield from _readings(other, depth + 1)
    for token in _BASE64.findall(text):
        with contextlib.suppress(binascii.Error, ValueError):
            coded = token.rstrip("=")
            raw = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_" if set(coded) & {"-", "_"} else None)
            decoded = raw.decode("utf-8")
            if decoded.isprintable() or "\n" in decoded:
                yield from _readings(decoded, depth + 1)


def left_over(content: bytes, originals: Iterable[str]) -> list[int]:
    """Which of the originals (their places in the list given) still appear in some bytes, in whatever form.

    Looked for: as written; without case, diacritics and spacing; escaped, URL-encoded and in base64, also inside a longer one.
    """
    text = content.decode("utf-8", "replace")
    readings = {SPACES.sub(" ", plain(one)) for one in _readings(text)}
    found = []
    for at, original in enumerate(originals):
        form = SPACES.sub(" ", plain(original))
        if len(form) < SHORTEST:
            continue
        hidden = [cut for cut in _in_base64(original) if len(cut) >= SHORTEST + 2]
        if any(form in one for one in readings) or any(cut in text for cut in hidden):
            found.append(at)
    return found


def _in_base64(value: str) -> Iterator[str]:
    """How a value looks inside a longer base64 text, at each of the three offsets, without what depends on its neighbours."""
    raw = value.encode()
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        first = (offset * 8 + 5) // 6
        last = (offset + len(raw)) * 8 // 6
        yield coded[first:last]


def leaves(body: bytes) -> dict[str, str]:
    """The plain values of a JSON or XML body by their places; of anything else, the whole text at one place."""
    from lxml import etree

    found: dict[str, str] = {}

    def walk(value: Any, at: str) -> None:
        if isinstance(value, dict):
            for k, v in value.items():
                walk(v, f"{at}/{k}")
        elif isinstance(value, list):
            for n, v in enumerate(value):
                walk(v, f"{at}/{n}")
        else:
            found[at] = str(value)

    try:
        walk(orjson.loads(body), "")
        return found
    except orjson.JSONDecodeError:
        pass
    try:
        tree = parse_xml(body).getroottree()
    except (etree.LxmlError, ValueError):
        return {"": body.decode("utf-8", "backslashreplace")}
    for node in tree.iter():
        at = tree.getpath(node)
        found[at] = (node.text or "").strip()
        found |= {f"{at}/@{name}": str(value) for name, value in node.attrib.items()}
    return found


def parse_xml(body: bytes) -> Any:
    """The root of an XML body, nothing fetched and no entity expanded. Raises lxml's error, or ValueError for a document type."""
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    root = etree.fromstring(body, parser)
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValueError("a document type")
    return root
