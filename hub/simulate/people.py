"""Synthetic people: Vietnamese names, birth dates that fit a grade, personal numbers of the right shape.

One concern: inventing persons from a random source given to it. It must never describe a real person: names are put
together from lists of parts, numbers are drawn and belong to nobody on purpose.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Literal

from msgspec import Struct

Sex = Literal["male", "female"]

_FAMILY = (
    ("Nguyễn", 38),
    ("Trần", 12),
    ("Lê", 9),
    ("Phạm", 11),
    ("Hoàng", 5),
    ("Vũ", 8),
    ("Đặng", 3),
    ("Bùi", 4),
    ("Đỗ", 4),
    ("Ngô", 2),
    ("Đào", 2),
    ("Lương", 1),
    ("Đoàn", 2),
    ("Cao", 1),
    ("Mạc", 1),
    ("Khúc", 1),
)
_MIDDLE: dict[Sex, tuple[str, ...]] = {
    "male": ("Văn", "Đức", "Minh", "Gia", "Hữu", "Quang", "Tuấn", "Anh", "Hải", "Thành", "Xuân", "Công"),
    "female": ("Thị", "Ngọc", "Khánh", "Thu", "Phương", "Minh", "Bảo", "Hà", "Thanh", "Diệu", "Thùy", "Quỳnh"),
}
_GIVEN: dict[Sex, tuple[str, ...]] = {
    "male": (
        "An",
        "Bách",
        "Cường",
        "Dũng",
        "Đạt",
        "Hiếu",
        "Huy",
        "Khang",
        "Khôi",
        "Long",
        "Nam",
        "Phong",
        "Quân",
        "Sơn",
        "Tùng",
        "Việt",
    ),
    "female": (
        "An",
        "Anh",
        "Chi",
        "Dung",
        "Giang",
        "Hà",
        "Hân",
        "Hương",
        "Lan",
        "Linh",
        "Mai",
        "Ngân",
        "Nhi",
        "Thảo",
        "Trang",
        "Vy",
    ),
}
_REGISTERED_IN = (("031", 85), ("030", 10), ("034", 3), ("022", 2))
"""Provinces of birth registration: mostly Hải Phòng (031) and what was Hải Dương (030)."""
MAJORITY = "01"


class Person(Struct, frozen=True, kw_only=True):
    """One synthetic person. `number`: 12 digits, unique within one `People`."""

    name: str
    sex: Sex
    birth: date
    number: str
    ethnicity: str


class People:
    """Draws persons from one random source; no two have the same personal number."""

    def __init__(self, rng: random.Random, ethnicities: tuple[str, ...]) -> None:
        """`ethnicities`: codes of the groups beside the majority."""
        self._rng = rng
        self._others = ethnicities
        self._numbers: set[str] = set()

    def born_in(self, year: int) -> Person:
        """A person born in `year`."""
        rng = self._rng
        sex: Sex = rng.choice(("male", "female"))
        birth = date(year, 1, 1) + timedelta(days=rng.randrange(365))
        ethnicity = MAJORITY if rng.random() < 0.94 else rng.choice(self._others)
        return Person(name=self.name(sex), sex=sex, birth=birth, number=self.number(birth, sex), ethnicity=ethnicity)

    def name(self, sex: Sex) -> str:
        """Family, middle and given name."""
        (family,) = self._rng.choices([n for n, _ in _FAMILY], [w for _, w in _FAMILY])
        return f"{family} {self._rng.choice(_MIDDLE[sex])} {self._rng.choice(_GIVEN[sex])}"

    def number(self, birth: date, sex: Sex) -> str:
        """A personal number of the official shape: province, century and sex, year, six random digits."""
        (province,) = self._rng.choices([p for p, _ in _REGISTERED_IN], [w for _, w in _REGISTERED_IN])
        century = (birth.year - 1900) // 100 * 2 + (sex == "female")
        while True:
            number = f"{province}{century}{birth.year % 100:02d}{self._rng.randrange(1_000_000):06d}"
            if number not in self._numbers:
                self._numbers.add(number)
                return number
