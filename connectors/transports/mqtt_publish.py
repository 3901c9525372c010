"""Calls as MQTT publications: a call's path is the topic, the broker's PUBACK is the reply.

One concern: sending a call to a broker. It must never take a PUBACK for more than it is: the broker has the
publication; whether a subscriber acted on it is another message. Where the settings name the topics of answers, a call may
wait for its receiver's own answer (see `mqtt_answers`): silence is then a reply of its own, status 200 with the header
`x-no-answer`, for it is the receiver that is away, not the broker.
"""

from __future__ import annotations

import asyncio
import time

from connectors.address import AddressPolicy
from connectors.errors import AddressRefused, CredentialsRefused, QosRefused
from connectors.transports import mqtt_five as five
from connectors.transports.base import Request
from connectors.transports.mqtt import MqttClient
from connectors.transports.mqtt_answers import Answers, wanted
from connectors.transports.mqtt_outbox import NotTaken
from connectors.transports.mqtt_settings import CAPABILITIES, MqttSettings
from hub.kernel.ports import COMMANDS_USER, PROBE, Call, MaybeSent, NotSent, Reply

__all__ = ["CAPABILITIES", "MqttTransport"]

_REFUSALS = ("not authorized", "bad user name or password")
_STATUS = {five.NOT_AUTHORIZED: 406, five.BAD_TOPIC: 406, five.TOO_LARGE: 413, five.BAD_PAYLOAD: 415}
"""What a broker refuses for the publication's own sake, in HTTP's words for it: neither a fault of the broker's, nor anything another
try could mend. A right it misses is one topic's: other receivers' publications pass, so it is none of 401 and 403."""


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
        self._answers = Answers()
        self._listening: asyncio.Task[None] | None = None
        self._closed = False

    def request(self, call: Call) -> Request:
        """A publication to the topic `call.path`, without one leading stroke."""
        topic = call.path.removeprefix("/")
        if not topic or len(topic.encode()) > 65535 or any(c in topic for c in "+#\x00"):
            raise NotSent("the call's topic cannot be published to")
        return Request(method="PUBLISH", url=topic, body=call.body, headers=dict(call.headers))

    async def exchange(self, request: Request, deadline_s: float) -> Reply:
        """Publish with QoS 1 and wait for the PUBACK: an empty reply of status 200; or for the receiver's answer. What the broker
        refuses for its own sake has the status in `_STATUS`, and the broker's reason as its body."""
        want = wanted(request.headers) if self._settings.answers else None
        if want is None:
            return await self._publish(request, deadline_s)
        started = time.perf_counter()
        published = asyncio.Event()
        try:
            async with asyncio.timeout(deadline_s * 0.9), self._answers.turn(request.url, want) as future:
                return await self._command(request, future, started, deadline_s, published)
        except TimeoutError:
            if published.is_set():
                raise MaybeSent("no PUBACK within the deadline") from None
            # The one before it had the receiver's turn, or there was no session: nothing was published.
            raise NotSent("the receiver is busy with the command before") from None

    async def _command(
        self,
        request: Request,
        future: asyncio.Future[bytes],
        started: float,
        deadline_s: float,
        published: asyncio.Event,
    ) -> Reply:
        left = deadline_s * 0.8 - (time.perf_counter() - started)
        if left <= 0:
            raise NotSent("the receiver is busy with the command before")
        reply = await self._publish(request, left, published)
        if reply.status != 200:
            return reply
        left = min(deadline_s * 0.8 - (time.perf_counter() - started), self._settings.answer_s)
        await asyncio.wait({future}, timeout=max(left, 0.05))
        spent = (time.perf_counter() - started) * 1000
        if not future.done():
            return Reply(status=200, body=b"", headers={"x-no-answer": "1"}, elapsed_ms=spent)
        return Reply(status=200, body=future.result(), elapsed_ms=spent)

    async def _listen(self, client: MqttClient) -> None:
        while True:
            for arrived in await client.batch(200):
                if not arrived.retain:
                    self._answers.heard(arrived.topic, arrived.payload)
                client.ack([arrived])

    async def _publish(self, request: Request, deadline_s: float, published: asyncio.Event | None = None) -> Reply:
        started = time.perf_counter()
        client = await self._ready(min(deadline_s, self._connect_s))
        mid = client.publish(request.url, request.body, 1)
        if mid is None:
            raise NotSent("the MQTT client took no publication")
        if published is not None:
            published.set()
        spent = time.perf_counter() - started
        try:
            confirmed = await client.confirmed(mid, max(deadline_s - spent, 0))
        except NotTaken as error:
            if (status := _STATUS.get(error.code or 0)) is not None:
                spent = time.perf_counter() - started
                return Reply(status=status, body=f"MQTT: {error}".encode(), elapsed_ms=spent * 1000)
            raise NotSent(f"the broker does not take the publication: {error}") from None
        if not confirmed:
            raise MaybeSent("no PUBACK within the deadline")
        return Reply(status=200, body=b"", elapsed_ms=(time.perf_counter() - started) * 1000)

    async def reach(self, deadline_s: float) -> None:
        """Connect and log in to the broker, under a client id of its own: the session may be another process's, and a broker
        ends it for whoever comes second under its name. At the hub's own broker that name is the user's, so another signs in,
        and never the user itself in its stead: a broker that refuses it has to be told of both."""
        s = self._settings
        update = {"client_id": s.client_id + PROBE, "answers": ""}
        if s.username == COMMANDS_USER:
            update["username"] = COMMANDS_USER + PROBE
        apart = s.model_copy(update=update)
        other = MqttTransport(apart, self._policy, password=self._password, connect_s=self._connect_s)
        try:
            await other._ready(min(deadline_s, self._connect_s))
        finally:
            await other.close()

    async def close(self) -> None:
        """End the session, for good: another process may have it from here on. What is out has no answer then."""
        self._closed = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        if self._client is not None:
            client, self._client = self._client, None
            await client.stop()

    async def _ready(self, timeout_s: float) -> MqttClient:
        if self._closed:
            raise NotSent("the session was given up")
        if self._client is None:
            filters = [(self._settings.answers, 0)] if self._settings.answers else []
            self._client = MqttClient(
                self._settings, password=self._password, persistent=False, guard=self._policy, subscriptions=filters
            )
            await self._client.start()
            if filters:
                self._listening = asyncio.create_task(self._listen(self._client))
        if not await self._client.connected(timeout_s, patient=False):
            error = self._client.stats.last_error
            if self._client.refusal is not None:
                raise AddressRefused(self._client.refusal)
            if error is not None and error.lower().startswith(_REFUSALS):
                raise CredentialsRefused(f"the broker refused the session of {self._settings.username or '-'}: {error}")
            raise NotSent(f"no MQTT session: {error or 'timed out'}")
        if not self._client.confirms:
            raise QosRefused("the broker takes QoS 0 only")
        return self._client
