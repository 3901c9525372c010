"""The asynchronous family: a question put now and answered later, step by step.

One concern: what the next step of such a conversation is. It must never put a question a second time while the first may
still stand there, nor have the answer deleted there before the hub has stored it: each step's state is kept by the ledger
before the next begins.

`submit → (status …) → result → delete`. What a kill leaves: after the submission, an intent, settled by the history; after
any later step, the state before it, from which the step is made again without harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.population.answers import Answer, Remote
from hub.kernel.ports import InProgress, NeedsPerson, Outcome, Settlement, Text

_OVERDUE = Text(
    "CSDL dân cư chưa trả lời yêu cầu bất đồng bộ sau số lần hỏi cho phép; hãy kiểm tra rồi cho hỏi tiếp.",
    "The population database has not answered an asynchronous request within the allowed polls; look there, then go on.",
)
_FAILED = Text(
    "CSDL dân cư nhiều lần không xử lý được yêu cầu bất đồng bộ này.",
    "The population database has failed to process this asynchronous request several times.",
)


class Conversation:
    """The steps, with the profile's numbers."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        told = profile["requests"]
        self._states: dict[str, str] = {str(code): str(kind) for code, kind in told["states"].items()}
        self._poll_s = float(told["poll_s"])
        self._wait_max_s = float(told["wait_max_s"])
        self._polls_max = int(told["polls_max"])
        self._rounds_max = int(told["rounds_max"])
        self._again_s = float(told["again_s"])

    def after(self, state: Mapping[str, str], remote: Remote) -> Outcome:
        """What follows from the state of a request: wait, fetch, or begin anew."""
        kind = self._states.get(remote.state, "waiting")
        known = {**state, "request": remote.number}
        if kind == "done":
            return InProgress(state={**known, "stage": "result"}, after_s=0.0, reference=remote.number)
        if kind == "failed":
            return self.anew(state)
        polls = int(state.get("polls") or 0) + 1
        if polls > self._polls_max:
            return NeedsPerson(cause="request_overdue", subject=remote.number, message=_OVERDUE)
        # However long it asks for: `polls_max` must come, or nobody would ever be told.
        wait = self._poll_s if remote.wait_s is None else min(max(remote.wait_s, 1.0), self._wait_max_s)
        return InProgress(
            state={**known, "stage": "status", "polls": str(polls)}, after_s=wait, reference=remote.number
        )

    def anew(self, state: Mapping[str, str]) -> Outcome:
        """The request is certainly at its end there without an answer: another one may be put, a few times."""
        round_ = int(state.get("round") or 0) + 1
        if round_ > self._rounds_max:
            return NeedsPerson(cause="request_failed", subject=str(state.get("request") or "-"), message=_FAILED)
        return InProgress(state={"stage": "submit", "round": str(round_)}, after_s=self._again_s)

    def answered(self, state: Mapping[str, str], detail: str) -> InProgress:
        """The answer is read and its record on its way into the ledger: only then is the request deleted there."""
        return InProgress(state={**state, "stage": "delete", "detail": detail}, after_s=0.0)

    def settle(self, request_id: str, begun: bool, answer: Answer) -> Settlement:
        """What the history says about a question: there or not. `begun`: it was asynchronous, so it goes on."""
        mine = [one for one in answer.remote if one.asked_as == request_id]
        if not mine:
            return Settlement(verdict="absent", detail="not in the history")
        last = mine[-1]
        if not begun:
            return Settlement(verdict="present", reference=request_id)
        on = InProgress(state={"stage": "status", "request": last.number}, after_s=0.0, reference=last.number)
        return Settlement(verdict="present", reference=last.number, going_on=on)


def state_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """The state a call of a conversation was made from."""
    told = meta.get("conversation")
    return {str(k): str(v) for k, v in told.items()} if isinstance(told, dict) else {}
