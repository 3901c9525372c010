"""The words a comparison of two identities ends in: verdicts, and the reasons beside them.

One concern: their names and what people read for them, the same on every page, sheet and receipt. It must never hold a
personal value: a reason names a field and how it differs, nothing of what either side wrote.
"""

from __future__ import annotations

from typing import Literal

from hub.kernel.ports import Text
from mappings.canonical.messages import title

Verdict = Literal["match", "partial", "mismatch", "not_found"]

VERDICTS: dict[str, Text] = {
    "match": Text("Khớp", "Match"),
    "partial": Text("Khớp một phần", "Partial match"),
    "mismatch": Text("Không khớp", "Mismatch"),
    "not_found": Text("Không tìm thấy", "Not found"),
}

HOW: dict[str, Text] = {
    "different": Text("khác", "differs"),
    "diacritics": Text("chỉ khác dấu", "differs in diacritics only"),
    "order": Text("cùng các từ nhưng khác thứ tự", "same words in another order"),
    "swapped": Text("ngày và tháng bị đảo", "day and month are swapped"),
    "not_confirmed": Text("không được xác nhận", "is not confirmed"),
    "not_stated": Text("CSDL dân cư không nêu", "is not stated by the population database"),
    "missing": Text("trường chưa khai nên không hỏi được", "was not given by the school, so nothing could be asked"),
}
"""How a field stands between the two sides. The last two are no differences: nothing was compared."""

SOFT = frozenset({"diacritics", "order", "swapped"})
"""Ways of differing that leave little doubt that it is the same person."""


def reason(field: str, how: str) -> str:
    """The word for a field and how it differs: `full_name:diacritics`."""
    return f"{field}:{how}"


def words(said: str) -> Text:
    """What people read for a reason. A reason of an unknown kind is shown as it is."""
    field, _, how = said.rpartition(":")
    known = HOW.get(how)
    if known is None or not field:
        return Text(said, said)
    titled = title(field)
    return Text(f"{titled.vi}: {known.vi}", f"{titled.en} {known.en}")
