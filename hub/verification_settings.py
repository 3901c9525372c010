"""Settings of verifications that a schedule opens: for which purpose, and who answers for them.

One concern: declaring that group; nothing here may read the environment or a file.
"""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from hub.kernel.firewall_names import NO_PURPOSE, stated
from hub.setting_groups import Group, both

OFFICER = r"^[0-9A-Za-z][0-9A-Za-z._/:-]{0,58}[0-9A-Za-z]$"
"""An officer's code, as it goes to the population database and into the look-up log."""


class Verification(Group):
    """Xác minh theo lịch / Scheduled verification."""

    purpose: str = Field(
        "",
        description=both(
            "Mục đích của các đợt xác minh theo lịch, ghi vào nhật ký tra cứu; trống: không tự mở đợt nào",
            "Purpose of scheduled verifications, kept in the look-up log; empty: none is opened by schedule",
        ),
    )
    officer: str = Field(
        "",
        pattern=f"{OFFICER}|^$",
        description=both(
            "Mã cán bộ chịu trách nhiệm về các đợt xác minh theo lịch",
            "Code of the officer who answers for scheduled verifications",
        ),
    )

    @field_validator("purpose")
    @classmethod
    def _sentence(cls, value: str) -> str:
        if not value.strip():
            return ""
        plain = stated(value)
        if plain is None:
            raise ValueError(f"{NO_PURPOSE.vi} / {NO_PURPOSE.en}")
        return plain

    @model_validator(mode="after")
    def _together(self) -> Verification:
        if bool(self.purpose) != bool(self.officer):
            raise ValueError("purpose and officer belong together")
        return self
