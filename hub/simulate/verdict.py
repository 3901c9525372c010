"""The verdict on a morning: every book against the generator's account, line by line.

One concern: judging. Pure. What the hub answered its senders is compared with the expectation, never used to make one.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from hub.kernel.ports import Text
from hub.simulate.expect import Comparison, Effect, Rejected, compare
from hub.simulate.morning import Played
from hub.simulate.prepare import PER_SECOND

_SHOWN = 3


class Check(Struct, frozen=True, kw_only=True):
    """One thing that had to be so. `detail` says what was found."""

    name: Text
    ok: bool
    detail: str = ""


class Row(Struct, frozen=True, kw_only=True):
    """One system's line of the summary. None where a figure means nothing."""

    system: Text
    sent: int
    """Items pushed, publications of gates, or records due there (parked ones too)."""
    expected: int
    effects: int
    doubled: int
    lost: int
    unexpected: int
    parked: int | None = None
    rejected: int | None = None
    calls: int | None = None
    """Requests the system has seen."""
    seconds: float | None = None
    """From the first push to the last effect."""
    ok: bool = True


class Verdict(Struct, kw_only=True):
    """The whole verdict."""

    run: int
    seed: int
    seconds: float
    rows: list[Row] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    differences: dict[str, list[str]] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True when every line and every check holds."""
        return all(r.ok for r in self.rows) and all(c.ok for c in self.checks)


def judge(played: Played, before: frozenset[str] = frozenset()) -> Verdict:
    """Judge a morning. `before`: hashes of the personal numbers of earlier runs (see `expect.compare`)."""
    e = played.expectation
    expected = {"ministry": e.ministry, "population": e.population, "public_service": e.portal}
    found = {s: compare(s, e.run, wanted, played.effects.get(s, []), before) for s, wanted in expected.items()}
    verdict = Verdict(run=e.run, seed=played.city.seed, seconds=played.seconds, account=played.account)
    learners = _learners(played)
    verdict.rows = _rows(played, found, learners)
    verdict.checks = [
        *_intake_checks(played),
        *_outcome_checks(played, learners),
        *_gate_checks(played),
        *_system_checks(played),
    ]
    verdict.differences = {s: c.told() for s, c in found.items() if not c.ok}
    return verdict


# ------------------------------------------------------------------------------------------------ reading receipts


class _Learner(Struct, frozen=True):
    states: dict[str, str]
    """Connector → state of its delivery."""
    texts: str


def _learners(played: Played) -> dict[str, _Learner]:
    """What the receipts of the rosters say, by learner code."""
    found: dict[str, _Learner] = {}
    for school in played.city.schools:
        for record in played.receipts.get(school.code, {}).get("records", []):
            deliveries = record["deliveries"]
            found[record["key"]] = _Learner(
                {d["connector"]: d["state"] for d in deliveries}, " ".join(str(d.get("text")) for d in deliveries)
            )
    return found


def _told_rejects(played: Played, code: str) -> list[Rejected]:
    return [Rejected(r["pointer"], r["code"]) for r in played.receipts.get(code, {}).get("rejects", [])]


# ------------------------------------------------------------------------------------------------ rows


def _rows(played: Played, found: dict[str, Comparison], learners: dict[str, _Learner]) -> list[Row]:
    e, city = played.expectation, played.city
    groups = sum(len(s.classes) for s in city.schools)
    records = e.valid_learners + len(city.schools) + groups + len(city.filings)
    told = sum(a.body.get("records", 0) for a in (*played.rosters.values(), *played.others, *played.filings.values()))
    rejected = sum(a.body.get("rejected", 0) for a in played.rosters.values())
    refused = e.sent_learners - e.valid_learners
    parked = sum(1 for x in learners.values() if x.states.get("ministry") == "parked")
    events = [entry for books in played.gates.values() for entry in books]
    acked = sum(entry.acked for entry in events)
    return [
        Row(
            system=Text("Tiếp nhận REST", "REST intake"),
            sent=e.sent_learners + len(city.schools) + groups + len(city.filings),
            expected=records,
            effects=told,
            doubled=max(0, told - records),
            lost=max(0, records - told),
            unexpected=0,
            rejected=rejected,
            ok=told == records and rejected == refused,
        ),
        Row(
            system=Text("Cổng trường", "School gates"),
            sent=sum(entry.published for entry in events),
            expected=e.checkins,
            effects=acked,
            doubled=0,
            lost=e.checkins - acked,
            unexpected=0,
            ok=acked == e.checkins == len(events),
        ),
        _row(Text("Bộ GDĐT", "Ministry"), found["ministry"], played, "ministry", parked, len(e.parked)),
        _row(Text("CSDL dân cư", "Population"), found["population"], played, "population"),
        _row(Text("Cổng DVC", "Public service"), found["public_service"], played, "public_service"),
    ]


def _row(
    name: Text, c: Comparison, played: Played, system: str, parked: int | None = None, must_park: int | None = None
) -> Row:
    times = [str(e["at"]) for e in played.effects.get(system, [])]
    last = (datetime.fromisoformat(max(times)) - played.started).total_seconds() if times else None
    return Row(
        system=name,
        sent=c.expected + (must_park or 0),
        expected=c.expected,
        effects=c.found,
        doubled=len(c.doubled),
        lost=len(c.missing),
        unexpected=len(c.unexpected),
        parked=parked,
        calls=played.books.get(system, {}).get("requests"),
        seconds=last,
        ok=c.ok and parked == must_park,
    )


# ------------------------------------------------------------------------------------------------ checks


def _check(vi: str, en: str, wrong: list[str], detail: str = "") -> Check:
    """Holds when nothing is wrong; else tells the first few wrongs."""
    more = f" … (+{len(wrong) - _SHOWN})" if len(wrong) > _SHOWN else ""
    return Check(name=Text(vi, en), ok=not wrong, detail="; ".join(wrong[:_SHOWN]) + more if wrong else detail)


def _intake_checks(played: Played) -> list[Check]:
    e = played.expectation
    wrong = [f"{code}: HTTP {a.status}" for code, a in played.rosters.items() if a.status != 202]
    wrong += [f"{s.code}: –" for s in played.city.schools if s.code not in played.rosters]
    for code, rejects in e.rejects.items():
        told = _told_rejects(played, code)
        wrong += [f"{code}{r.pointer}: {r.code} thiếu / missing" for r in rejects if r not in told]
        wrong += [f"{code}{r.pointer}: {r.code} thừa / unexpected" for r in told if r not in rejects]
    refused = sum(len(r) for r in e.rejects.values())
    again, first = played.repeated, played.rosters.get(played.city.schools[1].code)
    same = again is not None and first is not None and again.receipt == first.receipt and again.replayed
    conflict = played.conflicting
    return [
        _check(
            "Mỗi bản ghi lỗi bị từ chối đúng chỗ, đúng lý do",
            "Each faulty record refused at its place, with its reason",
            wrong,
            f"{refused} / {refused}",
        ),
        _check(
            "Gửi lại cùng khóa: cùng biên nhận, không thêm gì",
            "Same key again: same receipt, nothing more",
            [] if same else [f"{again}"],
        ),
        _check(
            "Cùng khóa, nội dung khác: 422",
            "Same key, another body: 422",
            [] if conflict and conflict.status == 422 else [f"{conflict and conflict.status}"],
        ),
    ]


def _outcome_checks(played: Played, learners: dict[str, _Learner]) -> list[Check]:
    e = played.expectation
    valid = {p.code for s in played.city.schools for p in s.roster if p.fault is None}
    wrong_parked: list[str] = []
    wrong: list[str] = []
    for code in sorted(valid | learners.keys()):
        told = learners.get(code)
        if code not in valid or told is None:
            wrong.append(f"{code}: {'không có biên nhận / no receipt' if told is None else 'thừa / unexpected'}")
            continue
        ward = e.parked.get(code)
        ministry = told.states.get("ministry")
        if ward is not None and (ministry != "parked" or ward not in told.texts):
            wrong_parked.append(f"{code}: {ministry}, {told.texts}")
        elif ward is None and ministry != "delivered":
            wrong.append(f"{code}: ministry {ministry}")
        if told.states.get("population") != "delivered":
            wrong.append(f"{code}: population {told.states.get('population')}")
    filings = []
    for item in played.city.filings:
        number = item["data"]["file_number"]
        records = played.receipts.get(number, {}).get("records", [])
        states = [d["state"] for r in records for d in r["deliveries"]]
        if states != ["delivered"]:
            filings.append(f"{number}: {states}")
    wards = len(set(e.parked.values()))
    return [
        _check(
            "Biên nhận nói đúng số phận từng học sinh",
            "Receipts tell each learner's fate rightly",
            wrong,
            f"{len(valid)}",
        ),
        _check(
            "Học sinh ở xã bị chia: chờ người duyệt, có lý do",
            "Learners of split wards wait for a person, with the reason",
            wrong_parked,
            f"{len(e.parked)} học sinh, {wards} mã / learners, codes",
        ),
        _check(
            "Biên nhận của 40 hồ sơ: đã giao",
            "Receipts of the 40 filings: delivered",
            filings,
            f"{len(played.city.filings)}",
        ),
    ]


def _gate_checks(played: Played) -> list[Check]:
    e = played.expectation
    wrong = []
    for gate in played.city.gates:
        books = played.gates.get(gate.device, [])
        silent = [b.event for b in books if not b.acked]
        if len(books) != len(gate.plan) or silent:
            wrong.append(f"{gate.device}: {len(books)}/{len(gate.plan)}, chưa xác nhận / unacknowledged {len(silent)}")
    faulty = {g.device for g in played.city.gates if g.wrong_clock}
    told = sum(
        x["type"] == "diemdanh" and str(x["key"]).partition("/")[0] in faulty
        for x in played.effects.get("ministry", [])
    )
    sent = sum(b.published for books in played.gates.values() for b in books)
    late = sum(not p.live for g in played.city.gates for p in g.plan)
    return [
        _check(
            "Mọi lượt qua cổng được xác nhận tới thiết bị",
            "Every passage acknowledged to its device",
            wrong,
            f"{e.checkins} lượt, {sent - e.checkins} gửi lặp, {late} gửi muộn / passages, repeats, late",
        ),
        _check(
            "Cổng sai đồng hồ: giữ lại, tính lại giờ rồi mới gửi",
            "The gate with the wrong clock: set aside, told anew, then passed on",
            [] if told == e.quarantined else [f"{told}/{e.quarantined}"],
            f"{e.quarantined} lượt / passages",
        ),
    ]


def _system_checks(played: Played) -> list[Check]:
    population, portal = played.books.get("population", {}), played.books.get("public_service", {})
    over = (
        []
        if population.get("over_quota") == 0 and population.get("peak_per_s", 0) <= PER_SECOND
        else [f"{population.get('over_quota')} lời gọi quá hạn mức / calls over quota"]
    )
    not_found = [
        str(x["key"]) for x in played.effects.get("population", []) if not x["content"]["found"] and _ours(played, x)
    ]
    disorder = [f"{s}: {v}" for s, b in played.books.items() for v in b.get("order_violations", [])]
    refusals: Counter[str] = Counter()
    for system, books in played.books.items():
        refusals.update({f"{system}: {reason}": n for reason, n in books.get("refusals", {}).items()})
    account = played.account
    return [
        _check(
            "Hạn mức dân cư không bị vượt",
            "The population quota never exceeded",
            over,
            f"≤ {population.get('peak_per_s')}/s, hạn mức / quota {PER_SECOND}/s",
        ),
        _check("Dân cư nhận ra mọi học sinh", "Every learner found by population", not_found),
        _check(
            "Cổng DVC đã diễn hết lỗi",
            "The portal has shown all its faults",
            [str(f) for f in played.faults_left],
            f"503 · {portal.get('repeats', 0)} gửi lại vô hại / harmless repeats",
        ),
        _check(
            "Không hệ thống nào từ chối thứ gì",
            "No system refused anything",
            [f"{k} × {n}" for k, n in refusals.items()],
        ),
        _check("Đúng thứ tự phiên bản", "Versions in order", disorder),
        _check(
            "Sổ cái cân",
            "The ledger's accounts balance",
            [] if account.get("balanced") else [str(account.get("differences"))],
        ),
        _check(
            "Xong trong thời hạn",
            "Came to rest in time",
            [] if played.in_time else ["hết giờ chờ / patience ended"],
            f"{played.seconds:.1f} s",
        ),
    ]


def _ours(played: Played, entry: dict[str, Any]) -> bool:
    about: Effect = ("lookup", str(entry["content"]["number"]))
    return about in played.expectation.population
