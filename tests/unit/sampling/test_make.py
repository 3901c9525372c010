"""Samples made of exchanges put together by hand: batches, conversations, and what must be refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest
import yaml

from adapters import manifest as manifests
from adapters.samples import Case, Sample, plain
from hub import sampling
from hub.kernel.ledger.evidence import Exchanged
from hub.kernel.ports import Outgoing
from hub.stand_ins import StandIns
from hub.traces import left_over
from mappings.engine import TYPES, Catalogue, load_field_maps, today_of

AT = datetime(2026, 9, 7, 0, 15, 30, tzinfo=UTC)
CATALOGUE = Catalogue.load()
PEOPLE = [("HS0000000001", "Lương Quỳnh Thử", "031214000077"), ("TAM-0000042", "Đặng Văn Lạ", "031214000078")]
ORIGINALS = [v for person in PEOPLE for v in person] + [
    "31HP0123001",
    "canbo.that",
    "DVC-THAT",
    "REQ0000177",
    "2014-03-05",
]
CONNECTORS: dict[str, dict[str, Any]] = {
    "ministry": {"transport": {"kind": "rest", "base_url": "https://a.example"}, "auth": {"scheme": "bearer"},
                 "adapter": {"source": "DON-VI-THAT"}},
    "population": {"transport": {"kind": "soap", "base_url": "https://a.example"},
                   "auth": {"scheme": "population_signed", "user": "tk.that", "xroad_client": "VN/GOV/H24/a"},
                   "adapter": {"MaDVC": "DVC-THAT", "MaCanBo": "canbo.that", "asynchronous": True}},
}  # fmt: skip


def _record(code: str, name: str, number: str) -> dict[str, Any]:
    body = {
        "learner_code": code, "full_name": name, "birth_date": "2014-03-05", "personal_number": number, "school_code": "31HP0123001",
        "class_code": "6A1",
    }  # fmt: skip
    for field, system, value in (
        ("sex", "vn-sex", "male"), ("ethnicity", "vn-ethnicity", "02"), ("grade", "grade", "6"),
        ("school_level", "school-level", "03"), ("status", "learner-status", "studying"),
    ):  # fmt: skip
        body[field] = {"system": system, "code": value}  # type: ignore[assignment]
    CATALOGUE.standardise_record(TYPES["learner"], body, today_of(AT))
    return body


def _exchange(
    system: str, reply: bytes, state: dict[str, str] | None = None, people: Any = PEOPLE
) -> tuple[Any, Exchanged]:
    map_name = f"{system}.learner"
    house: Any = SimpleNamespace(
        core=SimpleNamespace(
            catalogue=CATALOGUE,
            router=SimpleNamespace(targets={("f", 3): SimpleNamespace(map=map_name, allow=frozenset())}),
        ),
        keys=None,
    )
    manifest = manifests.load(system)
    settings = {"name": "c", "system": system, **CONNECTORS[system]}
    adapter = manifest.build(settings["adapter"])
    outgoing = []
    for n, person in enumerate(people):
        body = _record(*person)
        meta = {"event": "NEW", "version": 1, "updated_at": AT, "key": person[0], "file_address": None}
        outgoing.append(
            Outgoing(
                delivery=900000000001 + n, record=800000000001 + n, type="learner", key=person[0], event="NEW", version=1, updated_at=AT,
                school="31HP0123001", body=body, mapped=load_field_maps()[map_name].apply(body, meta, CATALOGUE),
            )
        )  # fmt: skip
    call = adapter.resume(outgoing[0], state) if state else adapter.render(outgoing)[0]  # type: ignore[attr-defined]
    told = plain(msgspec.structs.replace(call, body=b""))
    told["meta"] = {k: v for k, v in told["meta"].items() if k not in ("asked", "lookup_of", "cache_of")}
    row = told | {
        "id": 5, "connector": 3, "connector_name": "c", "system": system, "settings": settings, "secrets": None, "body": call.body,
        "mapping": "m@1",
    }  # fmt: skip
    deliveries = [
        {"delivery": o.delivery, "record": o.record, "flow": "f", "attempt": 1}
        | {k: getattr(o, k) for k in ("type", "key", "event", "version", "updated_at", "school", "body")}
        for o in outgoing
    ]
    headers = {"content-type": "x/y", "date": "Sat, 05 Sep 2026 00:00:03 GMT", "set-cookie": "s=1"}
    return house, Exchanged(
        call=row, replies=[{"status": 200, "body": reply, "headers": headers}], deliveries=deliveries
    )


def _run(made: sampling.Made, folder: Path) -> Any:
    sampling.write(made, folder)
    case = msgspec.convert(yaml.safe_load((folder / "case.yaml").read_text("utf-8")), Case)
    sample = Sample(manifest=manifests.load(made.system), folder=folder, case=case)
    golden = orjson.loads(sample.golden.read_bytes())
    assert sample.run() == golden
    for path in folder.iterdir():
        assert left_over(path.read_bytes(), ORIGINALS) == [], path.name
        assert b"set-cookie" not in path.read_bytes()
    return golden


def test_a_batch_with_a_refused_code_and_a_given_one(tmp_path: Path) -> None:
    reply = {
        "ma": "00", "thongbao": "Đã xử lý", "ketqua": [
            {"idbanghi": "TAM-0000042", "ma": "00", "thongbao": "", "phienban": 1, "mahocsinh": "3112345999"},
            {"idbanghi": "HS0000000001", "ma": "12", "thongbao": "dantoc: 02"},
        ],
    }  # fmt: skip
    made = sampling.make(*_exchange("ministry", orjson.dumps(reply)), key=b"k" * 32)
    golden = _run(made, tmp_path / "recorded-batch")
    assert made.outcome == "code_refused"
    assert golden["outcomes"]["101"]["type"] == "NeedsPerson" and golden["outcomes"]["102"]["type"] == "Receipt"
    assert left_over(made.files["reply.json"], ["3112345999", "DON-VI-THAT"]) == []


def test_a_step_of_a_conversation(tmp_path: Path) -> None:
    folder = manifests.load("population").folder / "samples"
    reply = (folder / "done/reply.xml").read_bytes()
    state = {"stage": "status", "request": "REQ0000177", "polls": "3"}
    made = sampling.make(*_exchange("population", reply, state, PEOPLE[:1]), key=b"k" * 32)
    _run(made, tmp_path / "recorded-step")
    case = yaml.safe_load(made.files["case.yaml"])
    assert case["state"]["stage"] == "status" and case["state"]["request"] != "REQ0000177"
    assert case["settings"] == {"asynchronous": True}
    assert made.outcome == "in_progress"


def test_what_cannot_become_a_sample_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = b'{"ma": "00", "ketqua": []}'
    house, found = _exchange("ministry", reply)
    found.replies[-1]["body"] = None
    with pytest.raises(sampling.Refused, match="erased"):
        sampling.make(house, found)
    house, found = _exchange("ministry", reply)
    found.deliveries[1]["body"] = None
    with pytest.raises(sampling.Refused, match="erased"):
        sampling.make(house, found)
    house, found = _exchange("ministry", reply)
    with pytest.raises(sampling.Refused, match="never answered"):
        sampling.make(house, Exchanged(call=found.call, replies=[], deliveries=found.deliveries))
    house, found = _exchange("ministry", reply)
    found.call["body"] = found.call["body"].replace(b"6A1", b"6A2")
    with pytest.raises(sampling.Refused, match="body/banghi/0/malop"):
        sampling.make(house, found)
    house, found = _exchange("ministry", reply)
    found.call["operation"] = "inquire"
    with pytest.raises(sampling.Refused, match="later step"):
        sampling.make(house, found)
    house, found = _exchange("ministry", reply)
    house.core.router.targets.clear()
    with pytest.raises(sampling.Refused, match="no longer sends"):
        sampling.make(house, found)
    # A stand-in that is none: the scan is the last to know.
    house, found = _exchange("ministry", reply)
    monkeypatch.setattr(StandIns, "_name", lambda self, value, sex: value)
    monkeypatch.setattr(StandIns, "originals", property(lambda self: [PEOPLE[0][1]]))
    with pytest.raises(sampling.Refused, match="still holds"):
        sampling.make(house, found)
