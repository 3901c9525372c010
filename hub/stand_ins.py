"""Stand-ins: synthetic values for the personal fields of one recorded exchange, the same one for the same original.

One concern: which value stands for which, and finding originals in texts. Pure: everything follows from the key given. It
must never let two originals share a stand-in, nor keep what it cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import unicodedata
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Literal

from hub.simulate.people import People, Sex
from hub.traces import SHORTEST, SPACES, bare, plain
from mappings.canonical.registry import TYPES

Kind = Literal["name", "number", "birth", "phone", "email", "url", "text", "code", "file_number", "figure"]

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
_WORDS = ("mẫu", "thay", "thế", "bình", "thường", "nội", "dung", "ghi", "chép")


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
            self._found = {SPACES.sub(" ", plain(o)): self._table[o] for o in known}
            forms = sorted(self._found, key=len, reverse=True)
            self._finder = re.compile("|".join(re.escape(f).replace(r"\ ", r"\s+") for f in forms) or r"(?!)")
        composed = unicodedata.normalize("NFC", text)
        folded, at = plain(composed), 0
        out: list[str] = []
        for found in self._finder.finditer(folded):
            span = composed[found.start() : found.end()]
            out += [composed[at : found.start()], say(span, self._found[SPACES.sub(" ", found.group())])]
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
    fitting = made if unicodedata.normalize("NFC", original).isascii() is False else bare(made)
    if original.isupper():
        return fitting.upper()
    return fitting.lower() if original.islower() else fitting


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
