"""The content-based router: which flows a record takes, decided from its type and a few named conditions.

Pure once loaded. Flows are declared in `flows/<flow>/flow.yaml`; YAML declares, it never computes. It must never map
fields or know a connector's address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct

from hub.kernel.ports import Draft, Text
from mappings.canonical.registry import TYPES

_PASSAGE, _FILING = "checkin", "filing"
_IDENTITY_FIELDS = ("personal_number", "full_name", "birth_date", "sex")
PRIORITY_S = {"high": -600.0, "normal": 0.0, "low": 600.0}
"""What a flow's priority is worth in the fair queue: a head start, never a right of way, so nothing starves."""
HISTORY_S = 900.0
"""How far stored-and-forwarded events stand behind live ones."""


class Prior(Struct, frozen=True, kw_only=True):
    """The current version of an entity, as the ledger holds it under lock."""

    version: int
    event: str
    content: bytes
    identity: bytes | None
    record: int
    school: str | None


class Need(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the receiver must have first: an entity named by members of the record (the leading fields of its key).

    Fewer members than the key has mean: any entity whose key begins so.
    """

    type: str
    by: tuple[str, ...]

    def of(self, body: Mapping[str, Any]) -> str | None:
        """The need's name, `<type>:<leading key fields>/`; None when the record names nothing of the kind."""
        parts = [body.get(member) for member in self.by]
        return None if None in parts else f"{self.type}:{'/'.join(map(str, parts))}/"


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One target of a flow, as declared."""

    connector: str
    map: str
    when: str = "always"
    order: Literal["key", "none"] = "key"
    on_park: Literal["hold", "skip"] = "hold"
    coalesce: Literal["never", "latest"] = "never"
    unmapped: Literal["park", "reject"] = "park"
    priority: Literal["high", "normal", "low"] = "normal"
    only_changes: bool = False
    """What would travel is compared with what the receiver was last given: the same is not sent again."""
    needs: tuple[Need, ...] = ()
    patience_h: float = 24.0
    """Hours a delivery waits for what it needs before a person is asked."""
    allow: tuple[Literal["health"], ...] = ()
    fresh_within_s: float | None = None
    """What happened longer ago is not told: asked when it is routed, and once more before it is sent. None: no limit."""
    unchecked: Literal["send", "park"] = "send"
    """Of filings alone: what to do with one that names a document by an address elsewhere, whose signatures the hub has not seen
    and cannot answer for. `park` asks a person first."""
    whose: Literal["everybody", "learners"] = "everybody"
    """`learners`, of passages alone: one of somebody the hub has a record of as staff and none as a learner is not sent. Whom it
    has no record of is. Decided before sending, by who the person is then."""
    temporary: Literal["send", "wait"] = "send"
    """Of passages alone: what to do with one of a learner under a temporary code. With a lasting code it is told by that in any
    case; `wait` keeps it until there is one (`patience_h`), for a receiver that could never find out whose it was."""


class Flow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A declared route: which record types go where, mapped how."""

    name: str
    title: Text
    records: list[str]
    to: list[Target]
    version: int = 1
    note: Text | None = None


class Route(Struct, frozen=True, kw_only=True):
    """A flow's target with its connector's number: what the ledger needs for one delivery."""

    flow: str
    connector: int
    ordered: bool
    coalesce: bool
    priority_s: float
    history_s: float
    fresh_within_s: float | None = None

    def takes(self, happened: datetime, now: datetime) -> bool:
        """Whether what happened then is still worth telling."""
        return self.fresh_within_s is None or (now - happened).total_seconds() <= self.fresh_within_s


def _always(draft: Draft, prior: Prior | None, identity: bytes | None) -> bool:
    return True


def _identity_changed(draft: Draft, prior: Prior | None, identity: bytes | None) -> bool:
    """A personal number is there, and it, the name, the birth date or the sex is new."""
    if draft.event == "CANCEL" or not draft.body.get("personal_number"):
        return False
    return prior is None or prior.event == "CANCEL" or prior.identity != identity


def _attended(draft: Draft, prior: Prior | None, identity: bytes | None) -> bool:
    """The gate let the person in: refused and unregistered faces are kept, not reported as attendance."""
    return draft.body.get("verify_status") in (None, "allowed")


def _said_here(draft: Draft, prior: Prior | None, identity: bytes | None) -> bool:
    """The agency said it itself: what the portal told is not told back to it."""
    return bool(draft.body.get("said_by", "agency") == "agency")


CONDITIONS: Mapping[str, Callable[[Draft, Prior | None, bytes | None], bool]] = {
    "always": _always,
    "identity_changed": _identity_changed,
    "attended": _attended,
    "said_here": _said_here,
}


class FlowFaulty(Exception):
    """Tệp luồng không hợp lệ. / A flow file is not valid: the message names the file and the place."""


def load_flows(folder: Path) -> dict[str, Flow]:
    """Read every `flow.yaml` under `folder`. Raises `FlowFaulty` with the file's name and what is wrong in it."""
    flows: dict[str, Flow] = {}
    for path in sorted(folder.glob("*/flow.yaml")):
        try:
            flow = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Flow)
        except (msgspec.ValidationError, yaml.YAMLError) as error:
            raise FlowFaulty(f"{path.parent.name}/flow.yaml: {error}") from None
        for target in flow.to:
            if target.when not in CONDITIONS:
                raise FlowFaulty(
                    f"{path.parent.name}/flow.yaml: no condition {target.when!r}; there are {', '.join(CONDITIONS)}"
                )
            if target.fresh_within_s is not None and target.order != "none":
                # One that is passed over must not have been what others wait behind.
                raise FlowFaulty(f"{path.parent.name}/flow.yaml: fresh_within_s asks for `order: none`")
            if target.whose != "everybody" and set(flow.records) != {_PASSAGE}:
                # Only a passage names the person it is asked of.
                raise FlowFaulty(f"{path.parent.name}/flow.yaml: whose asks for `records: [{_PASSAGE}]`")
            if target.temporary != "send" and set(flow.records) != {_PASSAGE}:
                # What else is about a learner names them as their own record does.
                raise FlowFaulty(f"{path.parent.name}/flow.yaml: temporary asks for `records: [{_PASSAGE}]`")
            if target.unchecked != "send" and set(flow.records) != {_FILING}:
                # Only a filing names documents.
                raise FlowFaulty(f"{path.parent.name}/flow.yaml: unchecked asks for `records: [{_FILING}]`")
            for need in target.needs:
                spec = TYPES.get(need.type)
                if spec is None or not 0 < len(need.by) <= len(spec.key_fields):
                    raise FlowFaulty(
                        f"{path.parent.name}/flow.yaml: {need.type} has no key made of {', '.join(need.by)}"
                    )
            if (target.only_changes or target.needs) and target.order != "key":
                raise FlowFaulty(f"{path.parent.name}/flow.yaml: only_changes and needs ask for `order: key`")
            if target.only_changes and target.when != "always":
                # What is compared with the receiver's state must not hang on how a record came about.
                raise FlowFaulty(f"{path.parent.name}/flow.yaml: only_changes asks for `when: always`")
        flows[flow.name] = flow
    return flows


class Router:
    """Flows bound to the connectors that exist."""

    def __init__(self, flows: Mapping[str, Flow], connectors: Mapping[str, int]) -> None:
        self.flows = dict(flows)
        self._by_type: dict[str, list[tuple[Callable[[Draft, Prior | None, bytes | None], bool], Route]]] = {}
        self.targets: dict[tuple[str, int], Target] = {}
        self.needed: dict[tuple[int, str], frozenset[int]] = {}
        """(connector, record type) → how many leading key fields others name it by: what may wait for it there."""
        self.bind(connectors)

    def bind(self, connectors: Mapping[str, int]) -> None:
        """Take the connectors there are now. Targets without a connector get no deliveries."""
        by_type: dict[str, list[tuple[Callable[[Draft, Prior | None, bytes | None], bool], Route]]] = {}
        targets: dict[tuple[str, int], Target] = {}
        needed: dict[tuple[int, str], frozenset[int]] = {}
        for flow in self.flows.values():
            for target in flow.to:
                number = connectors.get(target.connector)
                if number is None:
                    continue
                targets[flow.name, number] = target
                for need in target.needs:
                    place = (number, need.type)
                    needed[place] = needed.get(place, frozenset()) | {len(need.by)}
                route = Route(
                    flow=flow.name,
                    connector=number,
                    ordered=target.order == "key",
                    coalesce=target.coalesce == "latest",
                    priority_s=PRIORITY_S[target.priority],
                    history_s=HISTORY_S,
                    fresh_within_s=target.fresh_within_s,
                )
                for record_type in flow.records:
                    if "*" in TYPES[record_type].health_fields and "health" not in target.allow:
                        continue
                    by_type.setdefault(record_type, []).append((CONDITIONS[target.when], route))
        self._by_type, self.targets, self.needed = by_type, targets, needed

    def of(self, record_type: str) -> list[Route]:
        """Every route records of a type may take."""
        return [route for _condition, route in self._by_type.get(record_type, ())]

    def route(self, draft: Draft, prior: Prior | None, identity: bytes | None = None) -> list[Route]:
        """The routes this draft takes. `identity`: what `identity(draft)` gave, for those that need it."""
        candidates = self._by_type.get(draft.type)
        if not candidates:
            return []
        return [route for condition, route in candidates if condition(draft, prior, identity)]

    @staticmethod
    def identity(draft: Draft) -> bytes | None:
        """16 bytes over the fields that say who a person is; None for what is not a person."""
        if draft.type not in ("learner", "staff"):
            return None
        body: Mapping[str, Any] = draft.body
        sex = body.get("sex")
        parts = [str((sex or {}).get("code")) if f == "sex" else str(body.get(f)) for f in _IDENTITY_FIELDS]
        return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).digest()

    def tracks(self, flow: str, connector: int, record_type: str) -> bool:
        """Whether what this flow's receiver was last given is written down: to send only changes, or for others' needs."""
        target = self.targets.get((flow, connector))
        return target is not None and (target.only_changes or (connector, record_type) in self.needed)

    def fresh_enough(self, flow: str, connector: int, happened: datetime, now: datetime) -> bool:
        """Whether what happened then may still be sent in this flow."""
        target = self.targets.get((flow, connector))
        limit = target.fresh_within_s if target is not None else None
        return limit is None or (now - happened).total_seconds() <= limit

    def steps_aside(self, flow: str, connector: int) -> bool:
        """Whether a parked delivery of this flow lets its followers pass."""
        target = self.targets.get((flow, connector))
        return target is not None and target.on_park == "skip"
