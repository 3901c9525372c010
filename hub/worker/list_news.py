"""What an answered question tells about gates: that they are there, what is new of them, how busy they were and when.

One concern: those facts, for `parties.touch_devices`, once per page. Pure. It must never count a passage the ledger had, take
a vendor's cloud that answers for a camera that is there, or let a time nobody can believe make noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.kernel.intake import Accepted, Arrival
from hub.kernel.ledger.silence import LEARN_DAYS
from hub.kernel.ports import Draft
from hub.worker.list_pages import Entries, Listing
from iot.clock import CLOCK

_SLOT_S = 1800
"""Habits are learnt by the half hour; of every zone of whole half hours the same."""
_AHEAD = timedelta(minutes=2)
_TRACED_MOST = 300


def news_of(
    owner: str,
    items: Sequence[Listing],
    arrivals: Sequence[Arrival],
    answers: Sequence[Accepted],
    devices: Entries,
    received_at: datetime,
    *,
    listed: int,
    itself: bool,
    offset_s: float | None,
) -> dict[str, dict[str, Any]]:
    """Facts by device. `items`, `arrivals` and `answers` side by side: what of a page went to the ledger; `listed`: how many
    passages were on it. `itself`: the device answered, and no cloud for it. `offset_s`: of its clock, where that is news.
    Of every device `happened` is its newest new passage with a time that can be believed, None without one; `seen` is the
    same, and left out for the device that answered itself."""
    facts: dict[str, dict[str, Any]] = {owner: {"state": "online"}} if itself else {}
    if itself and offset_s is not None:
        facts[owner]["offset_s"] = offset_s
    fresh = 0
    for (device, item), arrival, answer in zip(items, arrivals, answers, strict=True):
        if answer.duplicate:
            continue
        fresh += 1
        news = facts.setdefault(device, {})
        if arrival.invalid is None:
            _count(news, item.decoded.drafts, received_at)
        if arrival.removed:
            news["images"] = len(arrival.removed)
        if devices[device].get("trace"):
            _trace(news, devices[device], received_at, arrival, item.decoded.drafts)
    if devices[owner].get("trace"):
        summary = {"outcome": "advisory", "kind": "list", "listed": listed, "stored": fresh, "removed": 0}
        lines = facts.setdefault(owner, {}).setdefault("trace", [])
        lines.append((devices[owner]["trace"], received_at, summary))
    for device, news in facts.items():
        # What a list tells was never now: a time that is not known stays so.
        news.setdefault("happened", None)
        if not (itself and device == owner):
            news["seen"] = news["happened"]
    return facts


def _count(news: dict[str, Any], drafts: Sequence[Draft], received_at: datetime) -> None:
    news["events"] = news.get("events", 0) + len(drafts)
    news["quarantined"] = news.get("quarantined", 0) + sum(1 for d in drafts if d.body["quarantine"])
    noise: Counter[datetime] = news.setdefault("noise", Counter())
    oldest = received_at - timedelta(days=2 * LEARN_DAYS)
    for draft in drafts:
        at = draft.updated_at
        if draft.body["quarantine"] == CLOCK or at > received_at + _AHEAD:
            continue
        news["happened"] = max(at, news.get("happened", at))
        if at >= oldest:
            noise[datetime.fromtimestamp(at.timestamp() // _SLOT_S * _SLOT_S, UTC)] += 1


def _trace(news: dict[str, Any], entry: Any, received_at: datetime, arrival: Arrival, drafts: Sequence[Draft]) -> None:
    lines = news.setdefault("trace", [])
    if len(lines) >= _TRACED_MOST:
        return
    told = {
        "outcome": "invalid" if arrival.invalid else "stored",
        "code": arrival.invalid.code if arrival.invalid else None,
        "kind": "list",
        "historical": arrival.historical,
        "removed": len(arrival.removed),
        "quarantine": next((d.body["quarantine"] for d in drafts), None),
    }
    lines.append((entry["trace"], received_at, told))
