"""The biometric firewall for what the sender names and people write: topics, parts of files, purposes.

One concern: telling a name or a sentence from content that was put in its place, or that says who somebody is. Pure. It must
never keep more of such content than its beginning.
"""

from __future__ import annotations

import re

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

# 12 digits; an old identity card's 9, but not the end of a serial number (CGXH201460231); a mobile or landline number.
_PHONE = r"(?:\+?84|0)(?:[35789]\d{8}|2\d{9})"
_IN_ONE = re.compile(rf"(?<!\d)(?:\d{{12}}|{_PHONE})(?!\d)|(?:(?<!\w)|(?<=cmnd)|(?<=cmt))\d{{9}}(?!\w)", re.I)
# The same in groups. A personal number begins with 0 as a phone number does: neither a day with its time nor an address does.
_GROUPS = re.compile(r"(?<!\d)(?<!\d[ .-])(?:\(?\+84\)?|\(?0\d{1,5}\)?)([ .-])\d{1,9}(?:\1\d{1,9})*+(?![ .-]?\d)")
_GROUPED = re.compile(rf"0\d{{11}}|{_PHONE}")
_THREES = re.compile(r"(?<!\w)(?<!\d[ .-])\d{3}([ -])\d{3}\1\d{3}(?![ .-]?\d|\w)")


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
    """Whether a text holds what looks like somebody's personal number, old identity card or phone number, also in groups."""
    if _IN_ONE.search(said) or _THREES.search(said):
        return True
    return any(_GROUPED.fullmatch(re.sub(r"[^\d+]", "", found[0])) for found in _GROUPS.finditer(said))


def holds_image(said: str) -> bool:
    """Whether a text a person should have written (a purpose, a note) holds what looks like an image."""
    cuts: list[Cut] = []
    scan_text(said.encode("utf-8", "replace"), cuts)
    return bool(cuts)
