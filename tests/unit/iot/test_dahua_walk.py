"""A Dahua list is read whole whichever records its firmware gives first, and ends with a fault where it cannot be."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.kernel.ports import Reply
from iot.dahua.listing import LIST, PROFILES
from iot.dahua.simulator import DahuaStore, Order
from iot.listing import Fault, Span
from iot.simulator import Stored

OWNER = {"id": "DH-1", "family": "dahua", "school": "31000101", "direction": "in", "zone": "Asia/Ho_Chi_Minh"}
BEGIN = datetime(2026, 11, 13, tzinfo=UTC)
WEEK = Span(BEGIN, BEGIN + timedelta(days=7))
AT = WEEK.end + timedelta(seconds=5)
ORDERS = get_args(Order)


class Walked:
    """A whole run, as the worker makes it: each place goes through the ledger's JSON."""

    def __init__(self, store: DahuaStore, span: Span = WEEK, *, profile: str = "", most: int = 2_000) -> None:
        self.asked: list[tuple[int, int]] = []
        self.keys: Counter[str] = Counter()
        self.people: set[str] = set()
        self.places: list[str] = []
        self.fault: Fault | None = None
        owner, place = {**OWNER, "profile": profile}, None
        while True:
            call = LIST.ask(owner, span, place)
            query = dict(parse_qsl(urlsplit(call.path).query))
            self.asked.append((int(query["StartTime"]), int(query["EndTime"])))
            assert len(self.asked) <= most, "it goes on and on"
            status, _, body = store.answer("GET", "/" + urlsplit(call.path).path, query, b"")
            page = LIST.read(owner, span, place, Reply(status=status, body=body), None, AT, {})
            for _, item in page.items:
                (draft,) = item.decoded.drafts
                self.keys[draft.key] += 1
                self.people.add(draft.body["person_code"])
            self.fault = page.fault
            if page.fault is not None or page.next is None:
                return
            self.places.append(json.dumps(page.next))
            place = json.loads(self.places[-1])


def memory(*seconds: int) -> list[Stored]:
    """Passages so many seconds after the span's beginning, oldest first."""
    return [
        Stored(number=n + 1, person=f"HS{n:05d}", at=BEGIN + timedelta(seconds=second))
        for n, second in enumerate(sorted(seconds))
    ]


def page_of(count: int) -> Any:
    own: Any = PROFILES.get("standard").settings
    plain: Any = PROFILES.get("plain-counts").settings
    return patch.dict(own, list_page=count), patch.dict(plain, list_page=count)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("profile", ["standard", "plain-counts"])
def test_a_week_of_3500_records_is_read_whole_in_whichever_order_they_come(order: Order, profile: str) -> None:
    school_days = [
        day * 86_400 + hour * 3600 + n * 7 for day in range(7) for hour in (0, 10) for n in range(250)
    ]  # two rushes a day
    store = DahuaStore(memory(*school_days), order=order, counts=profile == "standard")
    walked = Walked(store, profile=profile)
    assert walked.fault is None and walked.people == {s.person for s in store.stored} and len(walked.keys) == 3_500
    assert len(walked.asked) == len(set(walked.asked)) < 20, "no stretch is asked for twice"
    assert max(map(len, walked.places)) < 1_000


@pytest.mark.parametrize("order", ORDERS)
def test_a_device_that_gives_fewer_than_asked_for_says_so_itself(order: Order) -> None:
    store = DahuaStore(memory(*range(0, 600_000, 1_000)), order=order, most=100)
    walked = Walked(store)
    assert walked.fault is None and len(walked.people) == 600


@settings(max_examples=80, deadline=None)
@given(
    seconds=st.lists(
        st.integers(0, 7 * 86_400) | st.integers(30_000, 30_100), max_size=120, unique=True
    ),  # anywhere, and in a rush
    order=st.sampled_from(ORDERS),
    page=st.integers(2, 30),
    counts=st.booleans(),
)
def test_everything_is_read_or_there_is_a_fault(seconds: list[int], order: Order, page: int, counts: bool) -> None:
    store = DahuaStore(memory(*seconds), order=order, counts=counts)
    mine, plain = page_of(page)
    with mine, plain:
        walked = Walked(store, profile="standard" if counts else "plain-counts")
    pairs = max((sum(s in (t, t + 1) for t in seconds) for s in seconds), default=0)
    # A second, and the one that is asked for beyond it, may hold as many as a page has room for.
    assert (walked.fault is None) or pairs >= page
    assert walked.people == {s.person for s in store.stored} or walked.fault is not None


@pytest.mark.parametrize("order", ORDERS)
def test_one_second_too_full_for_a_page_keeps_nothing_else_back(order: Order) -> None:
    store = DahuaStore(memory(*range(0, 500_000, 5_000), *[123_457] * 40), order=order)
    mine, plain = page_of(20)
    with mine, plain:
        walked = Walked(store)
        assert walked.fault is not None and walked.fault.kind == "circle"
        assert "2026-11-14 10:17:3" in walked.fault.text.vi and "2026-11-14 10:17:3" in walked.fault.text.en
        others = {s.person for s in store.stored if s.at != BEGIN + timedelta(seconds=123_457)}
        assert len(others) == 100 and others <= walked.people and len(walked.people) >= 120
        assert len(walked.asked) < 100
        # The device lets some of it go before it is asked once more: then nothing is amiss.
        del store.stored[30:60]
        assert Walked(store).fault is None


def test_a_device_whose_every_second_is_full_is_given_up() -> None:
    class Endless(DahuaStore):
        def answer(self, method: str, path: str, query: Any, body: bytes) -> tuple[int, str, bytes]:
            start = int(query["StartTime"])
            lines = [f"records[{n}].RecNo={start + n}\nrecords[{n}].CreateTime={start}\n" for n in range(10)]
            return 200, "text/plain", ("found=10\n" + "".join(lines)).encode()

    mine, plain = page_of(10)
    with mine, plain:
        walked = Walked(Endless([]), most=100)
    assert walked.fault is not None and walked.fault.kind == "circle"


@pytest.mark.parametrize("order", ORDERS)
def test_firmware_that_ignores_the_dates_is_found_out_by_the_second_full_page(order: Order) -> None:
    store = DahuaStore(memory(*range(0, 600_000, 500)), order=order, dates=False)
    walked = Walked(store, profile="plain-counts")
    assert walked.fault is not None and walked.fault.kind == "circle"
    assert len(walked.people) >= 1000 and len(walked.asked) <= 4, "what came is kept"


@pytest.mark.parametrize("order", ORDERS)
def test_a_run_broken_off_at_any_page_goes_on_there_and_loses_nothing(order: Order) -> None:
    store = DahuaStore(memory(*range(0, 600_000, 3_000)), order=order)
    mine, plain = page_of(30)
    with mine, plain:
        whole = Walked(store)
        for place in whole.places:
            left = json.loads(place)["stretches"]
            ends = [end for _, end in left]
            assert ends == sorted(ends) and ends[-1] == int(WEEK.end.timestamp()), "what is left reaches the end"
            assert all(a[1] + 1 == b[0] for a, b in pairwise(left)), "without a hole"


@pytest.mark.parametrize(
    "place",
    [
        {"start": 1, "last": "x"}, {"stretches": []}, {"stretches": [[5, 1]], "crowded": []}, {"stretches": [[1, True]], "crowded": []},
        {"stretches": [[1, 2]]}, {"stretches": [[1, 2]] * 257, "crowded": []}, {"stretches": [[1, 2]], "crowded": ["x"]}, {"offset_s": 7200.0},
    ],
)  # fmt: skip
def test_a_place_that_tells_of_no_walk_begins_the_span_anew(place: dict[str, Any]) -> None:
    assert LIST.ask(OWNER, WEEK, place) == LIST.ask(OWNER, WEEK, None)


def test_a_span_within_one_second_is_asked_for_and_read() -> None:
    span = Span(BEGIN + timedelta(milliseconds=400), BEGIN + timedelta(milliseconds=900))
    walked = Walked(DahuaStore(memory(0, 5)), span)
    assert walked.people == {"HS00000"} and len(walked.asked) == 1
