"""Standardising codes: dates, spellings, splits, approvals, policies, suggestions."""

from __future__ import annotations

from datetime import date
from itertools import permutations
from pathlib import Path

import pytest
import yaml

from mappings.catalogue import Approval, Catalogue, base
from mappings.tables import TableError

TODAY = date(2026, 11, 23)
BEFORE = date(2025, 6, 30)
CHANGE = date(2025, 7, 1)


@pytest.mark.parametrize(
    ("system", "code", "target", "expected", "reason"),
    [
        ("vn-ethnicity", "01", "vn-ethnicity", "01", "same"),
        ("vn-ethnicity", "Kinh", "vn-ethnicity", "01", "alias"),
        ("vn-ethnicity", " KINH ", "vn-ethnicity", "01", "alias"),
        ("vn-ethnicity", "H'mo\u0302ng", "vn-ethnicity", "08", "alias"),
        ("vn-ethnicity", "Ðê", "vn-ethnicity", None, "unknown"),
        ("vn-ethnicity", "Ê Ðê", "vn-ethnicity", "11", "alias"),
        ("vn-ethnicity", "thai", "vn-ethnicity", "03", "alias"),
        ("vn-ethnicity-1979", "04", "vn-ethnicity", "06", "mapped"),
        ("vn-ethnicity-1979", "06", "vn-ethnicity", "04", "mapped"),
        ("vn-ethnicity-1979", "Hoa", "vn-ethnicity", "06", "mapped"),
        ("vn-sex", "Nữ", "vn-sex", "female", "alias"),
        ("vn-sex", "nu", "vn-sex", "female", "alias"),
        ("vn-sex", "1", "vn-sex", "male", "alias"),
        ("vn-sex", "0", "vn-sex", "female", "alias"),
        ("vn-sex", "male", "moet-sex", "1", "mapped"),
        ("vn-sex", "other", "c06-sex", "0", "fixed"),
        ("school-level", "THCS", "school-level", "03", "alias"),
        ("grade", "Lớp 6", "grade", "6", "alias"),
        ("vn-ward-2024", "11890", "vn-ward", "11911", "mapped"),
        ("vn-ward-2024", "10798", "vn-ward", None, "split"),
        ("vn-ward-2024", "Xã Hòa Bình", "vn-ward", None, "ambiguous"),
        ("vn-ward-2024", "Xã Hòa Bình, Huyện Vĩnh Bảo", "vn-ward", "11911", "mapped"),
        ("vn-ward-2024", "99999", "vn-ward", None, "unknown"),
        ("vn-ward", "11890", "vn-ward", None, "unknown"),
        ("vn-ward", "Phường Ngô Quyền", "vn-ward", "11329", "alias"),
        ("nowhere", "1", "vn-ward", None, "no_table"),
        ("vn-sex", "male", "nowhere", None, "no_table"),
    ],
)
def test_standardise(system: str, code: str, target: str, expected: str | None, reason: str) -> None:
    found = base().standardise(system, code, target, TODAY)
    assert (found.code, found.reason) == (expected, reason)


def test_a_split_gives_candidates_and_no_code() -> None:
    assert base().standardise("vn-ward-2024", "10798", "vn-ward", TODAY).candidates == ("10804", "10843")


def test_a_ward_code_means_nothing_before_its_day() -> None:
    assert base().standardise("vn-ward", "11329", "vn-ward", BEFORE).reason == "not_effective"
    assert base().standardise("vn-ward", "11329", "vn-ward", CHANGE).code == "11329"
    assert base().standardise("vn-ward-2024", "11890", "vn-ward", BEFORE).reason == "not_effective"


def test_every_former_ward_gives_its_one_unit_or_its_candidates() -> None:
    catalogue = base()
    found = [
        catalogue.standardise("vn-ward-2024", c, "vn-ward", TODAY) for c in catalogue.systems["vn-ward-2024"].by_code
    ]
    assert sum(f.code is not None for f in found) == 303
    assert sum(f.code is None and len(f.candidates) in (2, 3) for f in found) == 71


def test_an_approval_overrules_from_its_day_and_changes_the_version() -> None:
    catalogue = base()
    row = ("vn-ward-2024", "10798", "vn-ward", "10843", date(2026, 1, 1), "operator")
    approved = catalogue.with_overlay([row])
    assert approved.standardise("vn-ward-2024", "10798", "vn-ward", TODAY).code == "10843"
    assert approved.standardise("vn-ward-2024", " 10798", "vn-ward", TODAY).reason == "approved"
    assert approved.standardise("vn-ward-2024", "10798", "vn-ward", date(2025, 12, 31)).code is None
    assert catalogue.standardise("vn-ward-2024", "10798", "vn-ward", TODAY).code is None
    assert approved.version != catalogue.version == Catalogue.load().version
    assert catalogue.with_overlay([]).version == catalogue.version
    as_mapping = dict(zip(Approval.__struct_fields__, row, strict=True))
    assert catalogue.with_overlay([as_mapping]).version == approved.version


def test_the_newest_approval_wins() -> None:
    rows = [
        ("vn-sex", "X9", "vn-sex", "male", date(2026, 1, 1), "a"),
        ("vn-sex", "X9", "vn-sex", "female", date(2026, 6, 1), "b"),
    ]
    for given in (rows, rows[::-1]):
        approved = base().with_overlay(given)
        assert approved.standardise("vn-sex", "X9", "vn-sex", TODAY).code == "female"
        assert approved.standardise("vn-sex", "X9", "vn-sex", date(2026, 2, 1)).code == "male"


def test_of_approvals_from_the_same_day_the_later_one_wins() -> None:
    """A wrong approval is corrected by approving anew, also where the code is spelled with other spaces."""
    for day in (None, date(2026, 1, 1)):
        wrong, right = (("vn-sex", code, "vn-sex", to, day, "a") for code, to in (("X9", "male"), (" X9", "female")))
        approved = base().with_overlay([wrong, right])
        assert approved.standardise("vn-sex", "X9", "vn-sex", TODAY).code == "female"
        assert approved.with_overlay([right, wrong]).standardise("vn-sex", "X9", "vn-sex", TODAY).code == "male"
        again = approved.with_overlay([wrong, right, wrong])
        assert again.standardise("vn-sex", "X9", "vn-sex", TODAY).code == "male"
    # From the first day there is, and from always, is the same.
    first = [("vn-sex", "X9", "vn-sex", to, day, "a") for to, day in (("male", date.min), ("female", None))]
    assert base().with_overlay(first).standardise("vn-sex", "X9", "vn-sex", TODAY).code == "female"


def test_catalogues_that_answer_otherwise_have_another_version() -> None:
    rows = [("vn-sex", "X9", "vn-sex", to, day, "a") for to in ("male", "female") for day in (None, date(2026, 6, 1))]
    told: dict[str, set[tuple[str | None, ...]]] = {}
    for given in permutations(rows):
        one = base().with_overlay(given)
        days = (date(2026, 2, 1), TODAY)
        told.setdefault(one.version, set()).add(
            tuple(one.standardise("vn-sex", "X9", "vn-sex", day).code for day in days)
        )
    assert len(told) == 4 and all(len(answers) == 1 for answers in told.values()), told


def test_a_wrong_approval_is_refused() -> None:
    with pytest.raises(TableError):
        base().with_overlay([{"source_system": "vn-sex"}])


def test_suggestions_rank_what_the_tables_know_before_likeness() -> None:
    split = base().suggest("vn-ward-2024", "10798", "vn-ward", TODAY)
    assert [s.code for s in split[:2]] == ["10804", "10843"]
    older = base().suggest("vn-ward", "11890", "vn-ward", TODAY)
    assert older[0].code == "11911" and older[0].title.vi == "Xã Nguyễn Bỉnh Khiêm"
    typed = base().suggest("vn-ethnicity", "Gia raii", "vn-ethnicity", TODAY)
    assert typed[0].code == "10" and 0.6 < typed[0].score < 0.95
    assert base().suggest("vn-ethnicity", "???", "vn-ethnicity", TODAY) == []
    assert base().suggest("vn-ethnicity", "Kinh", "nowhere", TODAY) == []


def _folder(tmp_path: Path, policy: dict[str, str]) -> Path:
    def system(name: str, codes: list[str]) -> dict[str, object]:
        return {
            "system": name,
            "version": "1",
            "title": {"vi": name, "en": name},
            "origin": "test",
            "licence": "test",
            "assumed": False,
            "codes": [{"code": c, "vi": f"{name} {c}", "en": f"{name} {c}"} for c in codes],
        }

    def walk(name: str, source: str, target: str, pairs: dict[str, str], unmapped: dict[str, str]) -> dict[str, object]:
        entries = [{"source": s, "target": t, "relation": "equivalent"} for s, t in pairs.items()]
        rest = {"version": "1", "origin": "test", "licence": "test", "assumed": False}
        return {"id": name, "source": source, "target": target, "unmapped": unmapped, "entries": entries, **rest}

    for part in ("codes", "crosswalks"):
        (tmp_path / part).mkdir()
    (tmp_path / "codes" / "a.yaml").write_text(yaml.safe_dump([system("a", ["1", "2"]), system("b", ["x", "y"])]))
    walks = [walk("a--b", "a", "b", {"1": "x"}, policy), walk("more", "a", "b", {"2": "y"}, {"policy": "ask"})]
    (tmp_path / "crosswalks" / "w.yaml").write_text(
        yaml.safe_dump(walks[:1] if policy["policy"] != "other_table" else walks)
    )
    return tmp_path


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"policy": "ask"}, (None, "unknown")),
        ({"policy": "keep"}, ("2", "kept")),
        ({"policy": "fixed", "value": "y"}, ("y", "fixed")),
    ],
)
def test_policy_for_unmapped_codes(tmp_path: Path, policy: dict[str, str], expected: tuple[str | None, str]) -> None:
    catalogue = Catalogue.load(_folder(tmp_path, policy))
    found = catalogue.standardise("a", "2", "b", TODAY)
    assert (found.code, found.reason) == expected
    assert catalogue.standardise("a", "1", "b", TODAY).code == "x"


def test_other_table_is_asked_next_and_must_exist(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {"policy": "other_table", "table": "more"})
    assert Catalogue.load(folder).standardise("a", "2", "b", TODAY).code == "y"
    text = (folder / "crosswalks" / "w.yaml").read_text().replace("table: more", "table: gone")
    (folder / "crosswalks" / "w.yaml").write_text(text)
    with pytest.raises(TableError, match="gone"):
        Catalogue.load(folder)


def test_invented_codes_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mappings.catalogue._CACHE_LIMIT", 50)
    catalogue = base().with_overlay([])
    for n in range(500):
        catalogue.standardise("vn-sex", f"made-up-{n}", "vn-sex", TODAY)
    assert len(catalogue._cache) <= 50
