"""JSON for the database: whatever text there is, only NULs change, and what is legal is never refused."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.ledger.stored import SHOWN, has_nul, stored

TEXTS = st.lists(st.sampled_from(["\0", "\\", "u0000", "u", "0", '"', "ă"]), max_size=12).map("".join)


@given(st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_only_nuls_are_shown_as_something_else(value: dict[str, str]) -> None:
    there = any("\0" in text for text in (*value, *value.values()))
    assert has_nul(msgspec.json.encode(value)) is there
    shown = {k.replace("\0", SHOWN): v.replace("\0", SHOWN) for k, v in value.items()}
    assert msgspec.json.decode(stored(value)) == shown


def test_an_escaped_backslash_before_the_letters_is_no_nul() -> None:
    assert not has_nul(rb'"\\u0000"') and has_nul(rb'"\\\u0000"') and has_nul(rb'"\u0000\u0000"')
    assert stored("\\u0000") == rb'"\\u0000"'
