"""People to face terminals and away from them: canonical gate_person to the commands of the `mqtt/face` dialect.

One concern: which command when, and what its answer means. Pure. It must never put a picture itself into a command, name a
picture's address unless the deployment allows it, or delete a person before the gate was asked for its stored records.

What a kill leaves: every command is harmless twice. A deletion is a conversation: the gate is asked for its records, then whether
it has sent them all (where its dialect can tell; else it is given time), and only then told to delete; where it stood is the
ledger's to know. That it takes a question proves that it sent them only while every question since was answered: after a silence,
a kill, a broker that was away or a person's release it may have been restarted in the middle, and is asked for its records again.

Those of one gate who have come as far go on together: both questions name nobody, and stand for all they were asked for; a deletion
names everybody in it. Where the gate's answer leaves open whom of them it took, each is told alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from adapters.face_gates.commands import Commands, device_of
from adapters.kit import code_of, everyone, http_outcome, json_object
from hub.kernel.ports import (
    Call,
    InProgress,
    NeedsPerson,
    Outcome,
    Outgoing,
    Reading,
    Receipt,
    Reply,
    Text,
    TryLater,
    Unknown,
)

_SILENT = "x-no-answer"


class PhotoNotPassed(ValueError):
    """Hub không chuyển ảnh đến cổng (đang tắt): đăng ký khuôn mặt tại cổng, hoặc bật allow_photo_url nếu được phép. / The hub
    passes no pictures on (switched off): enrol the face at the gate, or set allow_photo_url where that is permitted."""

    def __init__(self) -> None:
        super().__init__(" ".join((PhotoNotPassed.__doc__ or "").split()))


class FaceGates:
    """See `hub.kernel.ports.Adapter` and `GroupConverser`. Settings: `allow_photo_url`, `drain_first`."""

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        self._photos = bool(settings["allow_photo_url"])
        self._drain = bool(settings["drain_first"])
        self._profile = profile
        self._commands = Commands(profile)
        self._turn_s = profile["gap_ms"]["plain"] / 1000
        """How much of its gate's time a command takes."""

    def render(self, batch: Sequence[Outgoing]) -> list[Call]:
        """EditPerson each, AddPersons where several of one gate go by address, DeletePersons (or, first, the question for
        the gate's records) for those that are cancelled. Raises `PhotoNotPassed` for a picture that must not travel."""
        gates: dict[tuple[str, str], list[Outgoing]] = {}
        for one in batch:
            gates.setdefault((device_of(one), self._kind(one)), []).append(one)
        calls: list[Call] = []
        for (device, kind), ones in gates.items():
            most = {"add": self._profile["add_max"], "delete": self._profile["delete_max"]}.get(kind, 1)
            if kind == "delete" and self._drain:
                most = len(ones)  # the question names nobody
            for start in range(0, len(ones), most):
                part = ones[start : start + most]
                if kind == "delete":
                    calls.append(
                        self._commands.records(device, part) if self._drain else self._commands.deletion(device, part)
                    )
                elif kind == "add" and len(part) > 1:
                    calls.append(self._commands.addition(device, part))
                else:
                    calls += [self._commands.edit(device, one) for one in part]
        return calls

    def resume(self, one: Outgoing, state: Mapping[str, str]) -> Call:
        """Ask whether the gate has sent all its records, where it can tell; ask for them again where it may have been broken off
        while it sent them; delete once they are here, or have had their time."""
        return self._step(device_of(one), *_stand(one, state), [one])

    def resume_many(self, begun: Sequence[tuple[Outgoing, Mapping[str, str]]], most: int) -> list[Call]:
        """The same for many: one call for all of a gate who stand at the same place, people to delete as a command takes them."""
        together: dict[tuple[str, str, int], list[Outgoing]] = {}
        calls: list[Call] = []
        for one, state in begun:
            step, asks = _stand(one, state)
            if step == _ALONE:
                calls.append(self._step(device_of(one), step, asks, [one]))
            else:
                together.setdefault((device_of(one), step, asks), []).append(one)
        for (device, step, asks), ones in together.items():
            size = len(ones) if step in (_ASKED, _AGAIN) else max(1, min(most, self._profile["delete_max"]))
            calls += [self._step(device, step, asks, ones[n : n + size]) for n in range(0, len(ones), size)]
        return calls

    def _step(self, device: str, step: str, asks: int, ones: Sequence[Outgoing]) -> Call:
        if step == _AGAIN:
            return self._commands.records(device, ones, asks=asks)
        if step == _ASKED:
            return self._commands.all_sent(device, ones, asks)
        return self._commands.deletion(device, ones)

    def read(self, call: Call, reply: Reply) -> Reading:
        """Read a gate's answer: `code` says it for the whole command."""
        outcome = self._outcome(call, reply)
        if not isinstance(outcome, InProgress):
            return everyone(call, outcome)
        # A step that was answered is no attempt: while the number stays, no question remained without its answer.
        attempts = {int(one): str(attempt) for one, attempt in call.meta.get("attempts", {}).items()}
        # Who goes on alone sets out one after the other, so that none waits for its gate while it holds a place among the
        # connector's calls; the others go on at one moment, to share a call.
        apart_s = self._turn_s if outcome.state["proof"] == _ALONE else 0.0
        return Reading(
            outcomes={
                delivery: replace(
                    outcome,
                    state=outcome.state | {"attempt": attempts.get(delivery, "")},
                    after_s=outcome.after_s + place * apart_s,
                )
                for place, delivery in enumerate(call.deliveries)
            }
        )

    def _kind(self, one: Outgoing) -> str:
        if one.event == "CANCEL":
            return "delete"
        if one.mapped.get("picURI") and not self._photos:
            raise PhotoNotPassed
        return "add" if one.mapped.get("picURI") else "edit"

    def _outcome(self, call: Call, reply: Reply) -> Outcome:
        device, operator = str(call.meta.get("device", "")), str(call.meta.get("operator", ""))
        if reply.headers.get(_SILENT):
            return TryLater(reason="gate_silent", after_s=self._profile["silent_s"])
        if (outcome := http_outcome(call, reply, device)) is not None:
            return outcome
        said = json_object(reply.body) or {}
        info = said.get("info")
        code = code_of(said.get("code", info.get("code") if isinstance(info, dict) else None))
        if said.get("operator") != f"{operator}-Ack" or code is None:
            return Unknown(reason="the gate's answer cannot be read")
        if isinstance(info, dict) and info.get("facesluiceId") not in (None, "", device):
            return Unknown(reason="the answer names another gate")
        if "asks" in call.meta and code in self._profile["sending"]:
            proof = _ASKED if call.operation == "drained" else _AGAIN
            return self._still_sending(device, proof, int(call.meta["asks"]) + 1)
        if code in self._profile["later"]:
            return TryLater(reason=f"gate_busy {code}", after_s=self._profile["busy_s"])
        whole = code in self._profile["done"] and not self._some_failed(info)
        if call.operation == "delete_persons" and len(call.deliveries) > 1 and not whole:
            # It says something of one of them, or of some: of whom is not told.
            return InProgress(state={"drained": device, "proof": _ALONE}, after_s=self._turn_s)
        if (known := self._profile["person"].get(code)) is not None:
            text = Text(f"Cổng {device}: {known['vi']}", f"Gate {device}: {known['en']}")
            return NeedsPerson(cause=f"gate_refused_{code}", subject=call.key or device, message=text)
        if code not in self._profile["done"]:
            text = Text(f"Cổng {device} trả lời mã {code}.", f"Gate {device} answers with code {code}.")
            return NeedsPerson(cause="gate_refused", subject=f"{device} {code}", message=text)
        if call.operation == "drained":
            return InProgress(state={"drained": device, "proof": _FREE}, after_s=self._profile["drain_settle_s"])
        if call.operation == "drain":
            if self._profile["drain_evidence"] == "one_at_a_time":
                return self._ask_again(device, _ASKED, 0)
            return InProgress(state={"drained": device, "proof": "time"}, after_s=self._profile["drain_wait_s"])
        return Receipt(reference=code)

    def _some_failed(self, info: Any) -> bool:
        """Whether an answer that says all is well says besides that some were not deleted."""
        told = info if isinstance(info, dict) else {}
        return any(told.get(name) not in (None, "", 0, "0", []) for name in self._profile["failed"])

    def _still_sending(self, device: str, proof: str, asks: int) -> Outcome:
        """The gate refused the question for the `asks`th time: again in a while, and in the end a person's to look into. A
        person's release begins with the question for its records: their advice is to restart it."""
        wait = self._profile["drain_ask_s"]
        if asks * wait < self._profile["drain_give_up_s"]:
            return self._ask_again(device, proof, asks)
        minutes = round(asks * wait / 60)
        text = Text(
            f"Cổng {device} vẫn báo đang gửi bản ghi sau khoảng {minutes} phút, nên người ở cổng chưa được xóa. Kiểm tra cổng "
            "(khởi động lại nếu bị treo) rồi cho thử lại.",
            f"Gate {device} still says it is sending records after some {minutes} minutes, so people have not been removed from "
            "it. Look at the gate (restart it if it hangs), then try again.",
        )
        return NeedsPerson(cause="gate_still_sending", subject=device, message=text)

    def _ask_again(self, device: str, proof: str, asks: int) -> InProgress:
        state = {"drained": device, "proof": proof, "asks": str(asks)}
        return InProgress(state=state, after_s=self._profile["drain_ask_s"])


def _stand(one: Outgoing, state: Mapping[str, str]) -> tuple[str, int]:
    """Where one's conversation stands: its next step, and how often that was refused."""
    proof = state.get("proof", "")
    if proof not in (_ASKED, _AGAIN):
        return (_ALONE if proof == _ALONE else _FREE), 0
    # Those that began before tries were kept count as broken off.
    if state.get("attempt") != str(one.attempt):
        return _AGAIN, 0
    return proof, int(state.get("asks", "0"))


_ASKED = "asked"
"""Its records were asked for, and it took the question."""
_AGAIN = "again"
"""They are to be asked for again, and it has not taken the question yet."""
_FREE = "free"
"""Its records are here, or have had their time: next is the deletion."""
_ALONE = "alone"
"""The same, but told of nobody else in the same command."""
