"""A recorded reply told again with synthetic people: JSON, XML, form fields or text.

One concern: what in a reply may stay. Pure. It must never keep a text whose harmlessness neither its shape nor the
adapter's own folder shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from adapters.manifest import Manifest
from hub.stand_ins import StandIns, field_kind, like
from hub.traces import leaves, parse_xml, plain
from mappings.canonical.registry import TYPES
from mappings.engine import load_field_maps

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,39}")
_RUN = re.compile(r"\d{7,}")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
_TOKEN = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{18,}|[0-9a-fA-F]{16,}|(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/_=-]{20,}"
)
_EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.[a-z]{2,}")
_NUMBERS = re.compile(r"(?<!\d)\d{9,}(?!\d)")
_REPLACED = "Nội dung đã thay"
"""What stands in place of a text nobody can vouch for."""
_PARTS = ("family", "middle", "given")


@cache
def personal_names(system: str) -> dict[str, str]:
    """What the fields of a system's messages hold of a person, by their names (case folded), as its field maps' lineage says."""
    found: dict[str, str] = {}
    for name, made in load_field_maps().items():
        if not name.startswith(f"{system}."):
            continue
        spec = TYPES[made.type]
        for target, source, _kind in made.lineage():
            if source is None or source in spec.code_fields:
                continue
            kind = field_kind(made.type, source)
            if kind is not None:
                found[target.rsplit("/", 1)[-1].casefold()] = kind
    return found


@cache
def vocabulary(folder: Path) -> frozenset[str]:
    """Every text the adapter's own profiles, simulator and sample replies hold: what its system says whoever is asked about."""
    found: set[str] = set()
    for path in (*folder.glob("samples/*/reply.*"), *folder.glob("*.yaml"), *folder.glob("*.py")):
        content = path.read_bytes()
        if path.suffix in (".json", ".xml"):
            found |= set(leaves(content).values())
        else:
            found |= set(re.findall(r'"([^"\n]{3,300})"', content.decode("utf-8", "replace")))
            found |= set(re.findall(r":\s+([^\n{\[\"']{3,300})\n", content.decode("utf-8", "replace")))
    return frozenset(f.strip() for f in found)


class Retelling:
    """Tells replies of one system again."""

    def __init__(self, manifest: Manifest, stand_ins: StandIns) -> None:
        self._stand_ins = stand_ins
        self._personal = personal_names(manifest.system) | {k.casefold(): v for k, v in manifest.personal.items()}
        self._known = vocabulary(manifest.folder)
        self.blanked: list[str] = []
        """Places whose text was replaced only because nobody could vouch for it."""

    def body(self, body: bytes, content_type: str) -> bytes:
        """The whole body, as its own form writes it."""
        if not body:
            return body
        try:
            return orjson.dumps(self._data("", orjson.loads(body)), option=orjson.OPT_INDENT_2) + b"\n"
        except orjson.JSONDecodeError:
            pass
        if body.lstrip()[:1] == b"<":
            told = self._xml(body)
            if told is not None:
                return told
        text = body.decode("utf-8", "replace")
        if content_type.startswith("application/x-www-form-urlencoded"):
            pairs = parse_qsl(text, keep_blank_values=True)
            return urlencode([(k, self._leaf(f"/{k}", k, v)) for k, v in pairs]).encode()
        return self._loose(text).encode()

    def header(self, value: str) -> str:
        """A header's value."""
        return self._loose(value)

    def _loose(self, text: str) -> str:
        """A text of no form: what is known, and whatever has the shape of a number or an e-mail address."""
        told = self._stand_ins.text(text)
        made = set(self._stand_ins.made)
        told = _EMAIL.sub(lambda m: m[0] if m[0] in made else self._stand_ins.of("email", m[0]), told)
        return _NUMBERS.sub(lambda m: m[0] if m[0] in made else self._stand_ins.of("code", m[0]), told)

    # ------------------------------------------------------------------------------------ forms

    def _data(self, at: str, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            split = self._split({k: v for k, v in value.items() if isinstance(v, str)})
            return {
                self._stand_ins.text(k): split[k] if k in split else self._data(f"{at}/{k}", v, k)
                for k, v in value.items()
            }
        if isinstance(value, list):
            return [self._data(f"{at}/{n}", v, name) for n, v in enumerate(value)]
        if isinstance(value, str):
            return self._leaf(at, name, value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            told = self._leaf(at, name, str(value))
            return type(value)(told) if told != str(value) else value
        return value

    def _xml(self, body: bytes) -> bytes | None:
        from lxml import etree

        try:
            root = parse_xml(body)
        except (etree.LxmlError, ValueError):
            return None
        tree = root.getroottree()
        for node in root.iter():
            if len(node):
                parts = {etree.QName(c).localname: (c.text or "").strip() for c in node if not len(c)}
                for child in node:
                    told = self._split(parts).get(etree.QName(child).localname)
                    if told is not None:
                        child.text = told
                        child.set("_told", "1")
        for node in root.iter():
            place, local = tree.getpath(node), etree.QName(node).localname
            if node.attrib.pop("_told", None) is None and node.text and node.text.strip():
                node.text = self._leaf(place, local, node.text.strip())
            if node.tail and node.tail.strip():
                node.tail = self._leaf(place, "", node.tail.strip())
            for name, value in node.attrib.items():
                node.attrib[name] = self._leaf(f"{place}/@{name}", etree.QName(name).localname, str(value))
        told_bytes: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
        return told_bytes + b"\n"

    def _split(self, members: Mapping[str, str]) -> dict[str, str]:
        """A name told in parts, told again in the same parts."""
        kinds = {self._personal.get(k.casefold()): k for k in members}
        if not {"family", "given"} <= kinds.keys():
            return {}
        names = [kinds[p] for p in _PARTS if p in kinds]
        whole = " ".join(members[n] for n in names if members[n])
        if not whole:
            return {}
        made = self._stand_ins.of("name", whole)
        words = made.split()
        filled = [n for n in names if members[n]]
        if len(filled) == 1:
            return {filled[0]: made}
        told = {filled[0]: words[0], filled[-1]: words[-1]}
        for middle in filled[1:-1]:
            told[middle] = " ".join(words[1:-1])
        return {n: like(members[n], v) for n, v in told.items()}

    # ------------------------------------------------------------------------------------ one value

    def _leaf(self, at: str, name: str, value: str) -> str:
        if not value.strip():
            return value
        kind = self._personal.get(name.casefold())
        known = self._stand_ins.text(value)
        if kind is not None:
            return self._by_kind(kind, value, known)
        if known != value:
            return self._beside(at, value, known)
        if self._harmless(value) or value in self._known:
            return value
        if _TOKEN.fullmatch(value) or (_CODE.fullmatch(value) and _RUN.search(value)):
            return self._stand_ins.of("code", value)
        if "@" in value or _DATE.fullmatch(value) or value.isdigit():
            return self._stand_ins.of("text", value)
        self.blanked.append(at)
        return _REPLACED

    def _beside(self, at: str, value: str, told: str) -> str:
        """A text in which something was replaced: what stands beside it must be known or harmless too."""
        kept = self._stand_ins.without(value)
        words = [w for w in re.split(r"[\s,;:.()\"'“”]+", kept) if w and not self._harmless(w)]
        known = " ".join(plain(k) for k in self._known)
        if all(plain(w) in known for w in words):
            return told
        self.blanked.append(at)
        return _REPLACED

    def _by_kind(self, kind: str, value: str, known: str) -> str:
        if kind == "zero":
            return re.sub(r"\d", "0", value)
        if kind == "year":
            return self._stand_ins.year(value) if re.fullmatch(r"(19|20)\d\d", value) else value
        if kind in _PARTS:
            return known if known != value else self._stand_ins.of("name", value)
        if kind == "figure" or (kind in ("text", "code") and known != value):
            return known
        return self._stand_ins.of(kind, value)  # type: ignore[arg-type]

    @staticmethod
    def _harmless(value: str) -> bool:
        """A short code, a moment, or a moment as the counterparties write it: fourteen digits."""
        if _MOMENT.fullmatch(value):
            return True
        if re.fullmatch(r"20\d{12}", value):
            try:
                return bool(datetime.strptime(value + "+0700", "%Y%m%d%H%M%S%z"))
            except ValueError:
                return False
        one_case = value.isupper() or value.islower() or value.isdigit() or "." in value
        return (
            bool(_CODE.fullmatch(value))
            and one_case
            and not (_RUN.search(value) or _DATE.fullmatch(value) or _TOKEN.fullmatch(value))
        )
