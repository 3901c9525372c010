"""The biometric firewall for what the sender names and people write: topics, parts of files, purposes.

One concern: telling a name or a sentence from content that was put in its place, or that says who somebody is. Pure. It must
never keep more of such content than its beginning.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import accumulate

from hub.kernel.firewall_text import Cut, scan_text
from hub.kernel.ports import Text

NAME_MAX = 150
"""Longest topic or name that is kept as it is: below what a fragment of an image would need."""

LEVEL_MAX = 64
"""Longest level of a topic: as long as a device's id may be."""

PURPOSE_LEAST, PURPOSE_MOST = 8, 250
NO_PURPOSE = Text(
    f"Hãy nêu mục đích bằng một câu từ {PURPOSE_LEAST} đến {PURPOSE_MOST} ký tự, không ghi số định danh, số CMND hay số điện thoại của ai.",
    f"State a purpose: a sentence of {PURPOSE_LEAST} to {PURPOSE_MOST} characters, without anybody's personal, identity card or phone number.",
)

NO_REASON = Text(
    f"Hãy nêu lý do bằng một câu từ {PURPOSE_LEAST} đến {PURPOSE_MOST} ký tự, không ghi số định danh, số CMND hay số điện thoại của ai.",
    f"Give the reason: a sentence of {PURPOSE_LEAST} to {PURPOSE_MOST} characters, without anybody's personal, identity card or phone number.",
)

_SOMEBODYS = re.compile(
    r"0(?:0[1-9]|[1-8]\d|9[0-6])\d{9}"  # a personal number: twelve digits behind a province's code, 001 to 096
    r"|(?:(?:00)?840?|0)(?:[35789]\d{8}|2\d{9})"  # a mobile or landline number
)
_MOST = 15
"""Digits of the longest of them: 0084, a 0 and a landline's ten."""
# Nine digits are an old card's only in a text that speaks of cards (else a transaction's, or an amount), and so are twelve behind
# the code of a country, for who was born abroad.
_CARDS = (
    r"(?:(?<![^\W\d_])(?:cmnd|cmtnd|cmt|cccd)|ch[ứu]ng minh|c[ăa]n c[ưu][ớo]c|(?:id|identity|identification) ?card)"
)
_CARD, _CARD_BEFORE = re.compile(_CARDS), re.compile(rf"{_CARDS}$")
_ON_CARDS = re.compile(r"\d{9}|[1-9]\d\d[0-3]\d{8}")
# A day is none of them, nor part of one.
_DAY = re.compile(
    "|".join(
        rf"(?<!\d)(?<!\d{s})(?:0?[1-9]|[12]\d|3[01]){s}(?:0?[1-9]|1[0-2]){s}(?:19|20)\d\d(?!{s}?\d)"
        for s in (r"\.", "-", "/", " ")
    )
)
# Digits in groups, as people part them. A colon, or a comma with a blank, parts two things.
_CHAIN = re.compile(r"\d+(?:(?:,|(?:[^\w:;,%]|_){1,3})\d+)*+")
_GROUP = re.compile(r"\d+")


def shown(name: str) -> str:
    """A topic, a file's or a field's name that the sender chose, as it may be kept: of one too long for an honest name
    only the beginning, for it may be content."""
    return name if is_name(name) else f"{name[:24]}…({len(name)})"


def is_name(name: str) -> bool:
    """Whether a topic or a name is short enough for one, each of its levels too."""
    return len(name) <= NAME_MAX and (len(name) <= LEVEL_MAX or max(map(len, name.split("/"))) <= LEVEL_MAX)


def stated(purpose: str) -> str | None:
    """What somebody wrote as their purpose or reason, its blanks made single. None when it is no sentence of `PURPOSE_LEAST` to
    `PURPOSE_MOST` characters: it holds what cannot be printed (no text of the database takes NUL), looks like content, or names
    somebody by number: it is journaled, and the journal is kept for years."""
    plain = " ".join(purpose.split())
    fits = PURPOSE_LEAST <= len(plain) <= PURPOSE_MOST and plain.isprintable()
    return plain if fits and not holds_image(plain) and not holds_number(plain) else None


def holds_number(said: str) -> bool:
    """Whether a text holds what looks like somebody's personal number, old identity card or phone number, in whatever digits and
    however they are parted; also beside other groups of digits."""
    plain = _DAY.sub(":", _plain(said))
    cards = _CARD.search(plain) is not None
    return any(
        any(_SOMEBODYS.fullmatch(digits) for digits in _joined(groups))
        or (cards and _on_card(plain[max(0, chain.start() - 20) : chain.start()], groups))
        for chain in _CHAIN.finditer(plain)
        if (groups := _GROUP.findall(chain[0]))
    )


def _plain(said: str) -> str:
    """A text in small letters, whatever stands for a digit as that digit, blanks made single."""
    one = "".join(str(unicodedata.decimal(c, c)) for c in unicodedata.normalize("NFKC", said))
    return " ".join(one.lower().split())


def _joined(groups: list[str]) -> Iterator[str]:
    """Each run of neighbouring groups put together, as far as a number may reach."""
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(digits) > _MOST:
                break
            yield digits


def _on_card(before: str, groups: list[str]) -> bool:
    """Whether groups are, or begin with, a card's number; not so the end of a serial number (CGXH201460231)."""
    if before[-1:].isalpha() and not _CARD_BEFORE.search(before):
        return False
    return any(_ON_CARDS.fullmatch(digits) for digits in (*groups, *accumulate(groups[:_MOST])))


def holds_image(said: str) -> bool:
    """Whether a text a person should have written (a purpose, a note) holds what looks like an image."""
    cuts: list[Cut] = []
    scan_text(said.encode("utf-8", "replace"), cuts)
    return bool(cuts)
