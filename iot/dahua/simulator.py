"""A Dahua access controller's memory, asked by `recordFinder`.

One concern: this family's side of the wire. It must never know how the hub reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iot.simulator import ListGate, Stored


class DahuaStore(ListGate):
    """`dates` False: firmware that ignores the dates it is asked for, and gives its oldest records."""

    def __init__(self, stored: list[Stored], *, dates: bool = True, **more: Any) -> None:
        super().__init__(stored, **more)
        self._dates = dates

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        """`records[n].Name=value` lines."""
        if path != "/cgi-bin/recordFinder.cgi" or query.get("action") != "find":
            return 400, "text/plain", b"Error\r\nBad Request!\r\n"
        start, end = int(query["StartTime"]), int(query["EndTime"])
        found = [s for s in self.stored if not self._dates or start <= s.at.timestamp() <= end]
        lines = [f"totalCount={len(found)}", f"found={min(len(found), int(query['count']))}"]
        for index, s in enumerate(found[: int(query["count"])]):
            facts = {
                "RecNo": s.number, "UserID": s.person, "CardName": "Trần Thị Mẫu", "CreateTime": int(s.at.timestamp()),
                "Status": int(s.passed), "Method": 15, "Type": "Entry", "URL": f"/mnt/{s.number}.jpg",
            }  # fmt: skip
            lines += [f"records[{index}].{name}={value}" for name, value in facts.items()]
        return 200, "text/plain", ("\r\n".join(lines) + "\r\n").encode()
