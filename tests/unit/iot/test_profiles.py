"""Profiles: rules of the file are enforced."""

from __future__ import annotations

from pathlib import Path

import pytest

from iot import profiles

GOOD = """
family: x
version: "1"
default: a
settings: {ack: One}
assumed: [{setting: ack, assumed: true, why: because}]
profiles: {a: {}, b: {ack: Two}}
"""


def test_profiles_inherit_the_common_settings(tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text(GOOD)
    loaded = profiles.load(tmp_path)
    assert loaded.names == ["a", "b"]
    assert (loaded.get("b").settings["ack"], loaded.get("?").settings["ack"], loaded.get(7).name) == ("Two", "One", "a")
    assert loaded.get("b").assumed[0].setting == "ack"


@pytest.mark.parametrize("wrong", ["assumed: false", "why: ''", "setting: nowhere"])
def test_an_assumption_must_say_so_and_why(tmp_path: Path, wrong: str) -> None:
    key = wrong.split(":")[0]
    right = {"assumed": "assumed: true", "why": "why: because", "setting": "setting: ack"}[key]
    (tmp_path / "profile.yaml").write_text(GOOD.replace(right, wrong))
    with pytest.raises(ValueError, match="assumption"):
        profiles.load(tmp_path)
