"""One morning of a synthetic city: three schools, their classes and rosters, six gates, 2,400 passages, 40 filings.

One concern: inventing everything that will be sent, the same for the same seed, run and hour, together with the numbers
of its own making (which items are faulty, which wards were split, which gate's clock is wrong). It must never send
anything, nor read what the hub made of an earlier run.

Every run has its own learners, schools, gates and filing numbers: the run's number is part of each.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from hub.simulate.faults import FAULTS, Fault
from hub.simulate.people import People, Person
from hub.simulate.places import Ward, places
from iot.gate import PlannedCheckin

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
Item = dict[str, Any]
Family = Literal["face_mqtt", "native"]

LEARNERS = 400
CHECKINS = 2_400
LATE = 200
COPIED = 120
"""Check-ins of right clocks that the gate sends twice: on top of `CHECKINS`, which counts what happened."""
WRONG_CLOCK = 200
FILINGS = 40
SPLIT_CODES = 5
SPLIT_LEARNERS = 15
RUN_MAX = 999

_CLASSES = 10
_RESET_TO = datetime(2009, 1, 1, tzinfo=ZONE)
"""What the clock of the faulty gate says: its factory setting, as after a power cut with a dead battery."""
_PLAY_S = 26.0
_LEVELS = (
    ("02", "Tiểu học", (1, 2, 3, 4, 5)),
    ("03", "Trung học cơ sở", (6, 7, 8, 9)),
    ("04", "Trung học phổ thông", (10, 11, 12)),
)
_STREETS = ("Lạch Tray", "Cầu Đất", "Tô Hiệu", "Trần Phú", "Lê Lợi", "Hai Bà Trưng", "Nguyễn Trãi", "Đà Nẵng")
_PROCEDURES = (
    ("2.002481", "Chuyển trường đối với học sinh trung học cơ sở"),
    ("2.002478", "Chuyển trường đối với học sinh trung học phổ thông"),
    ("1.005099", "Chuyển trường đối với học sinh tiểu học"),
    ("1.005092", "Cấp bản sao văn bằng, chứng chỉ từ sổ gốc"),
    ("2.001914", "Chỉnh sửa nội dung văn bằng, chứng chỉ"),
)
AGENCY = "000.00.12.H24"
_AGENCY_NAME = "Sở Giáo dục và Đào tạo thành phố Hải Phòng"


class Learner(Struct, frozen=True, kw_only=True):
    """One line of a roster: the person, the code, the item as it is pushed, and what is wrong with it on purpose."""

    code: str
    person: Person
    item: Item
    fault: Fault | None = None
    split_ward: str | None = None
    """The former ward's code, for a learner who lives in one that was divided."""


class School(Struct, frozen=True, kw_only=True):
    """One school: its own record, its classes' and its learners', in the order they are pushed."""

    code: str
    name: str
    ward: Ward
    item: Item
    classes: list[Item]
    roster: list[Learner]


class Gate(Struct, frozen=True, kw_only=True):
    """One gate with its plan. `clock_error_s`: its clock minus true time."""

    device: str
    family: Family
    school: str
    entrance: str
    clock_error_s: float
    plan: list[PlannedCheckin]

    @property
    def wrong_clock(self) -> bool:
        """Whether what it sends must be quarantined."""
        return self.clock_error_s != 0


class City(Struct, frozen=True, kw_only=True):
    """Everything that is sent in one morning."""

    seed: int
    run: int
    at: datetime
    schools: list[School]
    gates: list[Gate]
    filings: list[Item]
    """Event envelopes; the file number is in `data`."""


def build(seed: int, run: int, at: datetime) -> City:
    """The city of one run. `at`: the moment the morning begins, aware; everything is dated by it.

    Raises ValueError for a run outside 1 to `RUN_MAX`: the numbers would not fit.
    """
    if not 1 <= run <= RUN_MAX:
        raise ValueError(f"run must lie between 1 and {RUN_MAX}")
    rng = random.Random(f"{seed}/{run}")  # noqa: S311 - reproducible on purpose, guards nothing
    at = at.astimezone(ZONE).replace(microsecond=0)
    people = People(rng, places().ethnicities)
    wards = rng.sample(places().wards, len(_LEVELS))
    schools = [_school(rng, people, run, at, index, ward) for index, ward in enumerate(wards)]
    return City(
        seed=seed,
        run=run,
        at=at,
        schools=schools,
        gates=_gates(rng, run, at, schools),
        filings=_filings(rng, people, run, at),
    )


def _school(rng: random.Random, people: People, run: int, at: datetime, index: int, ward: Ward) -> School:
    level, title, grades = _LEVELS[index]
    code = f"31{ward.code}{run:03d}{index + 1}"
    name = f"Trường {title} {ward.short}"
    year = at.year if at.month >= 8 else at.year - 1
    classes = [(f"{grades[n % len(grades)]}A{n // len(grades) + 1}", grades[n % len(grades)]) for n in range(_CLASSES)]
    school = {
        "school_code": code,
        "name": name,
        "level": level,
        "kind": "1",
        "ward": ward.code,
        "address": f"Số {rng.randrange(1, 200)} đường {rng.choice(_STREETS)}",
        "principal": people.name("female"),
        "phone": f"0225{rng.randrange(10_000_000):07d}",
        "email": f"{code}@truong.example",
    }
    groups = [
        {
            "class_code": c,
            "name": f"Lớp {c}",
            "grade": str(g),
            "school_code": code,
            "school_year": f"{year}-{year + 1}",
            "school_level": level,
        }
        for c, g in classes
    ]
    former = index == 2
    homes = _homes(rng, former)
    faulty = dict(zip(sorted(rng.sample(range(LEARNERS), len(FAULTS))), FAULTS, strict=True)) if index == 0 else {}
    roster = []
    for place in range(LEARNERS):
        class_code, grade = classes[place * _CLASSES // LEARNERS]
        person = people.born_in(year - 5 - grade)
        learner = f"HP{at.year % 100:02d}{run:03d}{index + 1}{place + 1:04d}"
        home, split = homes[place]
        data: Item = {
            "learner_code": learner,
            "full_name": person.name,
            "birth_date": person.birth.isoformat(),
            "sex": person.sex,
            "school_code": code,
            "school_level": level,
            "status": "studying",
            "personal_number": person.number,
            "ethnicity": person.ethnicity,
            "nationality": "VN",
            "class_code": class_code,
            "grade": str(grade),
            "residence": home,
        }
        item = _envelope("NEW", at - timedelta(minutes=rng.randrange(30, 600)), data)
        fault = faulty.get(place)
        if fault is not None:
            fault.spoil(item, at.date())
        roster.append(Learner(code=learner, person=person, item=item, fault=fault, split_ward=split))
    opened = at - timedelta(hours=12)
    return School(
        code=code,
        name=name,
        ward=ward,
        item=_envelope("NEW", opened, school),
        classes=[_envelope("NEW", opened, g) for g in groups],
        roster=roster,
    )


def _homes(rng: random.Random, former: bool) -> list[tuple[Item, str | None]]:
    """A residence for each learner of one school, with the ward's code where it was split."""
    known = places()
    homes: list[tuple[Item, str | None]] = []
    divided = rng.sample(known.split, SPLIT_CODES) if former else []
    for place in range(LEARNERS):
        detail = f"Số {rng.randrange(1, 300)} đường {rng.choice(_STREETS)}"
        if not former:
            homes.append(({"ward": rng.choice(known.wards).code, "province": "31", "detail": detail}, None))
            continue
        split = divided[place % SPLIT_CODES] if place < SPLIT_LEARNERS else None
        ward = split or rng.choice(known.whole)
        homes.append(({"ward": {"system": "vn-ward-2024", "code": ward}, "detail": detail}, split))
    rng.shuffle(homes)
    return homes


def _envelope(event: str, updated_at: datetime, data: Item) -> Item:
    return {"event": event, "updated_at": updated_at.isoformat(), "data": data}


def _gates(rng: random.Random, run: int, at: datetime, schools: list[School]) -> list[Gate]:
    """Two gates at each school, one of each family; the last school's face terminal has lost its clock."""
    families: tuple[Family, ...] = ("face_mqtt", "native")
    sites = [(school, family) for school in schools for family in families]
    wrong = len(sites) - len(families)
    others = len(sites) - 1
    each, rest = divmod(CHECKINS - WRONG_CLOCK, others)
    gates: list[Gate] = []
    right = 0
    for number, (school, family) in enumerate(sites):
        broken = number == wrong
        count = WRONG_CLOCK if broken else each + (right < rest)
        late, copied = (0, 0) if broken else (_share(LATE, right, others), _share(COPIED, right, others))
        right += not broken
        gates.append(
            Gate(
                device=f"cong-{run:03d}-{number + 1}",
                family=family,
                school=school.code,
                entrance="Cổng chính" if family == "face_mqtt" else "Cổng phụ",
                clock_error_s=(_RESET_TO - at).total_seconds() if broken else 0.0,
                plan=_plan(rng, at, [p.code for p in school.roster if p.fault is None], count, late, copied),
            )
        )
    return gates


def _share(total: int, place: int, of: int) -> int:
    return total // of + (place < total % of)


def _plan(
    rng: random.Random, at: datetime, learners: list[str], count: int, late: int, copied: int
) -> list[PlannedCheckin]:
    """`count` passages: the first `late` of them happened before and were stored, `copied` live ones are sent twice.

    Nobody passes the same way twice: two such punches a moment apart would rightly be one."""
    plan = []
    ways = [(p, d) for d in ("in", "out") for p in rng.sample(learners, len(learners))]
    for place in range(count):
        at_s = round(rng.uniform(0, _PLAY_S), 3)
        live = place >= late
        happened = at + timedelta(seconds=at_s) if live else at - timedelta(seconds=rng.randrange(1_200, 5_400))
        plan.append(
            PlannedCheckin(
                at_s=at_s,
                person=ways[place][0],
                happened=happened,
                direction=ways[place][1],
                live=live,
                copies=2 if late <= place < late + copied else 1,
            )
        )
    return sorted(plan, key=lambda p: p.at_s)


def _filings(rng: random.Random, people: People, run: int, at: datetime) -> list[Item]:
    filings = []
    for number in range(1, FILINGS + 1):
        procedure, title = rng.choice(_PROCEDURES)
        parent = people.born_in(rng.randrange(1975, 1995))
        submitted = at - timedelta(minutes=rng.randrange(5, 600))
        data: Item = {
            "file_number": f"{AGENCY}-{at:%y%m%d}-{run * 100 + number:05d}",
            "procedure_code": procedure,
            "procedure_name": title,
            "applicant": {
                "kind": "citizen",
                "name": parent.name,
                "identity_number": parent.number,
                "identity_kind": "personal-number",
                "phone": f"09{rng.randrange(100_000_000):08d}",
            },
            "submitted_at": submitted.isoformat(),
            "received_at": (submitted + timedelta(minutes=2)).isoformat(),
            "due_at": (submitted + timedelta(days=7)).isoformat(),
            "status": "2",
            "channel": rng.choice(("online", "counter")),
            "content": f"Đề nghị giải quyết: {title.lower()}",
            "agency": _AGENCY_NAME,
        }
        filings.append(_envelope("NEW", submitted + timedelta(minutes=2), data))
    return filings


def people_file(city: City, path: Path) -> int:
    """Write the population simulator's `--people` file: every learner of the city. Returns how many."""
    rows = [
        {
            "number": p.person.number,
            "name": p.person.name,
            "birth": f"{p.person.birth:%Y%m%d}",
            "sex": "1" if p.person.sex == "male" else "2",
            "ethnicity": p.person.ethnicity,
        }
        for school in city.schools
        for p in school.roster
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(rows))
    return len(rows)
