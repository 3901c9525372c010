"""The bare limit of the devices' path: the hub's own MQTT client draining the broker, and nothing else done.

Each batch: COPY of keys and messages into tables without indexes, one device acknowledgement per publication, the
PUBACKs. No firewall, no decoding, no records. With `library` the client is paho's, with its thread, as most programs
would use it. Runs as a process until terminated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections import deque
from typing import Any
from uuid import uuid4

import asyncpg
import paho.mqtt.client as paho
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from connectors.transports.mqtt import MqttClient, MqttSettings


class Library:
    """paho's client behind the few calls of ours that a drain needs."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Any] = deque()
        self._arrival = asyncio.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=job["client"],
            clean_session=False,
            protocol=paho.MQTTv311,
            manual_ack=True,
        )
        self._client.username_pw_set(job["user"], job["password"])
        self._client.max_inflight_messages_set(1000)
        self._client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in job["topics"]])
        self._client.on_message = self._heard
        self._port = job["port"]

    def _heard(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._queue.append(message)
        if len(self._queue) == 1:
            self._loop.call_soon_threadsafe(self._arrival.set)

    async def start(self) -> None:
        """Connect in a thread of its own."""
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()

    async def batch(self, limit: int, linger_s: float) -> list[Any]:
        """As `MqttClient.batch`."""
        while not self._queue:
            self._arrival.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrival.wait(), 0.05)
        await asyncio.sleep(linger_s)
        return [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """As `MqttClient.publish`."""
        self._client.publish(topic, payload, qos)

    def ack(self, batch: list[Any]) -> None:
        """As `MqttClient.ack`."""
        for message in batch:
            self._client.ack(message.mid, message.qos)

    async def stop(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)


async def drain(job: dict[str, Any]) -> None:
    """Drain until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await asyncpg.create_pool(job["url"], min_size=1, max_size=2)
    client: Any = Library(job) if job.get("library") else MqttClient(
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
