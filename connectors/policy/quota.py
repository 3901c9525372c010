"""A counterparty's limits, described: how many calls per second and per day.

One concern: what can be set. It must never count: granting is the store's, in the transaction that claims, and the
sender's, whose permits come back a second after the answer. That holds for whatever second the counterparty counts in,
of the clock or sliding.
"""

from __future__ import annotations

from connectors.declare import Declared, setting
from hub.kernel.ports import Text


class QuotaSettings(Declared):
    """Limits the counterparty sets. Empty: none."""

    ABOUT = Text("Hạn mức", "Quota")
    per_second: int | None = setting("Lời gọi mỗi giây", "Calls per second", default=None, example=50, ge=1)
    per_day: int | None = setting(
        "Lời gọi mỗi ngày",
        "Calls per day",
        default=None,
        example=100_000,
        ge=1,
        help=Text("Tính từ 0 giờ, giờ Việt Nam", "Counted from midnight, Asia/Ho_Chi_Minh"),
    )
