"""The bare limit of the devices' path: the hub's own MQTT client draining the broker, and nothing else done.

Each batch: COPY of keys and messages into tables without indexes, one device acknowledgement per publication, the
PUBACKs. No firewall, no decoding, no records. Runs as a process until terminated.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any
from uuid import uuid4

import asyncpg
import uvloop

from connectors.transports.mqtt import MqttClient, MqttSettings


async def drain(job: dict[str, Any]) -> None:
    """Drain until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await asyncpg.create_pool(job["url"], min_size=1, max_size=2)
    client = MqttClient(
        MqttSettings(host="127.0.0.1", port=job["port"], username=job["user"], client_id=job["client"]), password=job["password"],
        subscriptions=[(topic, 1) for topic in job["topics"]],
    )  # fmt: skip
    await client.start()

    async def work() -> None:
        number = 0
        while True:
            batch = await client.batch(500, 0.005)
            keys = [(uuid4(), number + n, b"d" * 32) for n in range(len(batch))]
            messages = [(number + n, a.topic, a.payload) for n, a in enumerate(batch)]
            number += len(batch)
            async with pool.acquire() as connection, connection.transaction():
                await connection.copy_records_to_table("mqtt_keys", schema_name="bare", records=keys)
                await connection.copy_records_to_table("mqtt_messages", schema_name="bare", records=messages)
            for a in batch:
                event = json.loads(a.payload)["id"]
                client.publish(a.topic[:-3] + "cmd", b'{"ack":["%s"]}' % event.encode(), 0)
            client.ack(batch)

    working = asyncio.create_task(work())
    await stop.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await client.stop()
    await pool.close()


if __name__ == "__main__":
    uvloop.run(drain(json.loads(sys.argv[1])))
