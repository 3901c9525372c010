"""Which statuses say that a call was not carried out: what a profile names, and nothing else where a repeat does harm."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.kit import http_outcome, not_carried_out
from hub.kernel.ports import Call, NeedsPerson, Outcome, Reply, TryLater, Unknown

LINE: dict[str, Any] = {"name": "HTTP 503", "statuses": [503], "assumed": False, "source": "RFC 9110, 15.6.4"}


def said(status: int, *, idempotent: bool, certain: frozenset[int] = frozenset()) -> Outcome | None:
    call = Call(operation="o", deliveries=(1,), body=b"", content_type="", idempotent=idempotent)
    return http_outcome(call, Reply(status=status, body=b"", headers={"retry-after": "20"}), "x", certain)


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_later_is_for_what_may_be_repeated_or_is_named(status: int) -> None:
    later = TryLater(reason=f"HTTP {status}", after_s=20.0)
    assert said(status, idempotent=True) == later
    assert said(status, idempotent=False) == Unknown(reason=f"HTTP {status}", after_s=20.0)
    assert said(status, idempotent=False, certain=frozenset({status})) == later
    assert said(status, idempotent=False, certain=frozenset({401})) == Unknown(reason=f"HTTP {status}", after_s=20.0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 401, 403, 404, 405, 407, 410])
def test_a_connector_is_paused_and_its_call_given_back_only_where_that_is_certain(status: int) -> None:
    for told in (said(status, idempotent=True), said(status, idempotent=False, certain=frozenset({status}))):
        assert isinstance(told, NeedsPerson) and told.scope == "connector"
    assert isinstance(said(status, idempotent=False), Unknown)


@pytest.mark.parametrize("idempotent", [True, False])
def test_what_the_body_or_a_person_decides_needs_no_name(idempotent: bool) -> None:
    assert [said(status, idempotent=idempotent) for status in (200, 204, 400, 409, 422)] == [None] * 5
    for status in (402, 406, 413, 415, 431):
        told = said(status, idempotent=idempotent)
        assert isinstance(told, NeedsPerson) and told.scope == "delivery"
    assert {type(said(status, idempotent=idempotent)) for status in (500, 502, 504)} == {Unknown}


def test_a_profile_says_what_is_certain_and_whence() -> None:
    assert not_carried_out({"not_carried_out": [LINE, LINE | {"statuses": [401, 429]}]}) == {401, 429, 503}
    assert not_carried_out({"not_carried_out": []}) == frozenset()
    with pytest.raises(ValueError, match=r"x-assumed.*lacks 'not_carried_out'"):
        not_carried_out({"profile": "x-assumed"})
    for wrong in (200, 400, 409, 413, 500, 502, 504):
        with pytest.raises(ValueError, match=str(wrong)):
            not_carried_out({"not_carried_out": [LINE | {"statuses": [wrong]}]})
    for missing in LINE:
        with pytest.raises(ValueError, match=missing):
            not_carried_out({"not_carried_out": [{k: v for k, v in LINE.items() if k != missing}]})
    with pytest.raises(ValueError, match="whence"):
        not_carried_out({"not_carried_out": [LINE | {"whence": "x"}]})
