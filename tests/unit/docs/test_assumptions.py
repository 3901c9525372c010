"""The catalogue of assumptions: every mark is found where it stands, and none goes without its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hub.assumptions import NotIncluded, Unexplained, document, gather
from hub.cli import main
from hub.wiring import ROOT


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_marks_are_found_at_any_depth_with_what_they_are_about(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "iot/x/profile.yaml",
        "family: x\nassumed:\n  - {setting: zone, assumed: true, why: no zone is sent}\n",
    )
    _write(
        tmp_path,
        "mappings/codes/y.yaml",
        "- {system: a, assumed: false}\n- system: b\n  assumed: true\n  why: >-\n    not\n    found\n",
    )
    _write(tmp_path, "adapters/z/manifest.yaml", "name: z\ntitle: {vi: Zét, en: Zed}\nassumptions: [paths]\n")
    _write(tmp_path, "adapters/z/samples/s/profile.yaml", "assumed: true\nwhy: a sample is not the contract\n")

    found = [(a.file, a.subject, a.title, a.why) for a in gather(tmp_path)]

    assert found == [
        ("adapters/z/manifest.yaml", "z", "Zét / Zed", "paths"),
        ("iot/x/profile.yaml", "x › zone", "", "no zone is sent"),
        ("mappings/codes/y.yaml", "b", "", "not found"),
    ]


def test_an_assumption_without_a_reason_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "mappings/codes/y.yaml", "system: b\nassumed: true\n")
    with pytest.raises(Unexplained, match=r"mappings/codes/y.yaml: b"):
        gather(tmp_path)


def test_what_a_profile_includes_is_shown_under_it_and_once(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "adapters/z/profile-a.yaml",
        'profile: a\nversion: "2"\nassumed: true\nwhy: own\nincludes: [{file: mappings/m.yaml, version: "1"}]\n',
    )
    _write(tmp_path, "connectors/c.yaml", "version: 1\nassumed: true\nwhy: beside\n")
    _write(tmp_path, "mappings/m.yaml", 'version: "1"\nassumed: true\nwhy: moves\n')
    assert [(a.place, a.subject, a.why) for a in gather(tmp_path)] == [
        ("adapters/z/profile-a.yaml", "a (2)", "own"),
        ("adapters/z/profile-a.yaml", "a (2) › mappings/m.yaml", "moves"),
        ("connectors/c.yaml", "", "beside"),
    ]
    assert "## mappings/m.yaml" not in document(tmp_path)
    _write(tmp_path, "mappings/m.yaml", 'version: "2"\nassumed: true\nwhy: other moves\n')
    with pytest.raises(NotIncluded, match=r"profile-a.yaml: mappings/m.yaml 1 ≠ 2"):
        gather(tmp_path)
    (tmp_path / "mappings" / "m.yaml").unlink()
    with pytest.raises(NotIncluded, match=r"profile-a.yaml: mappings/m.yaml 1 ≠ –"):
        gather(tmp_path)


def test_all_that_is_assumed_about_the_portal_stands_under_its_profile() -> None:
    profile = "adapters/public_service/profile-assumed-2026.yaml"
    shown = {a.file for a in gather(ROOT) if a.place == profile}
    assert shown == {profile, "connectors/auth/portal_session.yaml", "mappings/filing-states.yaml"}


def test_no_mark_in_the_house_is_missed() -> None:
    marks = 0
    for folder in ("adapters", "connectors", "flows", "iot", "mappings"):
        for path in (ROOT / folder).rglob("*.yaml"):
            if not {"samples", "tests", "schemas"} & set(path.relative_to(ROOT).parts):
                marks += len(re.findall(r"\bassumed: true\b", path.read_text(encoding="utf-8")))
    listed = [a for a in gather(ROOT) if not a.file.endswith("manifest.yaml")]
    assert len(listed) == marks > 40


def test_the_command_prints_each_file_once() -> None:
    result = CliRunner().invoke(main, ["check", "--assumptions"])
    assert result.exit_code == 0, result.output
    assert result.output.count("adapters/ministry/profile-assumed-2026.yaml\n") == 1
    assert "mahocsinh" in result.output
