"""What a counterparty asks for by `Retry-After`: seconds or a date, never for longer than is waited for anybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kit import WAIT_MAX_S, http_outcome, retry_after
from hub.kernel.ports import Call, Reply, TryLater

NOW = "Sun, 06 Nov 1994 08:49:37 GMT"


def asked(wait: str | None, date: str | None = NOW) -> float | None:
    headers = {"retry-after": wait, "date": date}
    return retry_after(Reply(status=503, body=b"", headers={k: v for k, v in headers.items() if v is not None}))


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [
        ("0", 0.0), ("120", 120.0), (" 120 ", 120.0), ("999999999", WAIT_MAX_S), ("9" * 5000, WAIT_MAX_S),
        ("Sun, 06 Nov 1994 08:51:37 GMT", 120.0), ("Sunday, 06-Nov-94 08:51:37 GMT", 120.0), ("Sun Nov  6 08:51:37 1994", 120.0),
        ("Sun, 06 Nov 1994 15:51:37 +0700", 120.0), (NOW, None), ("Sat, 05 Nov 1994 08:49:37 GMT", None), ("Fri, 31 Dec 9999 23:59:59 GMT", WAIT_MAX_S),
        (None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("٣", None), ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ],
)  # fmt: skip
def test_seconds_and_dates(wait: str | None, seconds: float | None) -> None:
    assert asked(wait) == seconds


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_date_says_nothing_without_the_answers_own(date: str | None) -> None:
    assert asked("Sun, 06 Nov 1994 08:51:37 GMT", date) is None
    assert asked("120", date) == 120.0


@given(wait=st.text(max_size=80), date=st.text(max_size=80))
def test_nothing_raises_and_no_wait_is_without_end(wait: str, date: str) -> None:
    found = asked(wait, date)
    assert found is None or 0.0 <= found <= WAIT_MAX_S


def test_it_is_what_a_busy_counterparty_is_given() -> None:
    call = Call(operation="o", deliveries=(1,), body=b"", content_type="", idempotent=True)
    busy = http_outcome(call, Reply(status=429, body=b"", headers={"retry-after": "999999999"}), "x")
    assert isinstance(busy, TryLater) and busy.after_s == WAIT_MAX_S
