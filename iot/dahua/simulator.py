"""A Dahua access controller's memory, asked by `recordFinder`.

One concern: this family's side of the wire. It must never know how the hub reads it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Literal

from iot.simulator import ListGate, Stored

Order = Literal["oldest", "newest", "newest-ascending", "any"]


class DahuaStore(ListGate):
    """`dates` False: firmware that ignores the dates it is asked for. `order`: which records an answer without room for all
    holds, and how they stand in it: the oldest or the newest first, the newest with the oldest of them first, or whichever.
    `most`: no answer holds more, whatever it was asked for. `counts` False: it does not say how many there are."""

    def __init__(
        self,
        stored: list[Stored],
        *,
        dates: bool = True,
        order: Order = "oldest",
        most: int = 1024,
        counts: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(stored, **more)
        self._dates = dates
        self._order = order
        self._most = most
        self._counts = counts

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        """`records[n].Name=value` lines."""
        if path != "/cgi-bin/recordFinder.cgi" or query.get("action") != "find":
            return 400, "text/plain", b"Error\r\nBad Request!\r\n"
        start, end = int(query["StartTime"]), int(query["EndTime"])
        found = [s for s in self.stored if not self._dates or start <= s.at.timestamp() <= end]
        given = self._some(found, min(int(query["count"]), self._most))
        lines = [*([f"totalCount={len(found)}"] if self._counts else []), f"found={len(given)}"]
        for index, s in enumerate(given):
            facts = {
                "RecNo": s.number, "UserID": s.person, "CardName": "Trần Thị Mẫu", "CreateTime": int(s.at.timestamp()),
                "Status": int(s.passed), "Method": 15, "Type": "Entry", "URL": f"/mnt/{s.number}.jpg",
            }  # fmt: skip
            lines += [f"records[{index}].{name}={value}" for name, value in facts.items()]
        return 200, "text/plain", ("\r\n".join(lines) + "\r\n").encode()

    def _some(self, found: list[Stored], count: int) -> list[Stored]:
        if self._order == "oldest":
            return found[:count]
        if self._order == "newest":
            return found[::-1][:count]
        if self._order == "newest-ascending":
            return found[max(0, len(found) - count) :]
        return sorted(found, key=lambda s: zlib.crc32(str(s.number).encode()))[:count]
