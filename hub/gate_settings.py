"""Settings of gates: from where their doors may be called, and whether pictures are kept, on what ground and for how long.

One concern: those groups. They must never allow more than 72 hours, or anything without a legal basis in words.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from hub.setting_checks import networks
from hub.setting_groups import Group, both


class Gates(Group):
    """Cửa HTTP của cổng / The gates' HTTP doors."""

    hanet_networks: tuple[str, ...] = Field(
        (),
        description=both(
            "Mạng mà đám mây HANET gọi webhook từ đó (CIDR, danh sách JSON); trống: từ mọi nơi",
            "Networks HANET's cloud calls the webhook from (CIDR, a JSON list); empty: from anywhere",
        ),
    )

    @field_validator("hanet_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return networks(value)


class Pictures(Group):
    """Ảnh từ cổng; mặc định không giữ / Pictures of gates; by default none is kept."""

    legal_basis: str = Field(
        "",
        max_length=500,
        description=both(
            "Căn cứ pháp lý để giữ ảnh (ít nhất 20 ký tự); trống: không giữ ảnh nào, ảnh đã giữ bị xóa",
            "Legal basis for keeping pictures (20 characters at least); empty: none is kept, those kept are deleted",
        ),
    )
    retention_hours: Annotated[int, Field(ge=1, le=72)] = Field(
        24, description=both("Giữ ảnh bao lâu (giờ, nhiều nhất 72)", "How long a picture is kept (hours, 72 at most)")
    )

    @field_validator("legal_basis")
    @classmethod
    def _said(cls, value: str) -> str:
        if 0 < len(value.strip()) < 20:
            raise ValueError("legal_basis: 20 characters at least")
        return value.strip()

    @property
    def hours(self) -> int:
        """Hours a picture is kept; 0 where none may be."""
        return self.retention_hours if self.legal_basis else 0
