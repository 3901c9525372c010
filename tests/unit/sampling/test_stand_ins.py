"""Stand-ins: the same one for the same original in every form, valid where form matters, and nothing left behind."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import manifest as manifests
from hub.retelling import Retelling, vocabulary
from hub.stand_ins import StandIns
from hub.traces import left_over, plain
from mappings.canonical.checks import check

KEY = b"k" * 32
NAME, NUMBER, BIRTH = "Lương Quỳnh Thử", "031214000077", "2014-03-05"


def _made(key: bytes = KEY) -> StandIns:
    return StandIns(key, lambda system: ["01", "02", "03"])


def _learner(**more: Any) -> dict[str, Any]:
    sex = {"system": "vn-sex", "code": "male", "canonical": "male"}
    return {
        "learner_code": "3112345678", "full_name": NAME, "birth_date": BIRTH, "sex": sex, "personal_number": NUMBER,
        "school_code": "31HP0123001", "class_code": "6A1",
    } | more  # fmt: skip


def test_a_record_keeps_its_sense_and_loses_its_person() -> None:
    told = _made().record(
        "learner", _learner(parents=[{"relation": "mother", "full_name": "Khúc Thị Hà", "phone": "0912345678"}])
    )
    assert not set(plain(told["full_name"]).split()) & set(plain(NAME).split())
    assert told["class_code"] == "6A1" and told["sex"]["canonical"] == "male"
    assert len(told["learner_code"]) == 10 and told["learner_code"] != "3112345678"
    assert check("learner", told, "2026-11-22") == []
    assert told["parents"][0]["phone"].startswith("09") and told["parents"][0]["phone"] != "0912345678"
    assert (
        left_over(json.dumps(told, ensure_ascii=False).encode(), [NAME, NUMBER, BIRTH, "Khúc Thị Hà", "0912345678"])
        == []
    )


def test_the_same_key_gives_the_same_and_another_key_another() -> None:
    assert _made().record("learner", _learner()) == _made().record("learner", _learner())
    assert _made().record("learner", _learner()) != _made(b"other").record("learner", _learner())


def test_sensitive_codes_and_figures_are_replaced() -> None:
    code = {"system": "vn-ethnicity", "code": "01", "canonical": "01"}
    assert _made().record("learner", _learner(ethnicity=code))["ethnicity"]["canonical"] in ("02", "03")
    mark = {"subject": {"system": "s", "code": "TOAN", "canonical": None}, "mark": 9.5}
    told = _made().record("study_result", {"learner_code": "3112345678", "average": 9.1, "marks": [mark]})
    assert told["average"] != 9.1 and told["marks"][0]["mark"] != 9.5 and told["marks"][0]["subject"]["code"] == "TOAN"


@given(st.dates().filter(lambda d: 1960 <= d.year <= 2020), st.sampled_from("01"), st.integers(0, 999_999))
def test_numbers_stay_valid_beside_their_birth_dates(born: Any, sex: str, rest: int) -> None:
    century = (born.year - 1900) // 100 * 2 + int(sex)
    number = f"031{century}{born.year % 100:02d}{rest:06d}"
    told = _made().record("learner", _learner(personal_number=number, birth_date=born.isoformat(), sex=None))
    made = told["personal_number"]
    assert made != number and int(made[3]) % 2 == int(sex)
    assert 1900 + 100 * (int(made[3]) // 2) + int(made[4:6]) == int(told["birth_date"][:4]) < born.year


@pytest.mark.parametrize(
    "written",
    [
        NAME,
        NAME.upper(),
        NAME.lower(),
        "LUONG QUYNH THU",
        "luong  quynh\nthu",
        f"Em {NAME}, sinh 05/03/2014, số {NUMBER}",
    ],
)
def test_texts_lose_every_form(written: str) -> None:
    stand_ins = _made()
    stand_ins.record("learner", _learner())
    told = stand_ins.text(written)
    assert left_over(told.encode(), [NAME, NUMBER, "05/03/2014"]) == []
    assert told.isupper() == written.isupper() and told.isascii() == written.isascii()


@given(st.sampled_from([NAME, NUMBER, "thu@truong.vn"]), st.text(max_size=8), st.text(max_size=8))
def test_what_is_left_is_found_in_any_form(value: str, before: str, after: str) -> None:
    whole = f"{before} {value} {after}"
    raw = whole.encode("utf-8", "ignore")
    forms = [
        raw, plain(value).encode(), value.upper().encode(), quote(value).encode(), quote_plus(value).encode(),
        base64.b64encode(raw), base64.urlsafe_b64encode(raw).rstrip(b"="), json.dumps(value).encode(),
        b"".join(b"&#%d;" % ord(c) for c in value), quote(base64.b64encode(value.encode())).encode(),
    ]  # fmt: skip
    for form in forms:
        assert left_over(b'{"x": "' + form + b'"}', [value]) == [0], form
    assert left_over(b"nothing of the kind", [value]) == []


def _retelling(system: str) -> tuple[Retelling, StandIns]:
    stand_ins = _made()
    stand_ins.record("learner", _learner())
    return Retelling(manifests.load(system), stand_ins), stand_ins


def test_people_only_the_reply_knows_are_replaced_too() -> None:
    retelling, stand_ins = _retelling("population")
    folder = manifests.load("population").folder
    body = (folder / "samples/household/reply.xml").read_bytes()
    told = retelling.body(body, "text/xml")
    assert (
        left_over(told, ["031215000001", "031085000011", "NGUYỄN VĂN VÍ DỤ", "NGUYỄN VĂN GIẢ ĐỊNH", "19850211"]) == []
    )
    assert told.count(b"CongDan>") == body.count(b"CongDan>") and not retelling.blanked
    split = (
        b"<a><HoVaTen><Ho>L\xc6\xaf\xc6\xa0NG</Ho><ChuDem>QU\xe1\xbb\xb2NH</ChuDem><Ten>TH\xe1\xbb\xac</Ten></HoVaTen><x>"
        + NAME.encode()
        + b"</x></a>"
    )
    words = stand_ins.text(NAME).upper().split()
    again = retelling.body(split, "text/xml").decode()
    assert f"<Ho>{words[0]}</Ho><ChuDem>{words[1]}</ChuDem><Ten>{words[2]}</Ten>" in again


def test_replies_of_other_forms_and_hostile_ones_are_told_without_harm() -> None:
    retelling, _ = _retelling("ministry")
    for body in (b"", b"<html><p>" + NUMBER.encode() + b"</html", b"a=" + NUMBER.encode() + b"&b=x", b"\xff\xfe" + NUMBER.encode(),
                 b'{"a": {"b": ["' + NUMBER.encode() + b'"]}}', b"<!DOCTYPE a [<!ENTITY b '" + NUMBER.encode() + b"'>]><a>&b;</a>",
                 b"gi: 079201000123, thu.khac@truong.vn"):  # fmt: skip
        told = retelling.body(body, "application/x-www-form-urlencoded" if body[:2] == b"a=" else "text/plain")
        assert left_over(told, [NUMBER, "079201000123", "thu.khac@truong.vn"]) == []


def test_what_a_system_says_to_everybody_stays() -> None:
    retelling, _ = _retelling("ministry")
    body = json.dumps(
        {"ma": "00", "thongbao": "Đã xử lý", "ketqua": [{"idbanghi": "3112345678", "ma": "00", "phienban": 1}]}
    )
    told = json.loads(retelling.body(body.encode(), "application/json"))
    assert "Đã xử lý" in vocabulary(manifests.load("ministry").folder)
    assert told["thongbao"] == "Đã xử lý" and told["ma"] == "00" and told["ketqua"][0]["phienban"] == 1
    assert told["ketqua"][0]["idbanghi"] != "3112345678" and not retelling.blanked
