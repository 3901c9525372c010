"""When so much is refused that a person should look before more is sent.

One concern: what can be set. It must never judge: `hub.worker.guard` does.
"""

from __future__ import annotations

from pydantic import model_validator

from connectors.declare import Declared, setting, wrong
from hub.kernel.ports import Text


class GuardSettings(Declared):
    """Mass refusals: more than so many of the last answered records, refused for one cause."""

    ABOUT = Text("Chặn khi bị từ chối hàng loạt", "Guard against mass refusals")
    refused: int = setting(
        "Số bản ghi bị từ chối",
        "Refused records",
        default=60,
        ge=1,
        le=100_000,
        help=Text(
            "Nhiều hơn số này trong các bản ghi gần nhất, cùng một lý do: phần của trường đó tạm nghỉ",
            "More than this among the last ones, for one cause: that school's share rests",
        ),
    )
    of_last: int = setting("Trong số bản ghi gần nhất", "Of the last records", default=100, ge=1, le=100_000)
    schools: int = setting(
        "Số trường để tạm dừng cả kết nối",
        "Schools that pause the connector",
        default=3,
        ge=2,
        le=10_000,
        help=Text("Cùng lý do ở ngần ấy trường: lỗi không nằm ở dữ liệu", "One cause at so many: it is not the data"),
    )

    @model_validator(mode="after")
    def _fits(self) -> GuardSettings:
        if self.refused >= self.of_last:
            raise wrong(
                "guard", "cần ít bản ghi bị từ chối hơn số xem xét", "must count fewer refused than are looked at"
            )
        return self
