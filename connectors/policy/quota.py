"""A counterparty's limits, described: how many calls per second and per day, counted in its own windows.

One concern: turning limits into slices of time with a number each. It must never count: granting is the store's, in
the transaction that claims.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from connectors.declare import Declared, setting
from hub.kernel.ports import Text

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_SLICES = 10


class QuotaSettings(Declared):
    """Limits the counterparty sets. Empty: none."""

    ABOUT = Text("Hạn mức", "Quota")
    per_second: int | None = setting("Lời gọi mỗi giây", "Calls per second", default=None, example=50, ge=1)
    per_day: int | None = setting("Lời gọi mỗi ngày", "Calls per day", default=None, example=100_000, ge=1)
    window: Literal["fixed", "sliding"] = setting(
        "Cách đối tác đếm giây",
        "How the counterparty counts a second",
        default="fixed",
        help=Text(
            "fixed: theo giây đồng hồ; sliding: mọi khoảng dài một giây",
            "fixed: seconds of the clock; sliding: any stretch of one second",
        ),
    )
    day_starts: str = setting(
        "Giờ bắt đầu ngày",
        "Start of the day",
        default="00:00",
        help=Text("Giờ Việt Nam", "Asia/Ho_Chi_Minh"),
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
    )


class Slice(Struct, frozen=True, kw_only=True):
    """At most `limit` calls may begin in `[starts, ends)`. `key` names the slice for the counter's row."""

    key: str
    starts: datetime
    ends: datetime
    limit: int


def slices(settings: QuotaSettings, now: datetime) -> list[Slice]:
    """The slices `now` (timezone-aware) falls into; a call needs room in every one.

    A fixed second is one slice. For a sliding second time is cut into slices so short that no stretch of one second,
    wherever it begins, can hold more than the limit: a stretch touches one slice more than it is long. Where the limit
    is one, every other second holds a call and the one between none.
    """
    result: list[Slice] = []
    if settings.per_second is not None:
        result.append(_second(settings.per_second, settings.window, now))
    if settings.per_day is not None:
        hour, minute = (int(p) for p in settings.day_starts.split(":"))
        local = now.astimezone(_ZONE)
        starts = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if starts > local:
            starts -= timedelta(days=1)
        result.append(
            Slice(key=f"d{starts:%Y%m%d%H%M}", starts=starts, ends=starts + timedelta(days=1), limit=settings.per_day)
        )
    return result


def _second(limit: int, window: str, now: datetime) -> Slice:
    if window == "fixed":
        length_us, allowed = 1_000_000, limit
    elif limit == 1:
        return _alternate(now)
    else:
        # n slices make a second and n + 1 are touched, so each may hold limit // (n + 1); the n that wastes least.
        count = max(range(1, _SLICES + 1), key=lambda n: n * (limit // (n + 1)))
        length_us, allowed = -(-1_000_000 // count), limit // (count + 1)
    number = _microseconds(now) // length_us
    starts = _from_microseconds(number * length_us)
    return Slice(
        key=f"s{length_us}:{number}", starts=starts, ends=starts + timedelta(microseconds=length_us), limit=allowed
    )


def _alternate(now: datetime) -> Slice:
    """One call in any second: every other second holds one, so that two are never closer than a second."""
    number = _microseconds(now) // 1_000_000
    starts = _from_microseconds(number * 1_000_000)
    return Slice(key=f"a{number}", starts=starts, ends=starts + timedelta(seconds=1), limit=1 - number % 2)


_EPOCH = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _from_microseconds(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)
