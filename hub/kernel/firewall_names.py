"""The biometric firewall for what the sender names and people write: topics, parts of files, purposes.

One concern: telling a name or a sentence from content that was put in its place. Pure. It must never keep more of such
content than its beginning.
"""

from __future__ import annotations

from hub.kernel.firewall_text import Cut, scan_text
from hub.kernel.ports import Text

NAME_MAX = 150
"""Longest topic or name that is kept as it is: below what a fragment of an image would need."""

LEVEL_MAX = 64
"""Longest level of a topic: as long as a device's id may be."""

PURPOSE_LEAST, PURPOSE_MOST = 8, 250
NO_PURPOSE = Text(
    f"Hãy nêu mục đích bằng một câu từ {PURPOSE_LEAST} đến {PURPOSE_MOST} ký tự.",
    f"State a purpose: a sentence of {PURPOSE_LEAST} to {PURPOSE_MOST} characters.",
)

NO_REASON = Text(
    f"Hãy nêu lý do bằng một câu từ {PURPOSE_LEAST} đến {PURPOSE_MOST} ký tự.",
    f"Give the reason: a sentence of {PURPOSE_LEAST} to {PURPOSE_MOST} characters.",
)


def shown(name: str) -> str:
    """A topic, a file's or a field's name that the sender chose, as it may be kept: of one too long for an honest name
    only the beginning, for it may be content."""
    return name if is_name(name) else f"{name[:24]}…({len(name)})"


def is_name(name: str) -> bool:
    """Whether a topic or a name is short enough for one, each of its levels too."""
    return len(name) <= NAME_MAX and (len(name) <= LEVEL_MAX or max(map(len, name.split("/"))) <= LEVEL_MAX)


def stated(purpose: str) -> str | None:
    """What somebody wrote as their purpose or reason, its blanks made single. None when it is no sentence of `PURPOSE_LEAST` to
    `PURPOSE_MOST` characters: it holds what cannot be printed (no text of the database takes NUL) or looks like content."""
    plain = " ".join(purpose.split())
    fits = PURPOSE_LEAST <= len(plain) <= PURPOSE_MOST and plain.isprintable()
    return plain if fits and not holds_image(plain) else None


def holds_image(said: str) -> bool:
    """Whether a text a person should have written (a purpose, a note) holds what looks like an image."""
    cuts: list[Cut] = []
    scan_text(said.encode("utf-8", "replace"), cuts)
    return bool(cuts)
