"""The oracle itself, on made-up books: it objects to what was lost, doubled, disordered or never sent, and to nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from hub.kernel.ledger.accounting import Account
from hub.kernel.ledger.gate_memory import Numbers
from hub.kernel.lifecycle import State
from tests.chaos import comparing, oracle
from tests.chaos.books import Books, Effect, Passage, Push, Sighting, read_effects
from tests.chaos.deck import Deck
from tests.chaos.verdict import HTTP, MQTT, PUSHES, Verdict, Window

_AT = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def push(kind: str, key: str, version: int, receipt: str | None = "R") -> Push:
    return Push(client="c", kind=kind, items=[(key, version)], idempotency=f"{key}/{version}", receipt=receipt)


def effect(kind: str, key: str, version: int = 1, event: str = "UPDATE", at: datetime = _AT, **content: Any) -> Effect:
    return Effect(seq=1, key=key, version=version, event=event, type=kind, at=at, content=content)


def filing(key: str, content: int, event: str = "UPDATE") -> Effect:
    return effect("filing", key, content, event, TrichYeuHoSo=f"Lần {content}")


def learners(*versions: int, acked: int = 3, sent: int = 3) -> Verdict:
    books = Books(pushes=[push("learner", "L", v, "R" if v <= acked else None) for v in range(1, sent + 1)])
    verdict = Verdict()
    comparing.learners(books, [effect("hocsinh", "L", v) for v in versions], verdict)
    return verdict


def test_versions_once_and_ascending_are_what_was_promised() -> None:
    assert learners(1, 2, 3).objections == []
    assert learners(1, 2, acked=2).objections == [], "what was never acknowledged may be missing"
    assert learners(1, 2, 3, acked=2).objections == [], "or be there: only the answer was lost"


@pytest.mark.parametrize(
    ("versions", "kind"),
    [((1, 3), "lost"), ((1, 2, 2, 3), "doubled"), ((2, 1, 3), "disordered"), ((1, 2, 3, 4), "wrong"), ((), "lost")],
)
def test_anything_else_is_objected_to(versions: tuple[int, ...], kind: str) -> None:
    assert getattr(learners(*versions), kind)


@pytest.mark.parametrize(
    ("effects", "kind"),
    [
        ([filing("F", 1, "NEW"), filing("F", 2)], None),
        ([filing("F", 1, "NEW")], "lost"),
        ([filing("F", 1, "NEW"), filing("F", 1, "NEW"), filing("F", 2)], "doubled"),
        ([filing("F", 1, "NEW"), filing("F", 2), filing("F", 1)], "disordered"),
    ],
)
def test_a_filing_is_created_once_and_its_contents_come_in_order(effects: list[Effect], kind: str | None) -> None:
    verdict = Verdict()
    comparing.portal(Books(pushes=[push("filing", "F", 1), push("filing", "F", 2)]), effects, set(), verdict)
    assert bool(verdict.objections) == (kind is not None)
    assert kind is None or getattr(verdict, kind)


@pytest.mark.parametrize(
    ("times", "people", "kind"), [(1, set(), None), (2, set(), "doubled"), (0, set(), "lost"), (0, {"F"}, None)]
)
def test_a_notice_stands_once_or_is_a_persons(times: int, people: set[str], kind: str | None) -> None:
    verdict = Verdict()
    notice = effect("progress", "F/x", event="NOTICE", MaHoSo="F", NoiDungXuLy="Bước 7")
    comparing.portal(Books(pushes=[push("filing_progress", "F#7", 1)]), [notice] * times, people, verdict)
    assert bool(verdict.objections) == (kind is not None)
    assert kind is None or getattr(verdict, kind)


@pytest.mark.parametrize(
    ("told", "people", "disordered"),
    [((7, 8, 9), set(), False), ((7, 9, 8), set(), True), ((8, 7, 9), {"F"}, False), ((7, 7, 8, 9), set(), False)],
)
def test_notices_about_a_filing_come_in_order(told: tuple[int, ...], people: set[str], disordered: bool) -> None:
    verdict = Verdict()
    notices = [effect("progress", f"F/{n}", event="NOTICE", MaHoSo="F", NoiDungXuLy=f"Bước {n}") for n in told]
    another = effect("progress", "G/1", event="NOTICE", MaHoSo="G", NoiDungXuLy="Bước 1")  # never pushed by this source
    pushed = [push("filing_progress", f"F#{n}", 1) for n in (7, 8, 9)]
    comparing.portal(Books(pushes=pushed), [*notices, another], people, verdict)
    assert bool(verdict.disordered) == disordered


def accounted(inbox: int = 0, **states: int) -> Account:
    """An account that adds up: what is pending is in the inbox, and every delivery due is there."""
    by_state = {s.word: 0 for s in State} | states
    due = sum(by_state.values())
    return Account(
        messages=10, pending=inbox, invalid=0, duplicate=0, routed=10 - inbox, items=10 - inbox, rejected=0, records=10 - inbox,
        due=due, by_state=by_state, replays=0, inbox=inbox, records_stored=10 - inbox,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (accounted(delivered=9), None),
        (accounted(inbox=2, delivered=9), "2 in the inbox"),
        (accounted(ready=3), "3 ready"),
        (accounted(sending=1, uncertain=2), "1 sending, 2 uncertain"),
        (accounted(waiting=1), "1 waiting"),
        (accounted(held=4), "4 held"),
        (accounted(held=4, parked=1), None),
        (accounted(held=4, parked=1, ready=1), "1 ready"),
    ],
)
def test_what_stays_open_is_objected_to_though_the_account_adds_up(found: Account, said: str | None) -> None:
    """Nothing any push or book covers: the account alone says so."""
    assert found.balanced

    class Told:
        async def patiently(self, _look: Any) -> Account:
            return found

    verdict = Verdict()
    assert asyncio.run(oracle.quiet(Told(), -1.0, verdict)) is found  # type: ignore[arg-type]
    assert verdict.objections == ([f"hanging: open after -1 s: {said}"] if said else [])


@pytest.mark.parametrize(
    ("acked", "clock_right", "times", "shown", "kind"),
    [
        (True, True, 1, set(), None),
        (True, True, 0, {"P"}, "lost"),
        (True, False, 0, {"P"}, None),
        (True, False, 0, {"Q"}, "lost"),
        (True, False, 1, set(), "lost"),
        (True, True, 2, set(), "doubled"),
        (False, True, 1, set(), "hanging"),
    ],
)
def test_an_acknowledged_passage_arrives_once_or_is_seen_to_be_doubtful(
    acked: bool, clock_right: bool, times: int, shown: set[str], kind: str | None
) -> None:
    verdict = Verdict()
    books = Books(passages=[Passage(device="d", person="P", acked=acked, clock_right=clock_right)])
    comparing.passages(books, [effect("diemdanh", "d/1", ma="P")] * times, shown, verdict)
    assert bool(verdict.objections) == (kind is not None)
    assert kind is None or getattr(verdict, kind)


@pytest.mark.parametrize(
    ("highest", "holes", "kind"), [(50, [], None), (50, [[2, 2, 1]], "hanging"), (51, [], "wrong"), (40, [], None)]
)
def test_a_gap_that_was_filled_is_told_no_more(
    monkeypatch: pytest.MonkeyPatch, highest: int, holes: list[list[int]], kind: str | None
) -> None:
    monkeypatch.setattr(oracle, "_GAPS_S", 0.0)

    class Told:
        async def patiently(self, _look: Any) -> Any:
            return [Numbers("d", "s", highest, holes), Numbers("another", "s", 9, [[1, 1, 0]])], {}

    verdict = Verdict()
    asyncio.run(oracle._numbers(Told(), {"d": 50}, verdict))  # type: ignore[arg-type]
    assert bool(verdict.objections) == (kind is not None)
    assert kind is None or getattr(verdict, kind)


@pytest.mark.parametrize(
    ("times", "events", "kind"),
    [(1, ("NEW",), None), (1, ("NEW", "UPDATE"), None), (0, (), "lost"), (2, ("NEW",), "doubled")],
)
def test_families_are_told_once(times: int, events: tuple[str, ...], kind: str | None) -> None:
    verdict = Verdict()
    books = Books(passages=[Passage(device="d", person="P", acked=True, clock_right=True)], told=["P"])
    told = [effect("checkin", "s", event=e, data={"learner": "P"}) for e in events] * times
    comparing.families(books, told, verdict)
    assert bool(verdict.objections) == (kind is not None)
    assert kind is None or getattr(verdict, kind)


@pytest.mark.parametrize(
    ("wanted", "known", "objected"),
    [(True, True, False), (True, False, True), (False, False, False), (False, True, True)],
)
def test_a_gate_knows_who_was_told_to_it_last(wanted: bool, known: bool, objected: bool) -> None:
    verdict = Verdict()
    comparing.at_gates(Books(at_gates={"g/P": wanted}), {"g/P"} if known else {"g/Q"}, verdict)
    assert bool(verdict.lost) == objected


@pytest.mark.parametrize(("times", "kind"), [(1, None), (0, "lost"), (2, "doubled")])
def test_an_event_the_portal_was_thanked_for_is_kept_once(times: int, kind: str | None) -> None:
    verdict = Verdict()
    comparing.events(Books(events=["E"]), ["E"] * times, verdict)
    assert bool(verdict.objections) == (kind is not None)
    assert kind is None or getattr(verdict, kind)


@pytest.mark.parametrize(("times", "remote", "doubled"), [(1, True, False), (2, True, True), (2, False, False)])
def test_a_request_is_put_once_and_a_look_up_may_be_repeated(times: int, remote: bool, doubled: bool) -> None:
    content = {"number": "h"} | ({"remote": "R1"} if remote else {})
    asked = [effect("lookup", "M", event="LOOKUP", **content)] * times
    for removed in (True, False):
        verdict = Verdict()
        comparing.lookups(Books(), [*asked, *([effect("request", "R1", event="DELETE")] if removed else [])], verdict)
        assert bool(verdict.doubled) == doubled
        assert bool(verdict.hanging) == (remote and not removed), "what was fetched is deleted there"


@pytest.mark.parametrize(("people", "faults", "objected"), [(0, 0, False), (1, 0, True), (8, 1, False), (9, 1, True)])
def test_no_more_is_a_persons_than_the_portals_faults_can_excuse(people: int, faults: int, objected: bool) -> None:
    verdict = Verdict()
    comparing.to_people({f"F{n}" for n in range(people)}, faults, verdict)
    assert bool(verdict.wrong) == objected


def test_a_healthy_system_must_go_on_while_another_is_hurt() -> None:
    books = Books(first=_AT, last=_AT + timedelta(seconds=60))
    effects = {
        "ministry": [effect("hocsinh", "L", 1, at=_AT + timedelta(seconds=20))],
        "public_service": [],
        "population": [],
    }
    window = Window(
        name="x",
        start=_AT + timedelta(seconds=18),
        end=_AT + timedelta(seconds=22),
        healthy=("ministry", "public_service"),
    )
    verdict = Verdict()
    comparing.progress(books, effects, [window], verdict)
    assert len(verdict.wrong) == 1
    assert "public_service" in verdict.wrong[0]
    assert verdict.longest_stall_s == 40.0
    assert verdict.windows == 1


def test_each_way_in_that_is_left_must_go_on_while_one_thing_is_hurt() -> None:
    def at(second: float) -> datetime:
        return _AT + timedelta(seconds=second)

    def told(way: str, *seconds: float) -> list[Passage]:
        return [
            Passage(device="d", person=f"{way}{n}", acked=True, clock_right=True, way=way, acked_at=at(n)) for n in seconds
        ]  # fmt: skip

    windows = [Window(name=f"{n}", start=at(n), end=at(n + 3), healthy=(MQTT, HTTP, PUSHES)) for n in (10, 20, 30, 40)]
    pushed = [push("learner", "L", 1), push("learner", "L", 2)]
    pushed[0].acked_at, pushed[1].acked_at = at(21), at(31)
    books = Books(
        first=at(0), last=at(60), gates_until=at(35), pushes=pushed,
        passages=[*told(MQTT, 11, 32), Passage(device="d", person="never", acked=False, clock_right=True, way=MQTT)],
    )  # fmt: skip
    verdict = Verdict()
    comparing.progress(books, {}, windows, verdict)
    found = sorted(what.partition(" (")[0].removeprefix("no progress at ") for what in verdict.wrong)
    assert found == ["gates over MQTT during “20”", "pushes during “10”", "pushes during “40”"]
    assert verdict.paths == {MQTT: 3, PUSHES: 4}, "no gate came over HTTP; at 40 their plans are over"
    books.passages += [Passage(device="w", person="never", acked=False, clock_right=True, way=HTTP)]
    comparing.progress(books, {}, windows[:1], verdict := Verdict())
    assert f"no progress at {HTTP} during “10” (0.0-3.0 s of it)" in verdict.wrong, "not one was ever acknowledged"


@pytest.mark.parametrize(
    ("at_s", "objected"), [((2, 7, 12, 17, 22, 28), 0), ((2, 28), 4), ((2, 7, 12, 17, 22), 1), ((31,), 6)]
)
def test_in_a_long_window_there_is_progress_in_every_five_seconds(at_s: tuple[int, ...], objected: int) -> None:
    books, verdict = Books(first=_AT, last=_AT + timedelta(seconds=60)), Verdict()
    window = Window(name="x", start=_AT, end=_AT + timedelta(seconds=30), healthy=("ministry",))
    effects = {"ministry": [effect("hocsinh", "L", 1, at=_AT + timedelta(seconds=n)) for n in at_s]}
    comparing.progress(books, effects, [window], verdict)
    assert len(verdict.wrong) == objected


@pytest.mark.parametrize("seconds", [2.0, 4.9, 5.7, 9.9, 12.0])
def test_a_windows_spans_are_five_seconds_or_more_and_leave_nothing_out(seconds: float) -> None:
    window = Window(name="x", start=_AT, end=_AT + timedelta(seconds=seconds), healthy=())
    spans = list(comparing._spans(window))
    assert spans[0][0] == window.start and spans[-1][1] == window.end
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert len(spans) == 1 or all((b - a).total_seconds() >= comparing.EVERY_S for a, b in spans)


def test_a_deck_deals_every_kind_before_it_repeats_one() -> None:
    kinds = [*(f"kill {n}" for n in range(11)), *(f"fault {n}" for n in range(73))]
    deck = Deck(kinds, 7)
    dealt = [deck.deal() for _ in range(400)]
    for own in ("kill", "fault"):
        mine = [k for k in dealt if k.startswith(own)]
        size = sum(k.startswith(own) for k in kinds)
        assert len(mine) > 2 * size
        assert all(len(set(mine[n : n + size])) == size for n in range(0, len(mine) - size, size))
    assert not deck.undealt
    again = Deck(reversed(kinds), 7)
    assert [again.deal() for _ in range(400)] == dealt, "by the seed alone"
    assert again.undealt == set() and len(Deck(kinds, 7).undealt) == 84


def test_a_torn_last_line_of_a_book_is_left_out(tmp_path: Any) -> None:
    book = tmp_path / "book.jsonl"
    line = b'{"seq":1,"key":"k","version":1,"event":"NEW","type":"t","at":"2026-11-20T08:00:00+00:00","content":{}}\n'
    book.write_bytes(line + line[:20])
    assert [e.key for e in read_effects(book)] == ["k"]


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        ([("A", 1, False), ("B", 1, True)], None),
        ([("A", 1, False)], "lost"),
        ([("A", 2, False), ("B", 1, True)], "doubled"),
        ([("A", 1, False), ("B", 1, True), ("C", 1, True)], "wrong"),
    ],
)
def test_a_sighting_is_stored_once_and_nobody_else_is(seen: list[tuple[str, int, bool]], kind: str | None) -> None:
    books, verdict = Books(sightings=[Sighting(device="G", person=p) for p in "AB"]), Verdict()
    rows = [{"device": "G", "person": p, "n": n, "listed": listed} for p, n, listed in seen]
    comparing.sightings(books, rows, verdict)
    assert [k for k in ("lost", "doubled", "wrong") if getattr(verdict, k)] == ([kind] if kind else [])
    assert verdict.sightings == 2 and verdict.listed == sum(listed for p, _, listed in seen if p in "AB")
