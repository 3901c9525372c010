"""Upkeep in the middle of everything: bodies expire, a day long past is dropped, the coming days are made, the journal is sealed.

One concern: doing at once, on today's data, what the hub does by the hour on old data. It must never take what an open delivery
needs: that is the hub's to refuse.
"""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from hub.embedded.postgres import HUB_DATABASE, OWNER
from hub.kernel.ledger import upkeep
from tests.chaos.world import World

_CLASSES = (1, 2, 3)
_AGE_DAYS = 400
_AGED = """
DO $$
DECLARE base text := '{base}'; part text := '{base}_{day:%Y%m%d}'; d date := date '{day}';
BEGIN
  IF to_regclass('hub.' || part) IS NULL THEN
    EXECUTE format('CREATE TABLE hub.%I (LIKE hub.%I INCLUDING ALL)', part, base);
    EXECUTE format('ALTER TABLE hub.%I ATTACH PARTITION hub.%I FOR VALUES FROM (%s) TO (%s)', base, part, hub.id_day(d), hub.id_day(d + 1));
  END IF;
END $$"""
"""A table of a day of long ago, with nothing in it: what is dropped is a table all the same. One in a transaction, as the hub makes
those of the days to come."""


async def kept_up(world: World) -> str | None:
    """One round of upkeep; what of it did not come about, if anything. A kill leaves what each step has committed."""
    core = world.house.core
    day = await world.patiently(lambda: upkeep.today(core)) - timedelta(days=_AGE_DAYS)
    address = world.database.dsn(HUB_DATABASE, OWNER).url

    async def aged() -> None:
        owner = await asyncpg.connect(address)
        try:
            for name in [r["name"] for r in await owner.fetch("SELECT name FROM hub.partitioned()")]:
                for klass in _CLASSES:
                    await owner.execute(_AGED.format(base=f"{name}_c{klass}", day=day))
        finally:
            await owner.close()

    await world.patiently(aged)
    world.expired = True
    gone, dropped = 0, 0
    for klass in _CLASSES:
        gone += await world.patiently(lambda k=klass: upkeep.expire_bodies(core, k, -1))  # today's as well
        dropped += len(await world.patiently(lambda k=klass: upkeep.drop_partitions(core, k, day + timedelta(days=1))))
    await world.patiently(lambda: upkeep.make_partitions(core, 3))
    await world.patiently(lambda: upkeep.seal(core))
    return None if gone and dropped else f"{gone} bodies expired, {dropped} tables dropped"
