"""Every field map does what its cases say, and is refused when it asks for what is not there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from mappings.catalogue import base
from mappings.fieldmap import FieldMap, FieldMapError, Unmapped, load_field_maps
from mappings.tables import HERE

MAPS = load_field_maps()
CASES = [
    pytest.param(path.stem, case, id=f"{path.stem}: {case['name']}")
    for path in sorted((HERE / "fields" / "tests").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]
META = {"event": "NEW", "version": 1, "updated_at": datetime(2026, 11, 23, 1, tzinfo=UTC), "key": "k"}


@pytest.mark.parametrize(("name", "case"), CASES)
def test_case(name: str, case: dict[str, Any]) -> None:
    record = case["record"]
    if wanted := case.get("unmapped"):
        with pytest.raises(Unmapped) as caught:
            MAPS[name].apply(record, META, base())
        error = caught.value
        got = {
            "system": error.system,
            "code": error.code,
            "target_system": error.target_system,
            "candidates": list(error.candidates),
        }
        assert got == wanted
        assert error.field_title.vi and error.field_title.en
        return
    mapped = MAPS[name].apply(record, META, base())
    if "expect_part" in case:
        assert {k: mapped[k] for k in case["expect_part"]} == case["expect_part"]
    else:
        assert mapped == case["expect"]


def test_every_map_has_cases_with_a_whole_record() -> None:
    for name in MAPS:
        assert any(p.values[0] == name and "expect" in p.values[1] for p in CASES), name


def test_mapping_changes_nothing_in_the_record() -> None:
    for param in CASES:
        name, case = param.values
        before = repr(case["record"])
        try:
            MAPS[name].apply(case["record"], META, base())
        except Unmapped:
            continue
        finally:
            assert repr(case["record"]) == before


@pytest.mark.parametrize("name", sorted(MAPS))
def test_every_code_system_a_map_needs_can_be_reached(name: str) -> None:
    one = MAPS[name]
    assert one.code_systems() <= set(base().systems)
    for target, source, kind in one.lineage():
        assert target and kind and (source or kind in {"function", "const"})


def test_approving_a_code_lets_the_same_stored_record_through() -> None:
    record = {
        "learner_code": "X001",
        "residence": {"ward": {"system": "vn-ward-2024", "code": "10798", "canonical": None}},
    }
    with pytest.raises(Unmapped) as caught:
        MAPS["ministry.learner"].apply(record, META, base())
    gap = caught.value
    approved = base().with_overlay([(gap.system, gap.code, gap.target_system, gap.candidates[0], None, "operator")])
    assert MAPS["ministry.learner"].apply(record, META, approved)["noiohientai"]["maxa"] == "10804"
    assert record["residence"]["ward"]["canonical"] is None  # type: ignore[index]


HEAD = "map: t\ntype: learner\ntitle: {vi: t, en: t}\norigin: t\nassumed: false\nabsent: 'null'\nfields:\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("  a: {from: nothing}", "no member nothing"),
        ("  a: {from: full_name, code: vn-sex}", "holds no code"),
        ("  a: {from: full_name, format: gone}", "nothing is called gone"),
        ("  a: {function: gone}", "nothing is called gone"),
        ("  a: {from: full_name, fields: {b: {from: c}}}", "plain value"),
        ("  a: {frm: full_name}", "frm"),
    ],
)
def test_a_wrong_map_is_refused_when_read(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(HEAD + line + "\n")
    with pytest.raises(FieldMapError, match=says):
        FieldMap.read(path)
