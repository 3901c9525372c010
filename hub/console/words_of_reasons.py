"""The console's words where it asks why. In Vietnamese and English.

One concern: these words. What is not here is shown by its own name.
"""

from __future__ import annotations

REASON_WORDS: dict[str, tuple[str, str]] = {
    "why.label": ("Lý do", "Reason"),
    "why.hint": (
        "(một câu {least}–{most} ký tự, không ghi số của ai; vào nhật ký)",
        "(a sentence of {least}–{most} characters, no personal numbers; journaled)",
    ),
    "why.needed": (
        "Hãy viết một câu từ {least} đến {most} ký tự, không ghi số định danh, số CMND hay số điện thoại của ai. Chưa làm gì.",
        "Write a sentence of {least} to {most} characters, without anybody's personal, identity card or phone number. Nothing was done.",
    ),
}  # fmt: skip
