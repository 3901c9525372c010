"""The states of a filing and the working time it has left. Pure: clock and calendar are handed in.

One concern: which state may follow which, and what a date promised means in working days of Vietnam. The moves are data
(`mappings/filing-states.yaml`, marked as assumed). It must never read a clock or a database, nor know a counterparty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
import yaml
from msgspec import Struct

from hub.kernel.ports import Text
from mappings.catalogue import base
from mappings.tables import HERE

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
Clock = Literal["runs", "stopped", "ended"]
Move = Literal["begins", "stays", "moves", "late"]
_FAR = timedelta(days=3660)
"""Beyond ten years nothing is counted day by day: such a date is a slip of the pen."""


_ANY = date(2026, 1, 5)


class State(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the ten states."""

    next: list[str]
    clock: Clock


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: str
    title: Text
    origin: str
    assumed: bool
    why: str
    withdrawn: str
    states: dict[str, State]


@cache
def table() -> _File:
    """The table of moves. Raises msgspec.ValidationError or ValueError for one that is wrong."""
    found = msgspec.convert(yaml.safe_load((HERE / "filing-states.yaml").read_text("utf-8")), _File)
    for code, state in found.states.items():
        if unknown := set(state.next) - set(found.states):
            raise ValueError(f"filing-states.yaml: {code} leads to unknown states {sorted(unknown)}")
    return found


@cache
def titles() -> Mapping[str, Text]:
    """What each state is called."""
    return {row.code: Text(row.vi, row.en) for row in base().systems["filing-status"].rows}


def name(state: str | int) -> Text:
    """A state's name with its number."""
    said = titles().get(str(state))
    return Text(f"{state} ({said.vi})", f"{state} ({said.en})") if said else Text(str(state), str(state))


class NotAllowed(Struct, frozen=True):
    """A move refused: `code` is `state_outdated` when the news is older than the state held, else `state_not_allowed`."""

    code: str
    text: Text


def move(current: str | None, since: datetime | None, to: str, at: datetime, *, step: bool) -> Move | NotAllowed:
    """What telling state `to`, true since `at`, does to a filing in `current` (None: not seen before).

    `step`: it is a step of the handling. Steps may come late: an older one than the state's own time is history and
    moves nothing. A filing told anew must fit the state held, whatever its time.
    """
    if current is None:
        return "begins"
    if to == current:
        return "stays"
    outdated = since is not None and at < since
    if step and outdated:
        return "late"
    if to in table().states[current].next:
        return "moves"
    now, wanted = name(current), name(to)
    if outdated and since is not None:
        when = since.astimezone(ZONE).strftime("%d/%m/%Y %H:%M")
        return NotAllowed(
            "state_outdated",
            Text(
                f"Hồ sơ đã ở trạng thái {now.vi} từ {when}; thông tin gửi đến cũ hơn và ghi {wanted.vi}.",
                f"The filing has been {now.en} since {when}; what was sent is older and says {wanted.en}.",
            ),
        )
    return NotAllowed(
        "state_not_allowed",
        Text(
            f"Hồ sơ đang ở trạng thái {now.vi}, không chuyển được sang {wanted.vi}.",
            f"The filing is {now.en} and cannot become {wanted.en}.",
        ),
    )


def diagram() -> str:
    """The table of moves and its diagram, for the documents."""
    found, said = table(), titles()
    lines = ["| state | Vietnamese | English | clock | may be followed by |", "|---|---|---|---|---|"]
    for code, state in found.states.items():
        after = ", ".join(state.next) or "–"
        lines.append(f"| {code} | {said[code].vi} | {said[code].en} | {state.clock} | {after} |")
    lines += ["", "```mermaid", "stateDiagram-v2"]
    lines += [f"    s{code}: {code} {said[code].en}" for code in found.states]
    lines += [f"    s{code} --> s{after}" for code, state in found.states.items() for after in state.next]
    lines += [f"    s{code} --> [*]" for code, state in found.states.items() if not state.next]
    return "\n".join([*lines, "```"])


# -------------------------------------------------------------------------------------------- working time


class WorkCalendar:
    """Working days and hours in Vietnam: public holidays with Tết and exchanged days from the library `holidays`, the
    hub's own days off and working days on top."""

    def __init__(
        self,
        hours: Sequence[tuple[time, time]] = ((time(7, 30), time(11, 30)), (time(13, 30), time(17, 0))),
        days_off: Sequence[date] = (),
        working_days: Sequence[date] = (),
    ) -> None:
        """`hours`: spans of a working day, in order. Raises ValueError when they are not."""
        import holidays  # with the first calendar: not every process needs one

        flat = [moment for span in hours for moment in span]
        if not flat or flat != sorted(set(flat)):
            raise ValueError("working hours must follow one another")
        self.hours = tuple(hours)
        self._off, self._on = frozenset(days_off), frozenset(working_days)
        self._public = holidays.country_holidays("VN")
        self.day_s = sum((_on(_ANY, end) - _on(_ANY, start)).total_seconds() for start, end in self.hours)

    def works(self, day: date) -> bool:
        """Whether it is a working day."""
        if day in self._on:
            return True
        return day not in self._off and bool(self._public.is_working_day(day))

    def close_of(self, day: date) -> datetime:
        """When a day's last working span ends."""
        return _on(day, self.hours[-1][1])

    def next_working(self, day: date) -> date:
        """The day itself when it is a working day, else the next one."""
        for _ in range(60):
            if self.works(day):
                return day
            day += timedelta(days=1)
        return day

    def after(self, start: datetime, days: int) -> datetime:
        """The end of the `days`-th working day after the day of `start` (Civil Code 2015, art. 147: that day is not counted)."""
        day = start.astimezone(ZONE).date()
        for _ in range(max(0, days)):
            day = self.next_working(day + timedelta(days=1))
        return self.close_of(day)

    def limit(self, due: datetime) -> datetime:
        """The last moment of a date promised, for who works office hours.

        A date without a time (midnight) means its whole day; one outside of working days moves to the end of the next
        (art. 148); later than closing time means closing time.
        """
        local = due.astimezone(ZONE)
        day = self.next_working(local.date())
        close = self.close_of(day)
        if day != local.date() or local.time() == time(0):
            return close
        return min(local, close)

    def working_s(self, start: datetime, end: datetime) -> float:
        """Working seconds from `start` to `end`; negative when `end` is earlier. Beyond ten years it counts ten."""
        if end < start:
            return -self.working_s(end, start)
        start, end = start.astimezone(ZONE), min(end, start + _FAR).astimezone(ZONE)
        day, total = start.date(), 0.0
        while day <= end.date():
            if self.works(day):
                for opens, closes in self.hours:
                    span = (min(_on(day, closes), end) - max(_on(day, opens), start)).total_seconds()
                    total += max(0.0, span)
            day += timedelta(days=1)
        return total

    def beyond(self, start: datetime, seconds: float) -> datetime:
        """The moment after which more than `seconds` working seconds have passed since `start`; ten years on at most."""
        start = start.astimezone(ZONE)
        day, left = start.date(), seconds
        while day <= (start + _FAR).date():
            if self.works(day):
                for opens, closes in self.hours:
                    begins = max(_on(day, opens), start)
                    span = (_on(day, closes) - begins).total_seconds()
                    if span > left:
                        return begins + timedelta(seconds=left)
                    left -= max(0.0, span)
            day += timedelta(days=1)
        return start + _FAR


def _on(day: date, at: time) -> datetime:
    return datetime.combine(day, at, ZONE)


Outlook = Literal["none", "ended", "stopped", "overdue", "today", "soon", "fine"]
"""How a filing stands to its date: none promised; over; the citizen's turn; missed; to be done before today's closing
time; within the warning time; fine."""


def outlook(
    state: str, since: datetime, due: datetime | None, now: datetime, calendar: WorkCalendar, warn_s: float
) -> tuple[Outlook, float | None]:
    """How a filing stands, and the working seconds it has left (None without a date, or when nothing is owed).

    While the clock is stopped the time left is that at the moment it stopped.
    """
    clock = table().states[state].clock if state in table().states else "runs"
    if clock == "ended":
        return "ended", None
    if due is None:
        return ("stopped" if clock == "stopped" else "none"), None
    limit = calendar.limit(due)
    if clock == "stopped":
        return "stopped", calendar.working_s(since, limit)
    left = calendar.working_s(now, limit)
    if now >= limit:
        return "overdue", left
    if limit.date() == now.astimezone(ZONE).date():
        return "today", left
    return ("soon" if left <= warn_s else "fine"), left
