"""Calls as MQTT publications: a call's path is the topic, the broker's PUBACK is the reply.

One concern: sending a call to a broker. It must never take a PUBACK for more than it is: the broker has the
publication; whether a subscriber acted on it is another message.
"""

from __future__ import annotations

import time

from connectors.address import AddressPolicy
from connectors.errors import AddressRefused, CredentialsRefused
from connectors.transports.base import Request
from connectors.transports.mqtt import MqttClient
from connectors.transports.mqtt_settings import CAPABILITIES, MqttSettings
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply

__all__ = ["CAPABILITIES", "MqttTransport"]

_REFUSALS = ("not authorized", "bad user name or password")


class MqttTransport:
    """See `connectors.transports.base.Transport`. The session is made at the first call and kept."""

    def __init__(
        self, settings: MqttSettings, policy: AddressPolicy, *, password: str | None, connect_s: float
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._connect_s = connect_s
        self._password = password
        self._client: MqttClient | None = None

    def request(self, call: Call) -> Request:
        """A publication to the topic `call.path`."""
        topic = call.path
        if not topic or len(topic.encode()) > 65535 or any(c in topic for c in "+#\x00"):
            raise NotSent("the call's topic cannot be published to")
        return Request(method="PUBLISH", url=topic, body=call.body)

    async def exchange(self, request: Request, deadline_s: float) -> Reply:
        """Publish with QoS 1 and wait for the PUBACK: an empty reply of status 200."""
        started = time.perf_counter()
        client = await self._ready(min(deadline_s, self._connect_s))
        mid = client.publish(request.url, request.body, 1)
        if mid is None:
            raise NotSent("the MQTT client took no publication")
        spent = time.perf_counter() - started
        if not await client.confirmed(mid, max(deadline_s - spent, 0)):
            raise MaybeSent("no PUBACK within the deadline")
        return Reply(status=200, body=b"", elapsed_ms=(time.perf_counter() - started) * 1000)

    async def reach(self, deadline_s: float) -> None:
        """Connect and log in to the broker."""
        await self._ready(min(deadline_s, self._connect_s))

    async def close(self) -> None:
        """End the session."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.stop()

    async def _ready(self, timeout_s: float) -> MqttClient:
        if self._client is None:
            self._client = MqttClient(self._settings, password=self._password, persistent=False, guard=self._policy)
            await self._client.start()
        if not await self._client.connected(timeout_s, patient=False):
            error = self._client.stats.last_error
            if self._client.refusal is not None:
                raise AddressRefused(self._client.refusal)
            if error is not None and any(word in error.lower() for word in _REFUSALS):
                raise CredentialsRefused(f"the broker refused the session: {error}")
            raise NotSent(f"no MQTT session: {error or 'timed out'}")
        return self._client
