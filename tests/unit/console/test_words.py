"""Every string a page names is there, in both languages, and no string is left over."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from hub.console.render import say
from hub.console.words import WORDS
from hub.kernel.lifecycle import TRANSITIONS, State

CONSOLE = Path(__file__).resolve().parents[3] / "hub" / "console"
SOURCES = {
    p: p.read_text(encoding="utf-8")
    for p in [*CONSOLE.rglob("*.html"), *CONSOLE.rglob("*.py")]
    if not p.name.startswith("words")
}
NAMED = {key for text in SOURCES.values() for key in re.findall(r"""\bt\('([a-z_.0-9]+)'[,)]""", text)}
GROUPS = {
    group
    for text in SOURCES.values()
    for group in re.findall(r"""(?:\bt\('|\bword\(')([a-z_.]+?)\.?'(?: ~|, )""", text)
}
QUOTED = {key for text in SOURCES.values() for key in re.findall(r"""["'`]([a-z]+\.[a-zA-Z_.0-9]+)["'`]""", text)}


def test_every_named_string_is_there() -> None:
    assert len(NAMED) > 250
    assert sorted(NAMED - WORDS.keys()) == []


def test_every_string_is_used() -> None:
    built = {"users.bad", "password", "form", "connector.order", "connector.group"}
    left = [
        k
        for k in WORDS
        if k not in NAMED | QUOTED and not any(k.startswith((g + ".", g + "_")) for g in GROUPS | built)
    ]
    assert left == []


@pytest.mark.parametrize("key", sorted(WORDS))
def test_both_languages_say_the_same_thing(key: str) -> None:
    vi, en = WORDS[key]
    assert vi.strip() and en.strip()
    fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (vi, en)]
    assert fields[0] == fields[1]


def test_every_state_and_cause_has_a_word() -> None:
    for state in State:
        assert f"state.{state.word}" in WORDS and f"state.{state.word}.help" in WORDS
    for transition in TRANSITIONS:
        assert f"cause.{transition.cause}" in WORDS, transition.cause


def test_counts_have_the_languages_separators() -> None:
    assert say("list.count", "vi", n=12345) == "12.345 dòng"
    assert say("list.count", "en", n=12345) == "12,345 rows"
