"""The console's words where it asks why. In Vietnamese and English.

One concern: these words. What is not here is shown by its own name.
"""

from __future__ import annotations

REASON_WORDS: dict[str, tuple[str, str]] = {
    "why.label": ("Lý do", "Reason"),
    "why.hint": ("(một câu {least}–{most} ký tự, ghi vào nhật ký)", "(a sentence of {least}–{most} characters; journaled)"),
    "why.needed": (
        "Hãy viết một câu từ {least} đến {most} ký tự. Chưa làm gì.",
        "Write a sentence of {least} to {most} characters. Nothing was done.",
    ),
}  # fmt: skip
