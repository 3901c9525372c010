"""HANET's list: people without an alias are as many as their numbers say, however close together they pass."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from hub.kernel.ports import Reply
from iot.hanet.listing import LIST
from iot.listing import Span

_AT = datetime(2026, 11, 20, tzinfo=UTC)


def test_two_people_without_an_alias_in_one_moment_are_two() -> None:
    camera: dict[str, Any] = {"id": "C1", "school": "31000101", "direction": "in"}
    told = {
        "returnCode": 1,
        "data": [
            {"deviceID": "C1", "type": "0", "aliasID": alias, "personID": number, "checkinTime": 1795132802000}
            for alias, number in (("", "71"), ("", "72"), (None, "73"), ("HS1", "74"), ("", "71"))
        ],
    }
    reply = Reply(status=200, body=orjson.dumps(told), headers=(), elapsed_ms=1)
    found = LIST.read(camera, Span(_AT, _AT), None, reply, told, _AT, {"C1": camera})
    drafts = [item.decoded.drafts[0] for _, item in found.items]
    assert [d.body["person_code"] for d in drafts] == ["hanet:71", "hanet:72", "hanet:73", "HS1", "hanet:71"]
    assert len({d.key for d in drafts}) == 4
