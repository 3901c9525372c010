"""A version of a mapping holds everything that can change what a record is mapped to, and changes with each of it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from mappings.catalogue import Catalogue, base
from mappings.fieldmap import FieldMap, Unmapped, load_field_maps
from mappings.tables import HERE, Files, load_crosswalks, load_systems, read_files
from mappings.versions import DOCUMENT, Version, named_in, version_of

MAPS = load_field_maps()
META = {"event": "NEW", "version": 1, "updated_at": datetime(2026, 11, 23, 1, tzinfo=UTC), "key": "k"}
CASES = [
    pytest.param(path.stem, case["record"], id=f"{path.stem}: {case['name']}")
    for path in sorted((HERE / "fields" / "tests").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]
HEAD = "map: t\ntype: learner\ntitle: {vi: t, en: t}\norigin: t\nassumed: false\nabsent: 'null'\nfields:\n"


def document(version: Version) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(version.parts[bytes.fromhex(version.name.partition("@")[2])])
    return told


def written_out(version: Version, folder: Path) -> None:
    """A version's files, as an evidence pack has them, in a folder."""
    for name, hashed in named_in(next(iter(version.parts.values()))).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(version.parts[hashed])


def told(one: FieldMap, record: dict[str, Any], catalogue: Catalogue) -> Any:
    try:
        return one.apply(record, META, catalogue)
    except Unmapped as gap:
        return gap.system, gap.code, gap.target_system, gap.candidates


def unset(value: Any) -> Any:
    """The record with its codes as a sender gave them: each has to be looked up."""
    if isinstance(value, dict):
        return {k: None if k == "canonical" else unset(v) for k, v in value.items()}
    return [unset(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("name", "record"), CASES)
def test_its_files_alone_map_a_record_to_the_same(name: str, record: dict[str, Any], tmp_path: Path) -> None:
    """Nothing that is not in it can count: the tables left out are not looked up in."""
    written_out(version_of(MAPS[name], base()), tmp_path)
    for folder in ("codes", "crosswalks"):
        (tmp_path / folder).mkdir(exist_ok=True)
    systems, walks = load_systems(tmp_path / "codes"), load_crosswalks(tmp_path / "crosswalks")
    # A file may hold tables of others too, between systems that are not there.
    whole = {k: w for k, w in walks.items() if {w.source, w.target} <= systems.keys()}
    alone = Catalogue(systems, whole, read_files(tmp_path / "codes"))
    (tmp_path / f"{name}.yaml").write_bytes((tmp_path / "fields.yaml").read_bytes())
    again = FieldMap.read(tmp_path / f"{name}.yaml")
    for one in (record, unset(record)):
        assert told(again, one, alone) == told(MAPS[name], one, base())


def test_it_is_called_by_the_hash_of_its_document_which_names_each_part() -> None:
    version = version_of(MAPS["ministry.learner"], base())
    name, _, digest = version.name.partition("@")
    assert name == "ministry.learner" and len(digest) == 64
    assert all(hashlib.sha256(data).digest() == hashed for hashed, data in version.parts.items())
    files = document(version)["files"]
    assert {"fields.yaml", "approvals.json", "codes/vn-ward.csv", "codes/vn-ward.yaml"} <= files.keys()
    assert "codes/dvc.yaml" not in files and DOCUMENT not in files, "another system's codes do not count"
    assert {bytes.fromhex(h) for h in files.values()} | {bytes.fromhex(digest)} == version.parts.keys()


def test_it_changes_with_the_file_the_tables_and_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(HEAD + "  a: {from: full_name}\n")
    first = version_of(FieldMap.read(path), base())
    path.write_text(HEAD + "  b: {from: full_name}\n")
    assert version_of(FieldMap.read(path), base()).name != first.name
    learner = MAPS["ministry.learner"]
    plain = version_of(learner, base()).name
    allowed = version_of(learner.allowing(["health"]), base())
    assert allowed.name != plain and document(allowed)["allowed"] == ["health"]
    contents = base().files.contents

    def with_more(name: str) -> Catalogue:
        files = Files(contents | {name: contents[name] + b"\n"}, "other")
        return Catalogue(base().systems, base().crosswalks, files)

    assert version_of(learner, with_more("codes/vn-ward.csv")).name != plain
    assert version_of(learner, with_more("codes/dvc.yaml")).name == plain


def test_it_changes_with_an_approved_entry_that_can_count_and_names_nobody() -> None:
    plain = version_of(MAPS["ministry.learner"], base()).name
    ward = base().with_overlay([("vn-ward-2024", "10798", "vn-ward", "10804", None, "nguyen.van.a")])
    version = version_of(MAPS["ministry.learner"], ward)
    assert version.name != plain
    approved = version.parts[bytes.fromhex(document(version)["files"]["approvals.json"])]
    assert json.loads(approved) == [
        {"system": "vn-ward-2024", "code": "10798", "target": "vn-ward", "canonical": "10804", "effective_from": None}
    ]
    other = base().with_overlay([("x", "1", "dvc-linhvuc", "2", None, "a")])
    assert version_of(MAPS["ministry.learner"], other).name == plain


def test_entries_that_map_otherwise_have_another_name_in_whatever_order_they_were_approved() -> None:
    """And the entries named in it map alone as all that were approved did."""
    learner, day = MAPS["ministry.learner"], date(2026, 11, 23)
    rows = [("x", "1", "vn-ward", to, since, "a") for to in ("10798", "10804") for since in (None, date(2026, 6, 1))]
    told: dict[str, tuple[str | None, ...]] = {}

    def answers(catalogue: Catalogue) -> tuple[str | None, ...]:
        return tuple(catalogue.standardise("x", "1", "vn-ward", on).code for on in (date(2026, 2, 1), day))

    for given in permutations(rows):
        catalogue = base().with_overlay(given)
        version = version_of(learner, catalogue)
        assert told.setdefault(version.name, answers(catalogue)) == answers(catalogue), given
        named = json.loads(version.parts[bytes.fromhex(document(version)["files"]["approvals.json"])])
        again = [
            (e["system"], e["code"], e["target"], e["canonical"], d and date.fromisoformat(d), "a")
            for e in named
            for d in [e["effective_from"]]
        ]
        for entries in (again, again[::-1]):
            assert answers(base().with_overlay(entries)) == answers(catalogue), given
    assert len(told) == len(set(told.values())) == 4
