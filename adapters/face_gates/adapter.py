"""People to face terminals and away from them: canonical gate_person to the commands of the `mqtt/face` dialect.

One concern: which command when, and what its answer means. Pure. It must never put a picture itself into a command, name a
picture's address unless the deployment allows it, or delete a person before the gate was asked for its stored records.

What a kill leaves: every command is harmless twice. A deletion is a conversation: the gate is asked for its records, then whether
it has sent them all (where its dialect can tell; else it is given time), and only then told to delete; where it stood is the
ledger's to know. That it takes a question proves that it sent them only while every question since was answered: after a silence,
a kill, a broker that was away or a person's release it may have been restarted in the middle, and is asked for its records again.
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
    """See `hub.kernel.ports.Adapter` and `Converser`. Settings: `allow_photo_url`, `drain_first`."""

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        self._photos = bool(settings["allow_photo_url"])
        self._drain = bool(settings["drain_first"])
        self._profile = profile
        self._commands = Commands(profile)
        self._turn_s = 2 * profile["gap_ms"]["plain"] / 1000
        """Each who waits takes two commands of its gate's time: the question, and the deletion."""

    def render(self, batch: Sequence[Outgoing]) -> list[Call]:
        """EditPerson each, AddPersons where several of one gate go by address, DeletePersons (or, first, the question for
        the gate's records) for those that are cancelled. Raises `PhotoNotPassed` for a picture that must not travel."""
        gates: dict[tuple[str, str], list[Outgoing]] = {}
        for one in batch:
            gates.setdefault((device_of(one), self._kind(one)), []).append(one)
        calls: list[Call] = []
        for (device, kind), ones in gates.items():
            most = {"add": self._profile["add_max"], "delete": self._profile["delete_max"]}.get(kind, 1)
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
        device, proof = device_of(one), state.get("proof")
        if proof not in (_ASKED, _AGAIN):
            return self._commands.deletion(device, [one])
        # Those that began before these were kept count as new ones, alone, and as broken off.
        asks, size = int(state.get("asks", "0")), int(state.get("size", "1"))
        if state.get("attempt") != str(one.attempt):
            return self._commands.records(device, [one], asks=0, size=size)
        if proof == _AGAIN:
            return self._commands.records(device, [one], asks=asks, size=size)
        return self._commands.all_sent(device, one, asks, size)

    def read(self, call: Call, reply: Reply) -> Reading:
        """Read a gate's answer: `code` says it for the whole command."""
        outcome = self._outcome(call, reply)
        if not isinstance(outcome, InProgress):
            return everyone(call, outcome)
        # A step that was answered is no attempt: while the number stays, no question remained without its answer.
        attempts = {int(one): str(attempt) for one, attempt in call.meta.get("attempts", {}).items()}
        # Each goes on by itself, and a gate takes about one command a second: they set out one after the other, so that
        # none waits for its gate while it holds a place among the connector's calls.
        return Reading(
            outcomes={
                delivery: replace(
                    outcome,
                    state=outcome.state | {"attempt": attempts.get(delivery, "")},
                    after_s=outcome.after_s + place * self._turn_s,
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
        if (outcome := http_outcome(reply, device)) is not None:
            return outcome
        said = json_object(reply.body) or {}
        info = said.get("info")
        code = code_of(said.get("code", info.get("code") if isinstance(info, dict) else None))
        if said.get("operator") != f"{operator}-Ack" or code is None:
            return Unknown(reason="the gate's answer cannot be read")
        if "asks" in call.meta and code in self._profile["sending"]:
            proof = _ASKED if call.operation == "drained" else _AGAIN
            return self._still_sending(device, proof, int(call.meta["asks"]) + 1, int(call.meta["size"]))
        if code in self._profile["later"]:
            return TryLater(reason=f"gate_busy {code}", after_s=self._profile["busy_s"])
        if (known := self._profile["person"].get(code)) is not None:
            text = Text(f"Cổng {device}: {known['vi']}", f"Gate {device}: {known['en']}")
            return NeedsPerson(cause=f"gate_refused_{code}", subject=call.key or device, message=text)
        if code not in self._profile["done"]:
            text = Text(f"Cổng {device} trả lời mã {code}.", f"Gate {device} answers with code {code}.")
            return NeedsPerson(cause="gate_refused", subject=f"{device} {code}", message=text)
        if call.operation == "drained":
            return InProgress(state={"drained": device, "proof": "free"}, after_s=self._profile["drain_settle_s"])
        if call.operation == "drain":
            if self._profile["drain_evidence"] == "one_at_a_time":
                size = int(call.meta.get("size", len(call.deliveries)))
                return self._ask_again(device, _ASKED, 0, size, self._profile["drain_ask_s"])
            return InProgress(state={"drained": device}, after_s=self._profile["drain_wait_s"])
        return Receipt(reference=code)

    def _still_sending(self, device: str, proof: str, asks: int, size: int) -> Outcome:
        """The gate refused the question for the `asks`th time: again in a while, and in the end a person's to look into. A
        person's release begins with the question for its records: their advice is to restart it."""
        wait = max(self._profile["drain_ask_s"], size * self._turn_s)
        if asks * wait < self._profile["drain_give_up_s"]:
            return self._ask_again(device, proof, asks, size, wait)
        minutes = round(asks * wait / 60)
        text = Text(
            f"Cổng {device} vẫn báo đang gửi bản ghi sau khoảng {minutes} phút, nên người ở cổng chưa được xóa. Kiểm tra cổng "
            "(khởi động lại nếu bị treo) rồi cho thử lại.",
            f"Gate {device} still says it is sending records after some {minutes} minutes, so people have not been removed from "
            "it. Look at the gate (restart it if it hangs), then try again.",
        )
        return NeedsPerson(cause="gate_still_sending", subject=device, message=text)

    def _ask_again(self, device: str, proof: str, asks: int, size: int, after_s: float) -> InProgress:
        state = {"drained": device, "proof": proof, "asks": str(asks), "size": str(size)}
        return InProgress(state=state, after_s=after_s)


_ASKED = "asked"
"""Its records were asked for, and it took the question."""
_AGAIN = "again"
"""They are to be asked for again, and it has not taken the question yet."""
