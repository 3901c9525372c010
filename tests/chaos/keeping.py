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
DECLARE t record; c int; part text; d date := date '{day}';
BEGIN
  PERFORM pg_advisory_xact_lock(7001);
  FOR t IN SELECT * FROM hub.partitioned() LOOP
    FOR c IN 1..3 LOOP
      part := format('%s_c%s_%s', t.name, c, to_char(d, 'YYYYMMDD'));
      CONTINUE WHEN to_regclass('hub.' || part) IS NOT NULL;
      EXECUTE format('CREATE TABLE hub.%I PARTITION OF hub.%I FOR VALUES FROM (%s) TO (%s)',
                     part, t.name || '_c' || c, hub.id_day(d), hub.id_day(d + 1));
    END LOOP;
  END LOOP;
END $$"""
"""A day of long ago, with nothing in it: what is dropped is a table all the same."""


async def kept_up(world: World) -> str | None:
    """One round of upkeep; what of it did not come about, if anything. A kill leaves what each step has committed."""
    core = world.house.core
    day = await world.patiently(lambda: upkeep.today(core)) - timedelta(days=_AGE_DAYS)
    address = world.database.dsn(HUB_DATABASE, OWNER).url

    async def aged() -> None:
        owner = await asyncpg.connect(address)
        try:
            await owner.execute(_AGED.format(day=day.isoformat()))
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
