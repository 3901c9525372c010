"""The code tables are what they claim to be: counts, repaired rows, dates, origin and licence."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date

import pytest

from mappings.tables import RESOLVING, TableError, load_crosswalks, load_systems

SYSTEMS = load_systems()
WALKS = load_crosswalks()
NOW = SYSTEMS["vn-ward"]
THEN = SYSTEMS["vn-ward-2024"]


def test_present_wards_are_67_communes_45_wards_and_2_special_zones() -> None:
    assert Counter(r.extra["kind"] for r in NOW.rows) == {"commune": 67, "ward": 45, "special-zone": 2}
    assert len(NOW.by_code) == 114
    assert all(len(r.code) == 5 and r.code.isdigit() and r.extra["parent"] == "31" for r in NOW.rows)
    assert len({r.vi for r in NOW.rows}) == 114
    assert {r.effective_from for r in NOW.rows} == {date(2025, 7, 1)}


def test_former_wards_are_374_in_two_provinces() -> None:
    assert len(THEN.by_code) == 374
    assert Counter(r.extra["parent"] for r in THEN.rows) == {"30": 207, "31": 167}
    assert {r.effective_to for r in THEN.rows} == {date(2025, 6, 30)}


def test_303_former_wards_went_whole_and_71_were_split() -> None:
    walk = WALKS["vn-ward-2024--vn-ward"]
    parts = {source: len(entries) for source, entries in walk.by_source.items()}
    assert set(parts) == set(THEN.by_code)
    assert Counter(parts.values()) == {1: 303, 2: 66, 3: 5}
    assert {e.target for e in walk.entries} <= set(NOW.by_code)
    for source, entries in walk.by_source.items():
        resolving = {e.relation in RESOLVING for e in entries}
        assert resolving == {parts[source] == 1}


def test_every_present_ward_but_the_island_is_made_of_former_ones() -> None:
    made = {e.target for e in WALKS["vn-ward-2024--vn-ward"].entries}
    assert {NOW.by_code[c][0].vi for c in set(NOW.by_code) - made} == {"Đặc khu Bạch Long Vĩ"}


def test_113_codes_are_reused_and_95_of_them_under_another_name() -> None:
    reused = set(NOW.by_code) & set(THEN.by_code)
    assert len(reused) == 113
    assert sum(NOW.by_code[c][0].vi != THEN.by_code[c][0].vi for c in reused) == 95


def test_22_bare_names_stand_in_both_former_provinces() -> None:
    bare: dict[str, set[str]] = {"30": set(), "31": set()}
    for row in THEN.rows:
        bare[row.extra["parent"]].add(re.sub("^(Xã|Phường|Thị trấn) ", "", row.vi))
    assert len(bare["30"] & bare["31"]) == 22
    assert "Hòa Bình" in bare["30"] & bare["31"]


def test_the_two_hoa_binh_are_no_longer_conflated() -> None:
    walk = WALKS["vn-ward-2024--vn-ward"]
    names = {code: {NOW.by_code[e.target][0].vi for e in walk.by_source[code]} for code in ("10798", "11890")}
    assert THEN.by_code["10798"][0].extra["district"] == "Huyện Kim Thành"
    assert names["10798"] == {"Xã Hà Nam", "Xã Kim Thành"}
    assert THEN.by_code["11890"][0].extra["district"] == "Huyện Vĩnh Bảo"
    assert names["11890"] == {"Xã Nguyễn Bỉnh Khiêm"}


def test_cam_giang_and_cam_giang_with_a_grave_are_two_communes() -> None:
    assert {r.code: r.vi for r in NOW.rows if r.vi.startswith("Xã Cẩm")} == {
        "10888": "Xã Cẩm Giang",
        "10903": "Xã Cẩm Giàng",
    }


def test_54_ethnic_groups_in_both_official_orders() -> None:
    today, older = SYSTEMS["vn-ethnicity"], SYSTEMS["vn-ethnicity-1979"]
    assert [r.code for r in today.rows] == [f"{n:02d}" for n in range(1, 57)]
    assert len(older.rows) == 54
    joined = WALKS["vn-ethnicity-1979--vn-ethnicity"]
    assert sorted(e.target for e in joined.entries) == [f"{n:02d}" for n in range(1, 55)]
    for entry in joined.entries:
        old, new = older.by_code[entry.source][0].vi, today.by_code[entry.target][0].vi
        assert old == new.split(" (")[0]


def test_34_provinces_from_63() -> None:
    assert len(SYSTEMS["vn-province"].rows) == 34
    walk = WALKS["vn-province-2024--vn-province"]
    assert len(walk.by_source) == len(SYSTEMS["vn-province-2024"].rows) == 63
    assert {e.target for e in walk.entries} == set(SYSTEMS["vn-province"].by_code)
    assert {e.source for e in walk.entries if e.target == "31"} == {"30", "31"}


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_every_code_system_says_where_it_is_from(name: str) -> None:
    system = SYSTEMS[name]
    assert system.origin and system.licence and system.version and system.title.vi and system.title.en
    assert all(r.vi and r.en and r.code == r.code.strip() for r in system.rows)
    periods = Counter((r.code, r.effective_from) for r in system.rows)
    assert max(periods.values()) == 1
    assert system.why if system.assumed else True


@pytest.mark.parametrize("name", sorted(WALKS))
def test_every_crosswalk_leads_to_codes_that_exist(name: str) -> None:
    walk = WALKS[name]
    assert walk.origin and walk.licence
    target = SYSTEMS[walk.target]
    assert all(target.row(e.target) for e in walk.entries)
    if walk.source != walk.target:
        assert all(SYSTEMS[walk.source].row(e.source) for e in walk.entries)
    assert all(e.confidence is None or 0 <= e.confidence <= 1 for e in walk.entries)


def test_no_spelling_of_one_code_is_another_codes_title() -> None:
    """An alias that is also a code or a title of its own would silently change a meaning."""
    for walk in WALKS.values():
        if walk.source == walk.target:
            table = SYSTEMS[walk.target]
            for entry in walk.entries:
                assert entry.source not in table.by_code, (walk.id, entry.source)
                assert table.by_name.get(entry.source.lower(), (entry.target,)) == (entry.target,), (
                    walk.id,
                    entry.source,
                )
                assert table.by_fold.get(entry.source.lower(), (entry.target,)) == (entry.target,), (
                    walk.id,
                    entry.source,
                )


def test_a_wrong_file_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bad.yaml").write_text(
        "system: x\nversion: '1'\ntitle: {vi: a, en: b}\norigin: o\nlicence: l\nassumed: true\ncodes: []\n"
    )
    with pytest.raises(TableError, match="assumed without"):
        load_systems(tmp_path)
    (tmp_path / "bad.yaml").write_text("system: x\nversion: '1'\ntitel: {}\ncodes: []\n")
    with pytest.raises(TableError, match=r"bad\.yaml"):
        load_systems(tmp_path)
