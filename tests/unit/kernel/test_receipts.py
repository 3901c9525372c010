"""Receipt codes: read back as typed, refused when guessed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.receipts import receipt_code, receipt_id

KEY = b"k" * 32


@given(st.integers(0, (1 << 53) - 1))
def test_a_code_is_read_back_however_it_was_typed(number: int) -> None:
    code = receipt_code(KEY, number)
    assert len(code) == 19
    for typed in (code, code.lower(), code.replace("-", ""), code.replace("0", "O").replace("1", "l"), f" {code} "):
        assert receipt_id(KEY, typed) == number


@given(st.integers(0, (1 << 53) - 1), st.integers(0, 15), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_a_mistyped_letter_is_refused(number: int, place: int, letter: str) -> None:
    letters = list(receipt_code(KEY, number).replace("-", ""))
    if letters[place] == letter:
        return
    letters[place] = letter
    assert receipt_id(KEY, "".join(letters)) is None


def test_another_hubs_code_is_none_of_ours() -> None:
    assert receipt_id(b"x" * 32, receipt_code(KEY, 12345)) is None
    assert receipt_id(KEY, "") is None
    assert receipt_id(KEY, "U" * 16) is None
