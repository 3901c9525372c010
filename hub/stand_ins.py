"""Stand-ins: synthetic values for the personal fields of one recorded exchange, the same one for the same original.

One concern: which value stands for which, and finding originals in texts. Pure: everything follows from the key given. It
must never let two originals share a stand-in, nor keep what it cannot read.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import html
import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import Any, Literal
from urllib.parse import unquote, unquote_plus

import orjson

from hub.simulate.people import People, Sex
from mappings.canonical.registry import TYPES

Kind = Literal["name", "number", "birth", "phone", "email", "url", "text", "code", "file_number", "figure"]

SHORTEST = 4
"""Shorter originals are replaced in their own fields only: anywhere else they are not to be told from other words."""

_CODES = frozenset({
    "learner_code", "staff_code", "school_code", "person_code", "local_id", "card", "request_code", "request_id", "social_insurance",
    "temporary_code", "event_id", "question_id", "officer", "device", "file", "merged_into", "follows", "namespace",
})  # fmt: skip
_NAMES = frozenset({
    "full_name", "principal", "handler", "asker", "requested_by", "received_by", "homeroom_teacher", "signed_by", "signer",
})  # fmt: skip
_HOLDERS = frozenset({"applicant"})
"""Objects whose member `name` is a person's."""
_ISO = re.compile(r"\d{4}-\d\d-\d\d")
_COMPACT = re.compile(r"(?:19|20)\d{6}")
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{7,19}")
_HEX = re.compile(r"(?=.*[a-f])[0-9a-f-]{16,}")
_SPACES = re.compile(r"\s+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_WORDS = ("mẫu", "thay", "thế", "bình", "thường", "nội", "dung", "ghi", "chép")


def plain(text: str) -> str:
    """A text without diacritics and case; as many characters as its composed form."""
    return "".join(_plain(c) for c in unicodedata.normalize("NFC", text))


def _plain(char: str) -> str:
    base = unicodedata.normalize("NFD", char)[0]
    lower = "d" if base in "đĐðÐ" else base.lower()
    return lower if len(lower) == 1 else base


def shape(value: str) -> Kind:
    """What a personal value is, by how it is written."""
    if "@" in value:
        return "email"
    if value.startswith(("http://", "https://")):
        return "url"
    if _ISO.fullmatch(value) or _COMPACT.fullmatch(value):
        return "birth"
    if re.fullmatch(r"[0-9]{9}|[0-9]{12}", value):
        return "number"
    if _PHONE.fullmatch(value):
        return "phone"
    return "text"


def field_kind(type_name: str, path: str) -> Kind | None:
    """What the field of a canonical record holds: None when it says nothing of a person. `path`: members joined by `/`."""
    spec, parts = TYPES[type_name], path.split("/")
    last, general = parts[-1], re.sub(r"/\d+(?=/|$)", "/*", path)
    if last == "file_number":
        return "file_number"
    if last in _CODES:
        return "code"
    if last in _NAMES or (last == "name" and len(parts) > 1 and parts[-2] in _HOLDERS):
        return "name"
    if last == "birth_date":
        return "birth"
    if last in ("personal_number", "identity_number"):
        return "number"
    return "text" if general in spec.personal_fields or general in spec.sensitive_fields else None


class StandIns:
    """The stand-ins of one run. `codes`: the codes of a canonical system, from which another is chosen for a sensitive one."""

    def __init__(self, key: bytes, codes: Callable[[str], list[str]]) -> None:
        self._key = key
        self._codes = codes
        self._table: dict[str, str] = {}
        self._taken: set[str] = set()
        self._finder: re.Pattern[str] | None = None
        self._found: dict[str, str] = {}
        self._by_plain: dict[str, str] = {}
        self._people = People(self._rng("people", ""), ())
        self._shift = -self._rng("years", "").randint(1, 3)

    def _rng(self, kind: str, value: str) -> random.Random:
        return random.Random(hmac.digest(self._key, f"{kind}/{value}".encode(), hashlib.sha256))  # noqa: S311  (invents, guards nothing)

    # ------------------------------------------------------------------------------------ one value

    @property
    def originals(self) -> list[str]:
        """Every value that was replaced and is long enough to be looked for."""
        return [o for o in self._table if len(o) >= SHORTEST and self._table[o] != o]

    @property
    def made(self) -> frozenset[str]:
        """Every stand-in given so far."""
        return frozenset(self._taken)

    def pair(self, original: str, replacement: str) -> None:
        """Have one value stand for another, where it is known already."""
        if original and original != replacement and original not in self._table:
            self._note(original, replacement)

    def of(self, kind: Kind, value: str) -> str:
        """The stand-in of a value."""
        composed = unicodedata.normalize("NFC", value)
        if kind == "text":
            kind = shape(composed)
        if kind == "name":
            return self._name(composed, None)
        if composed in self._table:
            return self._table[composed]
        made = composed
        for turn in range(1000):
            made = self._make(kind, composed, self._rng(kind, f"{composed}/{turn}"))
            if made != composed and made not in self._taken and made not in self._table:
                break
        self._note(composed, made)
        if kind == "birth":
            self._note_dates(composed, made)
        return made

    def named(self, value: str, sex: str | None) -> str:
        """The stand-in of a person's name. `sex`: its canonical code where the record says it."""
        return self._name(unicodedata.normalize("NFC", value), sex)

    def _name(self, value: str, sex: str | None) -> str:
        known = " ".join(plain(value).split())
        if known not in self._by_plain:
            given: Sex = "female" if sex == "female" or (sex is None and " thi " in f" {known} ") else "male"
            words, rng = set(known.split()), self._rng("name", known)
            people, made = People(rng, ()), value
            for turn in range(1000):
                made = people.name(given)
                told = set(plain(made).split())
                # Shares no word with the one it stands for, so that parts of a name are replaced as well.
                if made not in self._taken and (not words & told or turn > 500):
                    break
            self._by_plain[known] = made
            self._note(value, made)
        return like(value, self._by_plain[known])

    def year(self, value: str) -> str:
        """A year of birth, as all dates of birth are moved."""
        return f"{int(value) + self._shift:04d}"

    def _make(self, kind: Kind, value: str, rng: random.Random) -> str:
        if kind == "number" and re.fullmatch(r"[0-9]{12}", value):
            return self._number(value, rng)
        if kind == "birth":
            return self._birth(value, rng)
        if kind == "phone":
            return _shaped(value, rng, keep=2)
        if kind == "email":
            return f"nguoi-{rng.randrange(10**8):08d}@vi-du.example"
        if kind == "url":
            return f"https://vi-du.example/{rng.randrange(10**8):08d}"
        if kind == "file_number":
            head, _, tail = value.rpartition("-")
            return f"{head}-{_shaped(tail, rng)}"
        if kind in ("number", "code"):
            return _shaped(value, rng)
        return f"{' '.join(rng.sample(_WORDS, 4)).capitalize()} {rng.randrange(10**5)}"

    def _number(self, value: str, rng: random.Random) -> str:
        """Of valid form; century, sex and year follow the original's, moved as the dates of birth are."""
        digit = int(value[3])
        born = 1900 + 100 * (digit // 2) + int(value[4:6]) + self._shift
        people = People(rng, ())
        return people.number(date(max(born, 1900), 1, 1), "female" if digit % 2 else "male")

    def _birth(self, value: str, rng: random.Random) -> str:
        compact = value.replace("-", "")
        year, rest = int(compact[:4]) + self._shift, compact[4:]
        if rest and "00" not in (rest[:2], rest[2:]):
            rest = (date(2001, 1, 1) + timedelta(days=rng.randrange(365))).strftime("%m%d")
        made = f"{year:04d}{rest}"
        return f"{made[:4]}-{made[4:6]}-{made[6:]}" if "-" in value else made

    def _note_dates(self, original: str, made: str) -> None:
        old, new = original.replace("-", ""), made.replace("-", "")
        for form in ("{0}-{1}-{2}", "{0}{1}{2}", "{2}/{1}/{0}", "{2}-{1}-{0}", "{2}.{1}.{0}", "{0}/{1}/{2}"):
            before, after = (form.format(v[:4], v[4:6], v[6:]) for v in (old, new))
            if before not in self._table:
                self._note(before, after)

    def _note(self, original: str, made: str) -> None:
        self._table[original] = made
        self._taken.add(made)
        self._finder = None

    # ------------------------------------------------------------------------------------ a record

    def record(self, type_name: str, body: dict[str, Any]) -> dict[str, Any]:
        """A canonical record with every personal field replaced."""
        sex = body.get("sex")
        told = sex.get("canonical") if isinstance(sex, dict) else None
        made: dict[str, Any] = self._walk(type_name, "", body, told)
        return made

    def _walk(self, type_name: str, path: str, value: Any, sex: str | None) -> Any:
        spec = TYPES[type_name]
        general = re.sub(r"/\d+(?=/|$)", "/*", path)
        if isinstance(value, dict):
            if general in spec.sensitive_fields and "code" in value:
                return self._another(spec.code_fields[general][1], value)
            inner = None if path else sex
            return {k: self._walk(type_name, f"{path}/{k}" if path else k, v, inner) for k, v in value.items()}
        if isinstance(value, list):
            return [self._walk(type_name, f"{path}/{n}", v, None) for n, v in enumerate(value)]
        if not path or value is None:
            return value
        kind = field_kind(type_name, path)
        if kind is None:
            return value
        if isinstance(value, bool):
            return self._rng("truth", path).random() < 0.5
        if isinstance(value, int | float):
            return self._figure(path, value)
        if kind == "name":
            return self.named(value, sex)
        return self.of(kind, value)

    def _another(self, system: str, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("canonical") is None:
            return value
        others = [c for c in self._codes(system) if c != value["canonical"]]
        if not others:
            return value
        code = self._rng("code", f"{system}/{value['canonical']}").choice(others)
        return value | {"system": system, "code": code, "canonical": code}

    def _figure(self, path: str, value: float) -> float:
        moved = value * self._rng("figure", f"{path}/{value}").uniform(0.8, 1.0)
        return int(moved) if isinstance(value, int) else round(moved, 1)

    # ------------------------------------------------------------------------------------ texts

    def text(self, text: str) -> str:
        """A text with every known original replaced, however it is written: case, diacritics and spacing do not count."""
        return self._told(text, lambda span, made: like(span, made))

    def without(self, text: str) -> str:
        """A text with every known original taken out."""
        return self._told(text, lambda _span, _made: " ")

    def _told(self, text: str, say: Callable[[str, str], str]) -> str:
        if self._finder is None:
            known = [o for o in self._table if len(o) >= SHORTEST]
            self._found = {_SPACES.sub(" ", plain(o)): self._table[o] for o in known}
            forms = sorted(self._found, key=len, reverse=True)
            self._finder = re.compile("|".join(re.escape(f).replace(r"\ ", r"\s+") for f in forms) or r"(?!)")
        composed = unicodedata.normalize("NFC", text)
        folded, at = plain(composed), 0
        out: list[str] = []
        for found in self._finder.finditer(folded):
            span = composed[found.start() : found.end()]
            out += [composed[at : found.start()], say(span, self._found[_SPACES.sub(" ", found.group())])]
            at = found.end()
        return "".join([*out, composed[at:]]) if out else text

    def deep(self, value: Any) -> Any:
        """Plain data with every text in it so treated."""
        if isinstance(value, dict):
            return {k: self.deep(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.deep(v) for v in value]
        return self.text(value) if isinstance(value, str) else value


def like(original: str, made: str) -> str:
    """A stand-in written as its original is: all capitals, all small, without diacritics."""
    if not any(c.isalpha() for c in original) or not any(c.isalpha() for c in made):
        return made
    bare = made if unicodedata.normalize("NFC", original).isascii() is False else _bare(made)
    if original.isupper():
        return bare.upper()
    return bare.lower() if original.islower() else bare


def _bare(text: str) -> str:
    return "".join(_plain(c).upper() if c.isupper() else _plain(c) for c in unicodedata.normalize("NFC", text))


def _shaped(value: str, rng: random.Random, keep: int = 0) -> str:
    """Other digits in the same places; other letters too where there are few digits to change."""
    if _HEX.fullmatch(value):
        return "".join(rng.choice("0123456789abcdef") if c != "-" else c for c in value)
    few = sum(c.isdigit() for c in value[keep:]) < SHORTEST
    out = []
    for n, c in enumerate(value):
        if n >= keep and c.isascii() and c.isdigit():
            c = str(rng.randrange(1, 10))
        elif n >= keep and few and c.isascii() and c.isalpha():
            c = rng.choice("ABCDEFGHKMNPQRST") if c.isupper() else rng.choice("abcdefghkmnpqrst")
        out.append(c)
    return "".join(out)


# ------------------------------------------------------------------------------------------ looking for what is left


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
            bare = token.rstrip("=")
            raw = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_" if set(bare) & {"-", "_"} else None)
            decoded = raw.decode("utf-8")
            if decoded.isprintable() or "\n" in decoded:
                yield from _readings(decoded, depth + 1)


def left_over(content: bytes, originals: Iterable[str]) -> list[int]:
    """Which of the originals (their places in the list given) still appear in some bytes, in whatever form.

    Looked for: as written; without case, diacritics and spacing; escaped, URL-encoded and in base64, also inside a longer one.
    """
    text = content.decode("utf-8", "replace")
    readings = {_SPACES.sub(" ", plain(one)) for one in _readings(text)}
    found = []
    for at, original in enumerate(originals):
        form = _SPACES.sub(" ", plain(original))
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
