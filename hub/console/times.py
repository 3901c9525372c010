"""Times, ages, sizes and numbers as people in Hải Phòng read them. Pure: the present is handed in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
Lang = Literal["vi", "en"]
ID_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""The day the ledger's ids count from."""

_UNITS = ((86_400.0, "ngày", "d"), (3600.0, "giờ", "h"), (60.0, "phút", "min"), (1.0, "giây", "s"))


def clock(at: datetime) -> str:
    """Local date and time to the second."""
    return at.astimezone(ZONE).strftime("%d/%m/%Y %H:%M:%S")


def soon(at: datetime, now: datetime) -> str:
    """A moment ahead, as short as it can be told: the local hour, with the day unless it is today's."""
    local = at.astimezone(ZONE)
    return local.strftime("%H:%M" if local.date() == now.astimezone(ZONE).date() else "%H:%M %d/%m")


def span(seconds: float, lang: Lang) -> str:
    """A length of time in its largest unit, with one more where it tells something: `2 giờ 5 phút`."""
    seconds = max(0.0, seconds)
    for index, (size, vi, en) in enumerate(_UNITS):
        if seconds >= size or size == 1.0:
            whole = int(seconds // size)
            unit = vi if lang == "vi" else en
            text = f"{whole} {unit}"
            rest = seconds - whole * size
            if index + 1 < len(_UNITS) and whole < 10 and size > 60:
                small, vi2, en2 = _UNITS[index + 1]
                if rest >= small:
                    text += f" {int(rest // small)} {vi2 if lang == 'vi' else en2}"
            return text
    raise AssertionError("unreachable")


def age(at: datetime, now: datetime, lang: Lang) -> str:
    """How long ago, or how far ahead."""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1.5:
        return "vừa xong" if lang == "vi" else "just now"
    text = span(abs(seconds), lang)
    if seconds < 0:
        return f"sau {text}" if lang == "vi" else f"in {text}"
    return f"{text} trước" if lang == "vi" else f"{text} ago"


def number(value: float | int, lang: Lang) -> str:
    """A count with the language's thousands separator."""
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return text.translate({44: ".", 46: ","}) if lang == "vi" else text


def size(count: int, lang: Lang) -> str:
    """A number of bytes in B, KB, MB or GB."""
    value, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            break
        value /= 1024
    return f"{number(round(value, 1) if value < 100 else round(value), lang)} {unit}"


def parse_local(text: str) -> datetime | None:
    """A form's `datetime-local` or date value as a moment in the local zone; None when it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=ZONE) if at.tzinfo is None else at


def now() -> datetime:
    """The present, for showing ages only: what is due is decided by the database's clock."""
    return datetime.now(UTC)
