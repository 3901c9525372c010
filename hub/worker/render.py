"""From claimed deliveries to calls: mapping, rendering, and the stored bytes of what is sent again.

One concern: what would be sent. A record that cannot go out as it is ends in a conclusion of its own and holds up nobody
beside it. It must never send.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from hub.kernel.ledger import dispatch as ledger
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.given_codes import name_lasting
from hub.kernel.ledger.shapes import Batch, Claimed, Conclusion
from hub.kernel.ports import Call, Reading
from hub.worker import judge
from hub.worker.admission import Admission
from hub.worker.conversations import Conversations
from hub.worker.target import Target
from hub.worker.versions import Versions
from mappings.engine import Unmapped

log = logging.getLogger("hub.dispatch")

COUNTS_AS = "counts_as"
"""Where a readdressed call's `meta` keeps, for each of its deliveries, the one its adapter wrote into it: pairs of ids."""

Rendered = tuple[Call, str, Claimed]
"""A call, the version of what mapped it, and the first delivery it is for."""


class Renderer:
    """Renders for one connector."""

    def __init__(self, core: Core, target: Target) -> None:
        self.core = core
        self.target = target
        self._admission = Admission(core, target)
        self._conversations = Conversations(core, target)
        self._versions = Versions(core)

    async def render(self, batch: Batch) -> tuple[list[Rendered], list[Conclusion]]:
        """Calls for a batch, and conclusions for what cannot become one."""
        calls: list[Rendered] = []
        ended: list[Conclusion] = []
        fresh: list[Claimed] = []
        resend: dict[int, list[Claimed]] = {}
        await name_lasting(self.core, self.target.number, batch.deliveries)
        deliveries, going_on = await self._conversations.apart(batch.deliveries)
        for d in deliveries:
            if d.resend is not None and (stale := self._stale(d)) is not None:
                ended.append(stale)  # too late to be told is too late for the same bytes as well
            elif d.resend is not None:
                # What went out together goes out together again: a batch replayed is one call, not one for each of its items.
                resend.setdefault(d.resend, []).append(d)
            else:
                conclusion = self._map(d)
                if conclusion is None:
                    fresh.append(d)
                else:
                    ended.append(conclusion)
        if any(c.outcome == "Unmapped" for c in ended):
            ended = await self._map_again(ended, fresh)
        ended += await self._admission.sift(fresh)
        if resend:
            stored = await ledger.stored_calls(self.core, {call: group[0].klass for call, group in resend.items()})
            for number, group in resend.items():
                if number not in stored or not stored[number][0].body:
                    gone = LookupError("the stored request has expired and cannot be sent again as it was")
                    ended += [judge.conclude_unrenderable(d, self.target.number, gone) for d in group]
                    continue
                old, mapping = stored[number]
                calls.append((readdressed(old, group), mapping, group[0]))
        rendered, failed = self._render(fresh)
        calls += rendered
        if going_on:
            resumed, stuck = self._conversations.resumed(going_on, self._map)
            calls += [(call, d.mapping, d) for call, d in resumed]
            ended += stuck
        await self._versions.keep()
        return calls, ended + failed

    def halved(self, deliveries: list[Claimed]) -> list[Rendered]:
        """Deliveries that went out together, in two halves; nothing where their bytes are pinned, a conversation about them has
        begun (it would begin anew), or one cannot go alone."""
        if any(d.resend is not None or d.talking for d in deliveries):
            return []
        middle = (len(deliveries) + 1) // 2
        calls: list[Rendered] = []
        for part in (deliveries[:middle], deliveries[middle:]):
            rendered, failed = self._render(part)
            if failed:
                return []
            calls += rendered
        return calls

    def _map(self, d: Claimed) -> Conclusion | None:
        """Fill in `mapped` and what mapped it; a conclusion when the record cannot go out as it is."""
        out = d.outgoing
        assert out is not None
        if (stale := self._stale(d)) is not None:
            return stale
        field_map = self.target.maps.get(d.flow)
        if field_map is None:
            return judge.conclude_unrenderable(d, self.target.number, LookupError(f"flow {d.flow!r} has no field map"))
        try:
            meta = {
                "event": out.event, "version": out.version, "updated_at": out.updated_at, "key": out.key,
                "file_address": self.target.file_address,
            }  # fmt: skip
            catalogue = self.core.catalogue
            mapped = field_map.apply(out.body, meta, catalogue)
        except Unmapped as unmapped:
            return judge.conclude_unmapped(d, self.target.number, unmapped, self.target.unmapped.get(d.flow, "park"))
        except Exception as error:
            log.exception("%s: mapping %s failed", self.target.name, d.id)
            return judge.conclude_unrenderable(d, self.target.number, error)
        d.outgoing = replace(out, mapped=mapped)
        d.mapping = self._versions.name(d.flow, field_map, catalogue)
        return None

    def _stale(self, d: Claimed) -> Conclusion | None:
        """Not sent when what happened is too long ago for its flow (`fresh_within_s`), however the delivery came to be sent."""
        out = d.outgoing
        if out is None or self.core.router.fresh_enough(d.flow, self.target.number, out.updated_at, self.core.moment()):
            return None
        return judge.conclude_stale(d)

    async def _map_again(self, ended: list[Conclusion], fresh: list[Claimed]) -> list[Conclusion]:
        """Before parking for a code, look whether somebody approved it meanwhile."""
        before = self.core.catalogue.version
        await self.core.refresh(max_age_s=1.0)
        if self.core.catalogue.version == before:
            return ended
        still: list[Conclusion] = []
        for c in ended:
            again = self._map(c.delivery) if c.outcome == "Unmapped" else c
            if again is None:
                fresh.append(c.delivery)
            else:
                still.append(again)
        return still

    def _render(self, fresh: list[Claimed]) -> tuple[list[Rendered], list[Conclusion]]:
        """Calls of what was mapped: a call is mapped by one version, which it names."""
        by_id = {d.id: d for d in fresh}
        calls: list[Rendered] = []
        ended: list[Conclusion] = []
        for mapping in dict.fromkeys(d.mapping for d in fresh):
            rendered, failed = self._render_alike([d for d in fresh if d.mapping == mapping])
            calls += [(call, mapping, by_id[call.deliveries[0]]) for call in rendered]
            ended += failed
        return calls, ended

    def _render_alike(self, fresh: list[Claimed]) -> tuple[list[Call], list[Conclusion]]:
        """Render a batch; when that fails, one by one, so that a single record cannot hold up the others."""
        outgoing = [d.outgoing for d in fresh if d.outgoing is not None]
        if not outgoing:
            return [], []
        most = self.target.policy.batch_max
        try:
            # A connector may be told to put less into one call than its contract would take.
            return [
                c for n in range(0, len(outgoing), most) for c in self.target.adapter.render(outgoing[n : n + most])
            ], []
        except Exception:
            log.exception("%s: rendering a batch of %d failed; trying one by one", self.target.name, len(outgoing))
        calls: list[Call] = []
        failed: list[Conclusion] = []
        for d, out in zip(fresh, outgoing, strict=True):
            try:
                calls.extend(self.target.adapter.render([out]))
            except Exception as error:
                failed.append(judge.conclude_unrenderable(d, self.target.number, error))
        return calls, failed


def _roots(call: Call) -> dict[int, int]:
    """For each delivery of a readdressed call the one its bytes were rendered for; empty for a call as rendered."""
    return dict(call.meta.get(COUNTS_AS, ()))


def root_of(call: Call, delivery: int) -> int:
    """The delivery that the adapter knows `delivery` of this call by."""
    return _roots(call).get(delivery, delivery)


def readdressed(call: Call, group: list[Claimed]) -> Call:
    """A stored call that now counts for these deliveries: a replay is another delivery with the same bytes.

    What the adapter wrote into `meta` names the first deliveries; `restored` brings its answers back to these.
    """
    ids = tuple(d.id for d in group)
    if call.deliveries == ids:
        return call
    roots = _roots(call)
    known = [(d.id, d.id if d.id in call.deliveries or d.replay_of is None else d.replay_of) for d in group]
    return replace(
        call, deliveries=ids, meta=call.meta | {COUNTS_AS: [[mine, roots.get(old, old)] for mine, old in known]}
    )


def restored(call: Call, reading: Reading) -> Reading:
    """A reading in terms of the deliveries a readdressed call counts for."""
    roots = _roots(call)
    if not roots:
        return reading
    said = reading.outcomes
    reading.outcomes = {
        mine: said[mine] if mine in said else said[root] for mine, root in roots.items() if mine in said or root in said
    }
    if reading.next is not None:
        named = set(reading.next.deliveries)
        mine_now = tuple(mine for mine, root in roots.items() if mine in named or root in named)
        pairs = [[mine, roots[mine]] for mine in mine_now]
        reading.next = replace(reading.next, deliveries=mine_now, meta=reading.next.meta | {COUNTS_AS: pairs})
    return reading
