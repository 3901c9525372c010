"""The faults a simulator can be given: their kinds, and which of those switched on meets a request.

One concern: the board of switches. It must never answer a request itself, and never touch the books.
"""

from __future__ import annotations

import time

from msgspec import Struct

FAULTS: dict[str, str] = {
    "slow": "answers after delay_s",
    "down_503": "503 with Retry-After, nothing done",
    "gateway_502": "done, but the gateway in front answers 502",
    "committed_503": "done, but the gateway in front answers 503 with Retry-After",
    "maintenance_html": "200 with a web page, nothing done",
    "commit_then_timeout": "done, then no answer until the caller gives up",
    "reset_after_read": "request read, connection reset, nothing done",
    "garbage": "done, then an answer nobody can read",
    "quota_429": "429 with Retry-After, nothing done",
    "duplicate_answer": "done, every item of the answer twice",
    "missing_item": "done, the last item of the answer left out",
    "expired_session": "refused: not (or no longer) authenticated, nothing done",
    "half_open": "request taken, never done nor answered",
    "wrong_schema": "done, then a well-formed answer of another shape",
    "fault_500": "500 with a fault of its own (SOAP Fault, JSON error), nothing done",
    "commit_then_500": "done, then 500 with a fault of its own all the same",
    "reset_mid_body": "done, the connection reset in the middle of the answer",
}
"""Fault kinds. What the last word of each says about *done* is the truth the books hold."""

BEFORE = frozenset(
    {"down_503", "maintenance_html", "reset_after_read", "quota_429", "expired_session", "half_open", "fault_500"}
)
"""Those that strike before anything is done."""


class Fault(Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault that is on until its time or count runs out. `kind: none` switches all off."""

    kind: str
    for_s: float | None = None
    count: int | None = None
    match: str | None = None
    """Only requests whose path or body contains this."""
    delay_s: float = 0.5
    """`slow`: the delay. Faults that hold the connection hold it at most 60 times as long."""
    until: float = 0.0


class Switches(list[Fault]):
    """The faults that are on, in the order they were switched on: the first that fits a request meets it."""

    def set(self, fault: Fault) -> None:
        """Switch a fault on (or all off with `none`). Raises ValueError for an unknown kind."""
        if fault.kind == "none":
            self.clear()
            return
        if fault.kind not in FAULTS:
            raise ValueError(f"unknown fault {fault.kind!r}; one of {', '.join(FAULTS)}")
        fault.until = time.monotonic() + fault.for_s if fault.for_s is not None else float("inf")
        self.append(fault)

    def meeting(self, path: str, body: bytes) -> Fault | None:
        """The fault a request meets, counted; None when none does."""
        now = time.monotonic()
        for fault in list(self):
            if now >= fault.until or fault.count == 0:
                self.remove(fault)
                continue
            if fault.match is not None and fault.match not in path and fault.match.encode() not in body:
                continue
            if fault.count is not None:
                fault.count -= 1
            return fault
        return None
