"""Settings of filings: their dates, and the documents attached to them.

One concern: declaring those two groups; nothing here may read the environment or a file.
"""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from typing import Annotated

from pydantic import AnyUrl, Field, field_validator

from hub.setting_groups import Days, Group, both


class Filings(Group):
    """Thời hạn hồ sơ / Filings and their dates."""

    hours: tuple[str, ...] = Field(
        ("07:30-11:30", "13:30-17:00"),
        description=both("Giờ làm việc trong ngày (danh sách JSON)", "Working hours of a day (a JSON list)"),
    )
    days_off: tuple[date, ...] = Field(
        (),
        description=both(
            "Ngày nghỉ thêm ngoài ngày lễ, Tết (danh sách JSON, YYYY-MM-DD)",
            "Days off besides public holidays (a JSON list, YYYY-MM-DD)",
        ),
    )
    working_days: tuple[date, ...] = Field(
        (),
        description=both(
            "Ngày làm bù, kể cả thứ bảy, chủ nhật (danh sách JSON, YYYY-MM-DD)",
            "Days worked in exchange, weekends included (a JSON list, YYYY-MM-DD)",
        ),
    )
    warn_hours: Annotated[float, Field(ge=0, le=80)] = Field(
        4.0,
        description=both(
            "Báo trước khi hồ sơ còn ít hơn số giờ làm việc này", "Warn when a filing has fewer working hours left"
        ),
    )

    @field_validator("hours")
    @classmethod
    def _spans(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        flat = [time.fromisoformat(part) for span in value for part in span.split("-")]
        if len(flat) != 2 * len(value) or not flat or flat != sorted(set(flat)):
            raise ValueError("hours must follow one another, as HH:MM-HH:MM")
        return value

    def spans(self) -> list[tuple[time, time]]:
        """The working hours as times."""
        return [(time.fromisoformat(a), time.fromisoformat(b)) for a, b in (span.split("-") for span in self.hours)]


class Files(Group):
    """Tài liệu hồ sơ / Documents of filings."""

    max_bytes: int = Field(
        20_971_520,
        ge=65_536,
        le=104_857_600,
        description=both("Kích thước tối đa của một tài liệu", "Largest document"),
    )
    base_url: AnyUrl | None = Field(
        None,
        description=both(
            "Địa chỉ đối tác tải tài liệu; mặc định như http.public_url",
            "Address counterparties fetch documents from; http.public_url by default",
        ),
    )
    trusted: Path | None = Field(
        None,
        description=both(
            "Thư mục chứng thư của các tổ chức chứng thực được tin cậy (.crt, .pem) và danh sách thu hồi (.crl, .ocsp)",
            "Folder with trusted authorities' certificates (.crt, .pem) and revocation data (.crl, .ocsp)",
        ),
    )
    url_days: Days = Field(
        30, description=both("Đường dẫn tài liệu sống bao lâu (ngày)", "Days a document's address lives")
    )
    unlinked_days: Days = Field(
        7,
        description=both(
            "Xóa tài liệu không hồ sơ nào dùng sau (ngày)", "Erase documents no filing names after (days)"
        ),
    )
