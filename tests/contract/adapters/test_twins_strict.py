"""What the simulated systems refuse as the real ones would: an older version, a move the state does not allow, a filing
nobody sent, an element the contract does not have. Asked directly, without HTTP; what was done is read from their books."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters import manifest as manifests
from adapters.public_service.simulator import PROFILE
from adapters.public_service.simulator import Simulator as Portal
from adapters.samples import samples
from adapters.twin import Ask, Say, Twin
from hub.kernel.ports import Call


def _twin(system: str) -> Twin:
    made: Twin = importlib.import_module(f"adapters.{system}.simulator").Simulator()
    made.url = "http://twin"
    return made


def _calls(system: str, json: bool = False) -> list[Call]:
    """Calls rendered from the adapter's samples; with `json`, of whichever sample is written so."""
    found = [
        call
        for sample in samples(manifests.load(system))
        if (sample.folder / "outgoing.json").is_file()
        for call in sample.adapter().render(sample.outgoing())
        if not json or call.content_type.startswith("application/json")
    ]
    assert found
    return found


def _ask(twin: Twin, call: Call, body: dict[str, Any]) -> Say:
    url = twin.url + call.path
    headers, sent = twin.authorised(url, call.headers | {"Content-Type": call.content_type}, orjson.dumps(body))
    return twin.answer(Ask(call.method, call.path, {}, headers, sent, url))


def _of(operation: str, calls: list[Call]) -> tuple[Call, dict[str, Any]]:
    call = next(c for c in calls if c.operation == operation)
    return call, orjson.loads(call.body)


def test_the_ministry_keeps_the_newer_version() -> None:
    twin = _twin("ministry")
    call = next(c for c in _calls("ministry") if b'"banghi"' in c.body)
    body = orjson.loads(call.body)
    body["banghi"] = body["banghi"][:1]
    rows = []
    for version in (3, 2, 3):
        body["banghi"][0]["phienban"] = version
        (row,) = orjson.loads(_ask(twin, call, body).body)["ketqua"]
        rows.append((row["ma"], row["phienban"]))
    assert rows == [("00", 3), ("01", 3), ("01", 3)]
    told = twin.summary()
    assert told["effects"] == 1 and told["repeats"] == 2
    assert [(v["held"], v["version"]) for v in told["order_violations"]] == [(3, 2)]


def _filing(twin: Twin, **change: Any) -> tuple[str, str]:
    """Code of the whole answer and of its row, where it has one."""
    call, body = _of("create", _calls("public_service"))
    body["isUpdating"] = change.pop("updating", "False")
    body["data"][0] |= change
    said = orjson.loads(_ask(twin, call, body).body)
    rows = said.get("result") or [{}]
    return str(said["error_code"]), str(rows[0].get("ERROR_CODE", ""))


def test_the_portal_refuses_a_move_its_states_do_not_allow() -> None:
    twin = _twin("public_service")
    assert _filing(twin, TrangThaiHoSo="1")[0] == "0"
    wrong = next(s for s in PROFILE["transitions"] if s != "1" and s not in PROFILE["transitions"]["1"])
    right = next(iter(PROFILE["transitions"]["1"]))
    assert _filing(twin, updating="True", TrangThaiHoSo=wrong)[0] == "09"
    assert twin.summary()["refusals"] == {"state_refused": 1} and twin.summary()["effects"] == 1
    assert _filing(twin, updating="True", TrangThaiHoSo=right)[0] == "0"
    assert twin.summary()["effects"] == 2


@pytest.mark.parametrize("takes_twice", [False, True])
def test_a_second_creation_is_refused_or_stands_in_the_books_of_a_portal_told_to_take_it(
    tmp_path: Path, takes_twice: bool
) -> None:
    twin = Portal(books=tmp_path / "books.jsonl", takes_twice=takes_twice)
    twin.url = "http://twin"
    code = "0" if takes_twice else "05"
    assert _filing(twin, TrangThaiHoSo="2")[0] == "0"
    assert _filing(twin, TrangThaiHoSo="2")[0] == code
    assert _filing(twin, updating="True", TrangThaiHoSo="4")[0] == "0"
    twin.books.close()
    again = Portal(books=tmp_path / "books.jsonl", takes_twice=takes_twice)
    again.url = "http://twin"
    assert _filing(again, TrangThaiHoSo="2")[0] == code
    assert _filing(again, updating="True", TrangThaiHoSo="6")[0] == "0"
    last = again.books.effects[-1]
    assert (last.event, last.version) == ("UPDATE", 3), "a second creation moves no version"
    doubles = [(d["event"], d["version"], d["times"]) for d in again.summary()["doubles"]]
    assert doubles == ([("NEW", 1, 3)] if takes_twice else [])
    again.books.close()


def test_the_portal_knows_no_filing_nobody_sent() -> None:
    twin = _twin("public_service")
    assert _filing(twin, updating="True")[0] == "04"
    call, body = _of("progress", _calls("public_service"))
    (row,) = orjson.loads(_ask(twin, call, body | {"data": body["data"][:1]}).body)["result"]
    assert row["ERROR_CODE"] == "04"
    assert twin.summary()["refusals"] == {"filing_not_found": 2} and twin.summary()["effects"] == 0


@pytest.mark.parametrize(
    ("system", "marked", "inside"),
    [
        ("ministry", b'"banghi"', False),
        ("ministry", b'"banghi"', True),
        ("public_service", b'"DongBoHoSoMC"', False),
        ("public_service", b'"DongBoHoSoMC"', True),
        ("population", b'"maYeuCau"', False),
    ],
)
def test_an_element_the_contract_does_not_have_is_refused(system: str, marked: bytes, inside: bool) -> None:
    twin = _twin(system)
    call = next(c for c in _calls(system, json=True) if marked in c.body)
    body = orjson.loads(call.body)
    rows = body.get("banghi") or body.get("data")
    del (rows or [])[1:]
    (rows[0] if inside else body)["phanTuLa"] = "x"
    said = _ask(twin, call, body)
    told = twin.summary()
    assert told["effects"] == 0 and sum(told["refusals"].values()) == 1, (said.body, told)
