"""An evidence pack says which delivery is of which record, and the chain proves it."""

from __future__ import annotations

from typing import Any

import pytest

from hub.evidence import verify
from hub.evidence.pack import pack
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import evidence, history
from tests.scenario.dispatch.packs import forged, opened


def test_a_delivery_exchanged_for_another_records_is_found(made: Any) -> None:
    """Another delivery that is genuine in every byte, put where this record's own stood."""

    async def work(s: Any, data: bytes, record: int) -> None:
        told = verify.json.loads(opened(data)["timeline.json"])
        assert {o["record"] for o in told["outcomes"]} == {d["record"] for d in told["deliveries"]} == {record}
        other = await evidence.find(s.core, "000.00.12.H24-261122-0002", "filing")
        assert other is not None
        own, found = await evidence.gather(s.core, record, EVERYWHERE), await evidence.gather(s.core, other, EVERYWHERE)
        assert (
            own is not None
            and found is not None
            and [d["id"] for d in own.deliveries] != [d["id"] for d in found.deliveries]
        )
        for name in ("deliveries", "attempts", "calls", "replies", "entries", "chain"):
            setattr(own, name, getattr(found, name))
        # Said to be of a copy of the record, it is not proven; not said so, it is found, and so is any other name written over it.
        exchanged = opened(pack(own))
        assert any("is a copy" in what for what in verify.check(pack(own)).unproven)
        plain = exchanged | {
            "manifest.json": verify.written(verify.json.loads(exchanged["manifest.json"]) | {"copies": []})
        }
        with pytest.raises(verify.Altered, match="of another record"):
            verify.check(forged(plain, {}))
        timeline = verify.json.loads(exchanged["timeline.json"])
        for one in (*timeline["outcomes"], *timeline["deliveries"]):
            one["record"] = record
        with pytest.raises(verify.Altered, match="another outcome"):
            verify.check(forged(plain, {"timeline.json": verify.written(timeline)}))
        for one in timeline["outcomes"]:
            del one["record"], one["mapping"]
        with pytest.raises(verify.Altered, match="another outcome"):
            verify.check(forged(plain, {"timeline.json": verify.written(timeline)}))

    made(work)


def test_an_entry_of_the_older_form_is_proven_and_says_nothing_of_the_record(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(delivery: int, record: int, state: int, request: bytes, reply: bytes, mapping: bytes) -> bytes:
        return verify.outcome_leaf(delivery, None, state, request, reply)

    monkeypatch.setattr(history, "outcome_leaf", older)

    async def work(s: Any, data: bytes, record: int) -> None:
        told = verify.json.loads(opened(data)["timeline.json"])
        assert told["outcomes"] and all("record" not in o for o in told["outcomes"])
        found = verify.check(data)
        assert found.state == "proven" and any("0/1 lượt gửi" in line for line in found.lines), found.lines
        # Nor can a record be written into it.
        for one in told["outcomes"]:
            one["record"] = record
        with pytest.raises(verify.Altered, match="another outcome"):
            verify.check(forged(opened(data), {"timeline.json": verify.written(told)}))

    made(work)
