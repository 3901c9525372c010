"""Putting a connector together: its row, its adapter, its transport, its policy, its flows' field maps.

The only place where adapters and connectors meet. It must never send anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from redis.asyncio import Redis

from adapters.manifest import Manifest
from connectors.address import AddressPolicy
from connectors.connector import LiveConnector, build
from connectors.policy.breaker import Breaker
from connectors.policy.calendar import Calendar
from connectors.settings import ConnectorSettings, validate
from hub.batches import within
from hub.kernel.router import Router
from hub.keys import Keys
from hub.worker.kept import Kept
from hub.worker.policy import Policy
from hub.worker.serving import alone
from hub.worker.target import Target
from mappings.engine import FieldMap

_UNCLEAR_ROUNDS = 10


def secrets_of(keys: Keys, name: str, sealed: bytes | None) -> dict[str, str]:
    """A connector's secrets, opened. Sealed with its name, so that one cannot be put in another's place."""
    found: dict[str, str] = json.loads(keys.decrypt(sealed, name.encode())) if sealed else {}
    return found


def live(row: Mapping[str, Any], keys: Keys, addresses: AddressPolicy, clock: Callable[[], float]) -> LiveConnector:
    """A connector ready to send, from its row. `clock`: epoch seconds, for what it signs and how long tokens hold."""
    return build(validate(row["settings"]), secrets_of(keys, row["name"], row["secrets"]), addresses, clock)


def policy_of(settings: ConnectorSettings, manifest: Manifest, lease_s: float) -> Policy:
    """The dispatcher's numbers: the connector's policy within what the adapter allows in one call."""
    p = settings.policy
    timeout = p.timeouts.whole_s
    return Policy(
        concurrency=p.concurrency,
        batch_max=within(p.batch_max, manifest.batch_most),
        timeout_s=timeout,
        # A call must never outlive its lease without a chance to renew it.
        lease_s=max(lease_s, timeout * 1.5),
        settle_after_s=p.settle_after_s,
        absent_gap_s=p.absent_gap_s,
        unclear_for_s=_UNCLEAR_ROUNDS * max(p.settle_after_s, 1.0),
        max_attempts=200,
        retry=p.retry,
        per_second=p.quota.per_second,
        per_day=p.quota.per_day,
    )


def target_of(
    row: Mapping[str, Any], manifest: Manifest, router: Router, maps: Mapping[str, FieldMap], keys: Keys, addresses: AddressPolicy,
    redis: Redis | None, lease_s: float, clock: Callable[[], float], file_address: Callable[[int, str], str] | None = None,
) -> Target:  # fmt: skip
    """Everything the dispatcher of this connector needs. `clock`: epoch seconds as the ledger has them: hosts may disagree, and what
    is shared or signed goes by one. Raises SettingsInvalid or ManifestError for settings that do not fit."""
    settings = validate(row["settings"])
    calendar = Calendar(settings.policy.calendar)
    flows = {flow: target for (flow, number), target in router.targets.items() if number == row["id"]}
    return Target(
        number=row["id"],
        name=row["name"],
        adapter=manifest.build(settings.adapter, settings.profile),
        connector=live(row, keys, addresses, clock),
        policy=policy_of(settings, manifest, lease_s),
        maps={flow: maps[target.map].allowing(target.allow) for flow, target in flows.items()},
        unmapped={flow: target.unmapped for flow, target in flows.items()},
        inquires=manifest.inquire,
        intents=frozenset(name for name, op in manifest.operations.items() if op.intent or not op.idempotent),
        breaker=Breaker(row["name"], settings.policy.breaker, redis, clock),
        guard=settings.policy.guard,
        kept=Kept(redis, keys, row["name"]) if "cache_hours" in manifest.settings.get("properties", {}) else None,
        open_now=lambda: calendar.open_at(datetime.fromtimestamp(clock(), UTC)),
        single=alone(row),
        file_address=partial(file_address, row["id"]) if file_address is not None else None,
    )
