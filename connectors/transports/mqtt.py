"""The MQTT client: a persistent session with acknowledgements given by hand.

One concern: bringing publications from the client's thread to the event loop, and PUBACKs back in arrival order. It
must never block the client's thread, acknowledge anything the caller has not, or send an acknowledgement that belongs
to an earlier connection.

What is not acknowledged stays with the broker. So when the hand-off queue is full, a QoS 1 publication is *shed*: left
unacknowledged and counted; once everything else is acknowledged the client reconnects, and the broker delivers it
again. Keep the broker's in-flight window below `capacity` and this never happens. A shed QoS 0 publication is lost, as
QoS 0 allows.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion

from connectors.address import AddressPolicy
from connectors.transports.http_wire import tls_context
from connectors.transports.mqtt_settings import MqttSettings


class Arrived:
    """One publication as it came. `generation` tells the connection it came on; `settled` is the client's own."""

    __slots__ = ("dup", "generation", "mid", "payload", "qos", "received_at", "retain", "settled", "topic")

    def __init__(self, message: paho.MQTTMessage, topic: str, generation: int, received_at: float) -> None:
        self.topic = topic
        self.payload = bytes(message.payload)
        self.qos: int = message.qos
        self.mid: int = message.mid
        self.retain: bool = message.retain
        self.dup: bool = message.dup
        self.generation = generation
        self.received_at = received_at
        self.settled = False


class MqttStats(Struct, kw_only=True):
    """Counts since the client was made; all but `connected` and `queued` only grow."""

    connected: bool = False
    generation: int = 0
    received: int = 0
    queued: int = 0
    acked: int = 0
    shed: int = 0
    """QoS 1 publications left to the broker because the queue was full."""
    lost: int = 0
    """QoS 0 publications dropped because the queue was full."""
    stale_acks: int = 0
    """Acknowledgements thrown away because their connection had ended."""
    last_error: str | None = None


class _Paho(paho.Client):
    """The library's client, connecting only where the policy lets it: checked on the very address connected to."""

    guard: AddressPolicy | None = None
    refusal: str | None = None

    def _create_socket_connection(self) -> socket.socket:
        if self.guard is None:
            return super()._create_socket_connection()
        failure: OSError | None = None
        for family, kind, protocol, _, where in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            self.refusal = self.guard.refusal(str(where[0]))
            if self.refusal is not None:
                raise OSError(self.refusal)
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self.connect_timeout)
                sock.connect(where)
            except OSError as error:
                failure = error
                sock.close()
            else:
                return sock
        raise failure or OSError(f"{self.host} has no address")


class MqttClient:
    """A client for one event loop. `subscriptions` are `(filter, qos)`; a QoS of 2 is taken as 1.

    With `persistent` the broker keeps the session under the client id while the client is away. `guard` limits the
    addresses it connects to; without one, any: for the broker the hub's own configuration names. `redeliver_gap_s`: at
    least this long between two reconnects for what was shed.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        password: str | None = None,
        subscriptions: Sequence[tuple[str, int]] = (),
        persistent: bool = True,
        guard: AddressPolicy | None = None,
        redeliver_gap_s: float = 5.0,
    ) -> None:
        self._settings = settings
        self._subscriptions = [(f, min(q, 1)) for f, q in subscriptions]
        self._lock = threading.Lock()  # held only for moments, on both threads
        self._queue: deque[Arrived] = deque()
        self._queued_bytes = 0
        self._order: deque[Arrived] = deque()  # QoS 1 of this generation, in arrival order, not yet PUBACKed
        self._owed = False
        self._redelivered_at = float("-inf")
        self._redeliver_gap_s = redeliver_gap_s
        self._asking = False
        self._stopped = False
        self._refused = False
        self._waking = False
        self._published: deque[int] = deque()
        self._confirming: dict[int, asyncio.Future[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrival = asyncio.Event()
        self._up = asyncio.Event()
        self._answered = asyncio.Event()  # up, or told why not
        self._stats = MqttStats()
        client = _Paho(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=not persistent,
            protocol=paho.MQTTv311,
            manual_ack=True,
        )
        client.guard = guard
        client.max_inflight_messages_set(1000)
        client.max_queued_messages_set(settings.capacity)
        client.reconnect_delay_set(1, 30)
        if settings.username is not None:
            client.username_pw_set(settings.username, password)
        if settings.tls:
            client.tls_set_context(tls_context(settings.ca_pem))
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda _client, _data: self._wake()
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        self._client = client

    def __repr__(self) -> str:
        return f"MqttClient({self._settings.client_id!r} at {self._settings.host}:{self._settings.port})"

    # -- on the event loop

    async def start(self) -> None:
        """Begin connecting, and keep connected. Returns at once; `connected()` waits."""
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(self._settings.host, self._settings.port, self._settings.keepalive_s)
        self._client.loop_start()

    async def connected(self, timeout_s: float, *, patient: bool = True) -> bool:
        """Wait until the session stands; False when it does not within the time. Without patience also False as soon
        as an attempt has been answered with a refusal; the client goes on trying."""
        try:
            async with asyncio.timeout(timeout_s):
                await (self._up if patient else self._answered).wait()
        except TimeoutError:
            return False
        return self._up.is_set()

    async def stop(self) -> None:
        """Say goodbye and end the thread. What was not acknowledged stays with the broker."""
        with self._lock:
            self._stopped = True
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        self._loop = None
        self._up.clear()
        for future in self._confirming.values():
            future.cancel()
        self._confirming.clear()

    @property
    def refusal(self) -> str | None:
        """Why the address policy kept the client from connecting; None when it did not."""
        return self._client.refusal

    @property
    def stats(self) -> MqttStats:
        """The counts as they are now."""
        with self._lock:
            self._stats.queued = len(self._queue)
            return MqttStats(**{f: getattr(self._stats, f) for f in MqttStats.__struct_fields__})

    async def batch(self, limit: int, linger_s: float = 0.0) -> list[Arrived]:
        """The next publications in arrival order: at least one, at most `limit`. After the first one the call
        lingers at most `linger_s` for more."""
        while not self._queue:
            self._arrival.clear()
            if self._queue:
                break
            await self._arrival.wait()
        if linger_s > 0 and len(self._queue) < limit:
            await asyncio.sleep(linger_s)
        taken: list[Arrived] = []
        with self._lock:
            while self._queue and len(taken) < limit:
                arrived = self._queue.popleft()
                self._queued_bytes -= len(arrived.payload)
                taken.append(arrived)
        self._ask_again_if_due()
        return taken

    def ack(self, batch: Sequence[Arrived]) -> int:
        """Acknowledge publications whose facts are stored. PUBACKs leave in arrival order over all batches: one that
        is acknowledged before an older one waits for it. Gives how many belonged to a connection that has ended;
        those are not sent, the broker delivers them again."""
        stale = 0
        with self._lock:
            # Under the lock no connection can end in between: paho clears its out-queue after `_on_disconnect`,
            # so nothing of an old connection is ever written on a new one.
            for arrived in batch:
                if self._stopped or arrived.generation != self._stats.generation:
                    stale += arrived.qos > 0
                else:
                    arrived.settled = True
            while self._order and self._order[0].settled and not self._stopped:
                head = self._order.popleft()
                self._client.ack(head.mid, head.qos)
                self._stats.acked += 1
            self._stats.stale_acks += stale
        self._ask_again_if_due()
        return stale

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> int | None:
        """Hand a publication to the client without waiting. None when it was not taken (no connection for QoS 0, a
        full queue, a topic that cannot be published to); else its number for `confirmed`."""
        if self._loop is None:
            return None
        try:
            info = self._client.publish(topic, payload, qos)
        except ValueError:
            return None
        if info.rc == paho.MQTT_ERR_SUCCESS or (qos > 0 and info.rc == paho.MQTT_ERR_NO_CONN):
            if qos > 0:
                self._confirming[info.mid] = self._loop.create_future()
            return info.mid
        return None

    async def confirmed(self, mid: int, timeout_s: float) -> bool:
        """Wait for the broker's PUBACK of a QoS 1 publication; False when it does not come in time."""
        future = self._confirming.get(mid)
        if future is None:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(future)
        except TimeoutError:
            return False
        return True

    def _ask_again_if_due(self) -> None:
        """End the connection so that the broker delivers what was shed; the client's thread sees the end of the socket
        and reconnects by itself. Only once everything taken is acknowledged, so that no work is done twice: what was
        shed fills the broker's window, hence the moment comes however busy the broker is."""
        if not self._owed or self._queue or self._order or self._loop is None or self._asking:
            return
        now = time.monotonic()
        if now - self._redelivered_at < self._redeliver_gap_s:
            self._asking = True
            self._loop.call_later(self._redeliver_gap_s, self._ask_later)
            return
        self._redelivered_at = now
        with self._lock:
            self._owed = False
        sock: Any = self._client.socket()
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # gone already: the reconnect it is for is under way

    def _ask_later(self) -> None:
        self._asking = False
        self._ask_again_if_due()

    def _awake(self) -> None:
        self._waking = False
        if self._queue:
            self._arrival.set()
        if self._stats.connected:
            self._up.set()
        else:
            self._up.clear()
        if self._stats.connected or self._refused or self.refusal is not None:
            self._answered.set()
        else:
            self._answered.clear()
        while self._published:
            future = self._confirming.pop(self._published.popleft(), None)
            if future is not None and not future.done():
                future.set_result(None)

    # -- on the client's thread: an exception here would end it, so nothing here may raise

    def _wake(self) -> None:
        """One call into the loop however many publications wait for it."""
        loop = self._loop
        if self._waking or loop is None:
            return
        self._waking = True
        try:
            loop.call_soon_threadsafe(self._awake)
        except RuntimeError:  # the loop has closed under us: nobody is left to wake
            self._waking = False

    def _on_connect(self, client: paho.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        with self._lock:
            if reason.is_failure:
                self._stats.last_error = str(reason)
                self._refused = True
            else:
                self._stats.connected = True
                self._stats.last_error = None
                self._refused = False
            if self._stats.connected and flags.session_present:
                # The broker still has what was not acknowledged and sends it again: keeping ours too would double it.
                # Without a session our copies may be the only ones, and stay.
                self._queue = deque(a for a in self._queue if a.qos == 0)
                self._queued_bytes = sum(len(a.payload) for a in self._queue)
        if self._stats.connected and self._subscriptions:
            client.subscribe(self._subscriptions)
        self._wake()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._lock:
            if self._stats.connected and reason.is_failure:
                self._stats.last_error = str(reason)
            self._stats.connected = False
            self._stats.generation += 1
            self._order.clear()
            self._owed = False  # the next connection brings all of it
        self._wake()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            # Not a topic MQTT allows; it goes on as a topic no device owns, is stored as invalid and acknowledged.
            topic = "\ufffd"
        size = len(message.payload)
        with self._lock:
            self._stats.received += 1
            full = len(self._queue) >= self._settings.capacity
            if full or (self._queue and self._queued_bytes + size > self._settings.capacity_bytes):
                if message.qos > 0:
                    self._stats.shed += 1
                    self._owed = True
                else:
                    self._stats.lost += 1
                return
            arrived = Arrived(message, topic, self._stats.generation, time.time())
            self._queue.append(arrived)
            self._queued_bytes += size
            if arrived.qos > 0:
                self._order.append(arrived)
        self._wake()

    def _on_publish(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        self._published.append(mid)
        self._wake()
