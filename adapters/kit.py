"""What every adapter over HTTP reads the same way: status codes, Retry-After, JSON bodies; an exchange's errors by `exchange`.

One concern: the meaning HTTP itself gives an answer, before any counterparty's own contract speaks, and the forms every
contract's reading is written down in. It must never know one particular system, and never raise, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from adapters import exchange
from hub.kernel.ports import Call, NeedsPerson, NeverTry, Outcome, Reading, Reply, Text, TryLater, Unknown

CREDENTIALS = Text(
    "Đối tác từ chối tài khoản hoặc mã truy cập. Kiểm tra thông tin xác thực của kết nối.",
    "The counterparty refused the account or token. Check the connector's credentials.",
)
ADDRESS = Text(
    "Đối tác không nhận ra địa chỉ được gọi. Kiểm tra địa chỉ và phiên bản giao diện của kết nối.",
    "The counterparty does not know the address called. Check the connector's address and interface version.",
)
CONTRACT = Text(
    "Đối tác từ chối cả gói tin vì không đúng giao diện. Cần đối chiếu ánh xạ với tài liệu của đối tác.",
    "The counterparty refused the whole request as not following its interface. Compare the mapping with its contract.",
)


WAIT_MAX_S = 86_400.0
"""The longest wait a counterparty may ask for by `Retry-After`, in seconds: as long as a connector's own may be at most. What
asks for more is asked again after that."""


def retry_after(reply: Reply) -> float | None:
    """Seconds asked for in `Retry-After` (RFC 9110, 10.2.3), at most `WAIT_MAX_S`; None when absent or unreadable.

    A date is counted from the reply's own `Date`: an adapter has no clock, and the counterparty's may be wrong, but by the same
    in both. Without `Date` it says nothing, and neither does one that is over: a maintenance that lasts longer than was
    announced is no reason to come at once, again and again.
    """
    value = reply.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), WAIT_MAX_S)
    until, now = _http_date(value), _http_date(reply.headers.get("date", ""))
    return (
        min((until - now).total_seconds(), WAIT_MAX_S)
        if until is not None and now is not None and until > now
        else None
    )


def _http_date(value: str) -> datetime | None:
    """An HTTP date in any of its three forms; None for anything else."""
    if not value.isascii() or len(value) > 64:
        return None
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def json_object(body: bytes) -> dict[str, Any] | None:
    """The body as a JSON object, or None when it is anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def text_of(value: Any, limit: int = 300) -> str:
    """A short text for people out of any JSON value."""
    return value[:limit] if isinstance(value, str) else "" if value is None else str(value)[:limit]


def code_of(value: Any) -> str | None:
    """A result code as text: counterparties send 0, "0" and "00" alike. None for anything but text or integer."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip()[:50]


def judged(kind: str, *, reason: str, message: Text, subject: str, after_s: float | None, scope: str) -> Outcome:
    """The outcome a profile's table of result codes names: `kind` is `later | never | person | unknown`."""
    match kind:
        case "later":
            return TryLater(reason=reason, after_s=after_s)
        case "never":
            return NeverTry(reason=reason, message=message)
        case "person":
            if scope == "connector":
                return NeedsPerson(cause=reason, subject=subject, message=message, scope="connector")
            return NeedsPerson(cause=reason, subject=subject, message=message)
    return Unknown(reason=reason)


def ruled(rule: Mapping[str, Any], subject: str, message: str) -> Outcome:
    """The outcome a rule of a profile's table of refusals stands for: `{kind, reason, vi, en}` and, where wanted, `after_s` and
    `scope`; `{message}` and `{subject}` in its sentences are filled in. Raises KeyError when the rule lacks what it must say."""
    told = Text(*(rule[lang].replace("{message}", message).replace("{subject}", subject) for lang in ("vi", "en")))
    after_s, scope = rule.get("after_s"), rule.get("scope", "delivery")
    return judged(rule["kind"], reason=rule["reason"], message=told, subject=subject, after_s=after_s, scope=scope)


def everyone(call: Call, outcome: Outcome) -> Reading:
    """The same outcome for every delivery of a call."""
    return Reading(outcomes=dict.fromkeys(call.deliveries, outcome))


def item_of(call: Call, delivery: int) -> tuple[int, list[Any]]:
    """Place and note of a delivery in a call that keeps `items` in its meta, each a list that begins with the delivery.

    Raises KeyError when the call has no such delivery."""
    for place, item in enumerate(call.meta["items"]):
        if item[0] == delivery:
            return place, item
    raise KeyError(delivery)


LATER = frozenset({408, 425, 429, 503})
"""Statuses by which nothing is said but that it is to be tried again."""
_ACCOUNT, _ADDRESS = frozenset({401, 403, 407}), frozenset({404, 405, 410})
_READ = frozenset({400, 409, 422})
"""Statuses whose body says more than they do."""


class _Named(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a profile's `not_carried_out`."""

    name: str
    statuses: frozenset[int]
    assumed: bool
    source: str
    why: str = ""


def not_carried_out(profile: Mapping[str, Any]) -> frozenset[int]:
    """The statuses a profile names as certain: a call answered by one was not carried out.

    Raises ValueError where it has no `not_carried_out`, for a line that is wrong, and for a status it cannot decide."""
    if "not_carried_out" not in profile:
        raise ValueError(
            f"{profile.get('profile')}: hồ sơ thiếu 'not_carried_out'; không gì chắc chắn thì ghi []"
            " / the profile lacks 'not_carried_out'; [] where nothing is certain"
        )
    named = msgspec.convert(profile["not_carried_out"], list[_Named])
    statuses: frozenset[int] = frozenset().union(*(one.statuses for one in named))
    if idle := sorted(s for s in statuses if not (s in LATER | _ACCOUNT | _ADDRESS or 300 <= s < 400)):
        raise ValueError(f"not_carried_out: {idle} không quyết định được gì / decide nothing")
    return statuses


def http_outcome(call: Call, reply: Reply, subject: str, certain: Collection[int] = ()) -> Outcome | None:
    """What the status alone decides for a whole call; None when the body must be read (2xx, 400, 409, 422).

    `subject` names the account or system a task is about. `certain`: the statuses by which a call whose repeat is not harmless
    is known not to have been carried out; after any other it is in doubt, for what stands in front may answer for a system that
    has done it. A refusal that waits for a person needs no such proof. 500, 502 and 504 prove nothing; an exchange's error says
    what `exchange` reads out of it, whatever the status.
    """
    of_exchange = exchange.outcome(reply)
    if of_exchange is not None:
        return of_exchange
    status, told = reply.status, Unknown(reason=f"HTTP {reply.status}", after_s=retry_after(reply))
    if 200 <= status < 300 or status in _READ:
        return None
    proven = call.idempotent or status in certain
    if status in LATER:
        return TryLater(reason=told.reason, after_s=retry_after(reply)) if proven else told
    if status in _ACCOUNT:
        wrong = NeedsPerson(cause="credentials", subject=subject, message=CREDENTIALS, scope="connector")
        return wrong if proven else told
    if status in _ADDRESS or 300 <= status < 400:
        wrong = NeedsPerson(cause="address", subject=subject, message=ADDRESS, scope="connector")
        return wrong if proven else told
    if 400 <= status < 500:
        return NeedsPerson(cause="contract_refused", subject=told.reason, message=CONTRACT)
    return told
