"""Before rendering: what need not go because the receiver has it, and what may not go yet because it leans on something.

One concern: which mapped deliveries are sent now. A few set-based questions per batch at most, none for a flow that asks for
none. It must never hold up a delivery for something the hub has never had: the receiver may have it, and will say.
"""

from __future__ import annotations

import hashlib
import time
from uuid import UUID

from msgspec.structs import replace

from hub.kernel.documents import documents_of, elsewhere_of
from hub.kernel.ledger import dependencies, files
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.shapes import Claimed, Conclusion, TaskSpec
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text
from hub.kernel.router import Target as FlowTarget
from hub.worker.judge import conclude_not_theirs
from hub.worker.target import Target

RECHECK_S = 900.0
"""How often a waiting delivery looks again by itself; what it waits for wakes it sooner."""
_REMEMBER_S = 60.0
_REMEMBER = 100_000


class Admission:
    """For one connector."""

    def __init__(self, core: Core, target: Target) -> None:
        self._core = core
        self._target = target
        self._met: dict[str, float] = {}
        """Needs seen met, and when: most records of a batch name the same school and class."""

    async def sift(self, mapped: list[Claimed]) -> list[Conclusion]:
        """Take out of `mapped` what is not sent now; how those end. Fills in `content` where changes alone are sent."""
        ended = await self._badly_signed(mapped)
        ended += await self._unchecked(mapped)
        ended += await self._not_theirs(mapped)
        flows = {d.flow: self._core.router.targets.get((d.flow, self._target.number)) for d in mapped}
        leaning = any(f is not None and (f.only_changes or f.needs) for f in flows.values())
        if not leaning and all(d.anchor is None for d in mapped):
            return ended
        for d in mapped:
            out = d.outgoing
            if out is not None and self._core.router.tracks(d.flow, self._target.number, out.type):
                d.content = dependencies.content_of(out.event, out.mapped)
        ended += await self._unchanged(mapped, flows)
        ended += await self._waiting(mapped, flows)
        held = {c.delivery.id for c in ended}
        mapped[:] = [d for d in mapped if d.id not in held]
        return ended

    async def _not_theirs(self, mapped: list[Claimed]) -> list[Conclusion]:
        """Passages of those known as staff alone, where a flow is about learners. Taken out of `mapped`."""
        asked: dict[int, str] = {}
        for d in mapped:
            flow, out = self._core.router.targets.get((d.flow, self._target.number)), d.outgoing
            if flow is not None and flow.whose == "learners" and out is not None and out.body.get("person_code"):
                asked[d.id] = out.body["person_code"]
        if not asked or not (staff := await dependencies.staff(self._core, sorted(set(asked.values())))):
            return []
        ended = [conclude_not_theirs(d) for d in mapped if asked.get(d.id) in staff]
        mapped[:] = [d for d in mapped if asked.get(d.id) not in staff]
        return ended

    async def _badly_signed(self, mapped: list[Claimed]) -> list[Conclusion]:
        """Filings with a document whose signature does not hold: a person looks first. Taken out of `mapped`."""
        asked: dict[int, list[UUID]] = {}
        for d in mapped:
            if d.outgoing is not None and d.outgoing.type == "filing" and (found := documents_of(d.outgoing.body)):
                asked[d.id] = found
        if not asked:
            return []
        bad = await files.bad(self._core, self._target.number, sorted({f for fs in asked.values() for f in fs}))
        if not bad:
            return []
        ended = [
            self._unsound(d, next(f for f in asked[d.id] if f in bad))
            for d in mapped
            if not bad.isdisjoint(asked.get(d.id, ()))
        ]
        held = {c.delivery.id for c in ended}
        mapped[:] = [d for d in mapped if d.id not in held]
        return ended

    def _unsound(self, d: Claimed, file: UUID) -> Conclusion:
        text = Text(
            "Chữ ký trên một tài liệu của hồ sơ không hợp lệ. Hãy xem chi tiết ở bản ghi; yêu cầu nộp lại, hoặc cho gửi nguyên trạng.",
            "A signature on one of the filing's documents does not hold. See the record; have it handed in again, or let it go as it is.",
        )
        task = TaskSpec(connector=self._target.number, cause="bad_signature", subject=str(file), text=text)
        return Conclusion(
            delivery=d, target=State.PARKED, cause="needs_person", outcome="BadSignature", reason=f"document {file.hex}", task=task
        )  # fmt: skip

    async def _unchecked(self, mapped: list[Claimed]) -> list[Conclusion]:
        """Filings with a document kept elsewhere, where a flow has a person look at such first. Taken out of `mapped`."""
        asked: dict[int, str] = {}
        for d in mapped:
            flow, out = self._core.router.targets.get((d.flow, self._target.number)), d.outgoing
            if flow is not None and flow.unchecked == "park" and out is not None and (found := elsewhere_of(out.body)):
                asked[d.id] = _addresses(out.key, found)
        if not asked:
            return []
        seen = await files.let_go(self._core, self._target.number, sorted(set(asked.values())))
        held = {number: subject for number, subject in asked.items() if subject not in seen}
        ended = [self._elsewhere(d, held[d.id]) for d in mapped if d.id in held]
        mapped[:] = [d for d in mapped if d.id not in held]
        return ended

    def _elsewhere(self, d: Claimed, subject: str) -> Conclusion:
        text = Text(
            "Hồ sơ có tài liệu lưu ở nơi khác: trục chưa xem và chưa kiểm tra chữ ký. Hãy mở tài liệu ở nơi lưu để xem, rồi cho gửi "
            "hoặc yêu cầu nộp lại.",
            "The filing names documents kept elsewhere, which the hub has not seen and whose signatures it has not checked. Look at "
            "them where they are kept; let it go, or have them handed in again.",
        )
        task = TaskSpec(connector=self._target.number, cause="unchecked_document", subject=subject, text=text)
        return Conclusion(
            delivery=d, target=State.PARKED, cause="needs_person", outcome="UncheckedDocument", reason=f"documents elsewhere: {subject}",
            task=task,
        )  # fmt: skip

    async def _unchanged(self, mapped: list[Claimed], flows: dict[str, FlowTarget | None]) -> list[Conclusion]:
        asked: dict[tuple[str, str], Claimed] = {}
        for d in mapped:
            flow, out = flows[d.flow], d.outgoing
            # A first version is new to everybody; what a person ordered again is sent again, as it is.
            new = out is None or (out.version == 1 and d.replay_of is None)
            if flow is not None and flow.only_changes and out is not None and not new and not d.replay_of:
                asked[out.type, out.key] = d
        if not asked:
            return []
        ended: list[Conclusion] = []
        given = await dependencies.last_given(self._core, self._target.number, sorted(asked))
        for entity, d in asked.items():
            content, version = given.get(entity, (b"", 0))
            if content == d.content:
                why = "nothing that travels has changed"
                ended.append(
                    Conclusion(delivery=d, target=State.DELIVERED, cause="unchanged", outcome="Unchanged", reason=why)
                )
            elif d.outgoing is not None and version >= d.outgoing.version:
                # The same record, but another content by now (a code has a new meaning): the receiver must see it as newer,
                # and whatever comes after it too.
                d.outgoing = replace(d.outgoing, version=version + 1)
        return ended

    async def _waiting(self, mapped: list[Claimed], flows: dict[str, FlowTarget | None]) -> list[Conclusion]:
        wanted: dict[int, list[str]] = {}
        # Never asked again here whether there is one by now: these are named without it already.
        held: dict[int, str] = {}
        now = time.monotonic()
        for d in mapped:
            flow, out = flows[d.flow], d.outgoing
            if flow is None or out is None or out.event == "CANCEL":
                continue
            if d.anchor is not None and flow.temporary == "wait":
                held[d.id] = dependencies.lasting(d.anchor)
            if not flow.needs:
                continue
            names = dependencies.needs_of(self._core, self._target.number, d.flow, out.type, out.key, out.body)
            if rest := [n for n in names if self._met.get(n, 0.0) < now]:
                wanted[d.id] = rest
        if wanted:
            met, absent = await dependencies.missing(
                self._core, self._target.number, {n for ns in wanted.values() for n in ns}
            )
            if len(self._met) > _REMEMBER:
                self._met.clear()
            self._met.update(dict.fromkeys(met, now + _REMEMBER_S))
            # The last of what is missing leans on the others itself: waiting for it is waiting once.
            held |= {
                number: rest[-1] for number, names in wanted.items() if (rest := [n for n in names if n in absent])
            }
        if not held:
            return []
        facts = await dependencies.facts(self._core, list(held))
        ended: list[Conclusion] = []
        for d in mapped:
            if d.id not in held or facts.get(d.id, (True, 0.0))[0]:
                continue
            flow = flows[d.flow]
            assert flow is not None
            overdue = facts[d.id][1] > flow.patience_h * 3600
            ended.append(self._parked(d, held[d.id]) if overdue else _wait(d, held[d.id]))
        return ended

    def _parked(self, d: Claimed, name: str) -> Conclusion:
        what, stem = dependencies.split(name)
        text = (
            _CODELESS
            if what == dependencies.CODE
            else Text(
                f"Bản ghi cần “{what} {stem}” có trước ở hệ thống nhận, nhưng đã chờ quá lâu. Hãy xem vì sao bản ghi đó chưa "
                "được nhận, hoặc cho gửi luôn.",
                f"The record needs “{what} {stem}” at the receiver first, and has waited too long for it. See why that one has "
                "not been taken, or have this sent anyway.",
            )
        )
        task = TaskSpec(connector=self._target.number, cause=dependencies.OVERDUE, subject=name, text=text)
        return Conclusion(
            delivery=d, target=State.PARKED, cause="needs_person", outcome="Prerequisite", reason=f"waits for {name}", task=task
        )  # fmt: skip


_CODELESS = Text(
    "Lượt qua cổng của học sinh mang mã tạm đã chờ mã chính thức quá lâu. Hãy xem vì sao học sinh chưa có mã (hồ sơ chưa gửi được, hoặc "
    "trường chưa báo mã), hoặc cho gửi luôn với mã tạm.",
    "Passages of a learner under a temporary code have waited too long for the lasting one. See why there is none (the learner was "
    "not taken, or the school has not told the code), or have them sent under the temporary code.",
)


def _addresses(number: str, found: dict[str, str]) -> str:
    """A task's subject: the filing and what its addresses hash to, in any order. Other addresses ask a person anew; the same
    ones in a later version do not, and none is told to whoever may read a task."""
    digest = hashlib.blake2b("\n".join(sorted(set(found.values()))).encode(), digest_size=6).hexdigest()
    return f"{number} #{digest}"


def _wait(d: Claimed, name: str) -> Conclusion:
    return Conclusion(
        delivery=d, target=State.WAITING, cause="prerequisite", outcome="Prerequisite", reason=f"waits for {name}", waits_for=name,
        after_s=RECHECK_S,
    )  # fmt: skip
