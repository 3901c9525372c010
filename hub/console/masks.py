"""Masking: what a page may show of personal data before somebody states a purpose.

Pure. Canonical records are masked by their type's declared fields; bytes of other contracts, whose fields only their
adapter knows, by shape: structure and codes stay readable, and whatever could be a name, a number, a date of birth, an
address or a contact does not. It must never let through what it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec

from mappings.canonical.registry import TYPES
from mappings.engine import load_field_maps

_LARGEST = 2_000_000
_DEEPEST = 60
_SHOWN = 20_000

_CODE = re.compile(r"[A-Z0-9][A-Z0-9._:/-]{0,39}|[a-z][a-z0-9_.:-]{0,39}")
"""A code as systems write them: all capitals or all small, no blanks, no diacritics."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
_DIGITS = re.compile(r"\d{7,}")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")

HIDDEN = "▒▒▒"
"""Stands for what the law counts as sensitive: not even its length is told."""


def _holders(body: Any, parts: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The objects that hold the last member of a path (`a/b`, `a/*/b`), whatever the shape really is."""
    if len(parts) == 1:
        if isinstance(body, dict) and body.get(parts[0]) is not None:
            yield body
    elif parts[0] == "*":
        for item in body if isinstance(body, list) else ():
            yield from _holders(item, parts[1:])
    elif isinstance(body, dict):
        yield from _holders(body.get(parts[0]), parts[1:])


@cache
def _named() -> tuple[frozenset[str], frozenset[str]]:
    """Names (case folded) of fields that are personal, and of those that are sensitive: in canonical records and, by
    the field maps' own lineage, in every counterparty's messages."""
    personal: set[str] = set()
    sensitive: set[str] = set()
    for spec in TYPES.values():
        personal.update(p.rsplit("/", 1)[-1].casefold() for p in spec.personal_fields)
        sensitive.update(p.rsplit("/", 1)[-1].casefold() for p in spec.sensitive_fields)
    for made in load_field_maps().values():
        spec = TYPES[made.type]
        for target, source, _kind in made.lineage():
            name = target.rsplit("/", 1)[-1].casefold()
            if source in spec.personal_fields:
                personal.add(name)
            if source in spec.sensitive_fields:
                sensitive.add(name)
    return frozenset(personal), frozenset(sensitive)


def mask_text(text: str) -> str:
    """Hide a text but for the first letter of each word and the last two digits of a long number."""
    if _DIGITS.fullmatch(text):
        return "•" * (len(text) - 2) + text[-2:]
    if any(c.isdigit() for c in text):
        return re.sub(r"\w", "•", text)
    return " ".join(w[0] + "•" * min(len(w) - 1, 8) for w in text.split())


def may_show(text: str) -> bool:
    """Whether a text of unknown meaning is harmless by its shape: a short code, or a moment in time."""
    if _MOMENT.fullmatch(text):
        return True
    return bool(_CODE.fullmatch(text)) and not _DIGITS.search(text) and not _DATE.fullmatch(text)


def mask_record(type_name: str, body: dict[str, Any]) -> dict[str, Any]:
    """A copy of a canonical record with its personal fields masked and its sensitive ones hidden."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(body))
    spec = TYPES.get(type_name)
    if spec is None:
        return {k: _by_shape(v, frozenset(), 0) for k, v in copy.items()}
    for path in spec.personal_fields:
        parts = tuple(path.split("/"))
        for holder in _holders(copy, parts):
            holder[parts[-1]] = mask_text(str(holder[parts[-1]]))
    for path in spec.sensitive_fields:
        parts = tuple(path.split("/"))
        for holder in _holders(copy, parts):
            holder[parts[-1]] = HIDDEN
    return copy


def personal_values(records: Iterable[tuple[str, dict[str, Any]]]) -> frozenset[str]:
    """Everything the personal and sensitive fields of these records hold: hidden wherever it turns up."""
    found: set[str] = set()
    for type_name, body in records:
        spec = TYPES.get(type_name)
        for path in (*spec.personal_fields, *spec.sensitive_fields) if spec else ():
            parts = tuple(path.split("/"))
            for holder in _holders(body, parts):
                value = holder[parts[-1]]
                # Codes are too short to be told from others by their value alone: those go by their field's name.
                if not isinstance(value, dict):
                    found.add(str(value).casefold())
    return frozenset(found)


def _by_shape(value: Any, known: frozenset[str], depth: int) -> Any:
    if depth > _DEEPEST:
        return HIDDEN
    if isinstance(value, dict):
        return {
            (k if may_show(k) or k.isidentifier() else mask_text(k)): _member(k, v, known, depth)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_by_shape(v, known, depth + 1) for v in value]
    if isinstance(value, str):
        return value if value == "" or (may_show(value) and value.casefold() not in known) else mask_text(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) < 1e6 else mask_text(f"{value:.0f}")
    return value


def _member(name: str, value: Any, known: frozenset[str], depth: int) -> Any:
    personal, sensitive = _named()
    if name.casefold() in sensitive and value is not None:
        return HIDDEN
    if name.casefold() in personal and isinstance(value, str | int | float):
        return mask_text(str(value))
    return _by_shape(value, known, depth + 1)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "\n…"


def show_body(body: bytes, *, masked: bool = True, known: frozenset[str] = frozenset()) -> str | None:
    """A body for a page: indented JSON or XML, masked by shape unless `masked` is False. None: it cannot be shown so.

    `known`: values (case folded) that are personal whatever their shape. Hostile bytes give None or a text, never an error.
    """
    if len(body) > _LARGEST:
        return None
    start = body.lstrip()[:1]
    try:
        if start == b"<":
            return _cut(_show_xml(body, masked, known))
        if start in (b"{", b"["):
            return _cut(_show_json(body, masked, known))
    except (msgspec.DecodeError, SyntaxError, UnicodeError, RecursionError, ValueError):  # lxml's is a SyntaxError
        pass
    if masked:
        return None
    return _cut(body.decode("utf-8", "replace"))


def _show_json(body: bytes, masked: bool, known: frozenset[str]) -> str:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        # A line each: newline-delimited JSON.
        value = [msgspec.json.decode(line) for line in body.splitlines() if line.strip()]
    if masked:
        value = _by_shape(value, known, 0)
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _show_xml(body: bytes, masked: bool, known: frozenset[str]) -> str:
    from lxml import etree  # with the first XML somebody looks at

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
    )
    tree = etree.fromstring(body, parser)
    if tree.getroottree().docinfo.internalDTD is not None:
        raise ValueError("a document type is not shown")
    if masked:
        for node in tree.iter():
            if not isinstance(node.tag, str):
                node.text = None
                continue
            node.text = _masked_leaf(etree.QName(node).localname, node.text, known)
            node.tail = _masked_leaf("", node.tail, known)
            for name, value in node.attrib.items():
                node.attrib[name] = _masked_leaf(etree.QName(name).localname, str(value), known) or ""
    etree.indent(tree)
    return etree.tostring(tree, encoding="unicode")


def _masked_leaf(name: str, text: str | None, known: frozenset[str]) -> str | None:
    if text is None or not text.strip():
        return None
    clean = text.strip()
    return str(_member(name, clean, known, 0))
