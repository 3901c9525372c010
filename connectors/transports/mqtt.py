"""The MQTT client: a persistent session with acknowledgements given by hand, in MQTT 5 or 3.1.1 as the broker has it.

One concern: bringing publications to the caller in batches, and PUBACKs back in arrival order. Everything happens on
the caller's event loop, so there is no thread to wait for. It must never acknowledge anything the caller has not, or
send an acknowledgement that belongs to an earlier connection.

When the hand-off queue is full the client stops reading, and what waits, waits at the broker. Not for long, though: a
broker would pile up QoS 0 publications without bound. After `patience_s` it reads on and *sheds*: a QoS 0 publication
is lost, as QoS 0 allows; a QoS 1 one is left unacknowledged and counted, and once everything else is acknowledged the
client reconnects and the broker delivers it again. In MQTT 5 the broker is told how many QoS 1 publications the queue
holds; not every broker keeps to it.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

import msgspec

from connectors.address import AddressPolicy
from connectors.transports import mqtt_five as five
from connectors.transports import mqtt_packets as packets
from connectors.transports.mqtt_link import Link, Refused, dial
from connectors.transports.mqtt_offer import Offer
from connectors.transports.mqtt_outbox import Outbox
from connectors.transports.mqtt_packets import Malformed
from connectors.transports.mqtt_settings import MqttSettings
from connectors.transports.mqtt_shapes import Arrived, MqttStats, Presence
from connectors.transports.tls import tls_context

_CONNECT_S = 10.0
_AGAIN_S, _AGAIN_MOST_S = 0.25, 15.0
_BATCH_BYTES = 8 << 20
"""A batch ends behind so much: of publications with pictures few are in work at a time."""


class MqttClient:
    """A client for one event loop. `subscriptions` are `(filter, qos)`; a QoS of 2 is taken as 1.

    With `persistent` the broker keeps the session under the client id while the client is away. `guard` limits the addresses
    it connects to; without one, any: for the hub's own broker. `redeliver_gap_s`: at least this long between two reconnects
    for what was shed. `patience_s`: how long a full queue stops the reading. `presence`: what the session tells of itself.
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
        patience_s: float = 2.0,
        presence: Presence | None = None,
    ) -> None:
        self._settings = settings
        self._subscriptions = [(f, min(q, 1)) for f, q in subscriptions]
        self._guard = guard
        self._tls: ssl.SSLContext | None = tls_context(settings.ca_pem) if settings.tls else None
        self._presence = presence
        self._hello = partial(
            packets.connect, settings.client_id, settings.keepalive_s, not persistent, settings.username, password
        )
        self._session = five.session(persistent, settings.capacity, settings.capacity_bytes)
        self._offer = Offer()
        self._queue: deque[Arrived] = deque()
        self._queued_bytes = 0
        self._order: deque[Arrived] = deque()  # QoS 1 of this generation, in arrival order, not yet PUBACKed
        self._owed = False
        self._redelivered_at = float("-inf")
        self._redeliver_gap_s = redeliver_gap_s
        self._patience_s = patience_s
        self._losing_patience: asyncio.TimerHandle | None = None  # while reading is stopped
        self._shedding = False
        self._asking: asyncio.TimerHandle | None = None
        self._stopped = False
        self._refused = False
        self._refusal: str | None = None
        self._outbox = Outbox()
        self._granted = five.EVERYTHING
        self._link: Link | None = None  # only while the session stands
        self._answer: asyncio.Future[bool] | None = None  # while an attempt waits for CONNACK
        self._redelivering = False
        self._keeping: asyncio.Task[None] | None = None
        self._arrival = asyncio.Event()
        self._up = asyncio.Event()
        self._answered = asyncio.Event()  # up, or told why not
        self._stats = MqttStats()

    def __repr__(self) -> str:
        return f"MqttClient({self._settings.client_id!r} at {self._settings.host}:{self._settings.port})"

    # -- the session

    async def start(self) -> None:
        """Begin connecting, and keep connected. Returns at once; `connected()` waits."""
        self._keeping = asyncio.create_task(self._keep())

    async def connected(self, timeout_s: float, *, patient: bool = True) -> bool:
        """Whether the session stands within the time; without patience, False at the first refusal. It goes on trying."""
        try:
            async with asyncio.timeout(timeout_s):
                await (self._up if patient else self._answered).wait()
        except TimeoutError:
            return False
        return self._up.is_set()

    async def stop(self) -> None:
        """Say goodbye. What was not acknowledged stays with the broker."""
        self._stopped = True
        for timer in (self._asking, self._losing_patience):
            if timer is not None:
                timer.cancel()
        link = self._link
        if link is not None:
            self._announce(link, False)
            link.close(packets.GOODBYE)
            await link.ended
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None

    @property
    def refusal(self) -> str | None:
        """Why the address policy kept the client from connecting; None when it did not."""
        return self._refusal

    @property
    def confirms(self) -> bool:
        """Whether the broker takes QoS 1, and so answers a publication."""
        return self._granted.qos > 0

    @property
    def stats(self) -> MqttStats:
        """The counts as they are now."""
        return msgspec.structs.replace(self._stats, queued=len(self._queue))

    async def _keep(self) -> None:
        wait = _AGAIN_S
        while not self._stopped:
            link = await self._open()
            if link is not None:
                wait = _AGAIN_S
                beating = asyncio.create_task(link.beat(self._granted.beat_s(self._settings.keepalive_s)))
                try:
                    await asyncio.shield(link.ended)
                finally:
                    beating.cancel()
                if self._redelivering:
                    self._redelivering = False
                    continue
            elif self._offer.at_once:
                continue
            await asyncio.sleep(wait * random.uniform(0.7, 1.3))  # noqa: S311 - so that clients do not come all at once
            wait = min(wait * 2, _AGAIN_MOST_S)

    async def _open(self) -> Link | None:
        """One attempt: a connection, CONNECT, the broker's yes. None when it did not come to that."""
        s = self._settings
        offered = self._offer.next()
        answer = self._answer = asyncio.get_running_loop().create_future()
        link: Link | None = None
        try:
            async with asyncio.timeout(_CONNECT_S):
                link = await dial(s.host, s.port, self._tls, self._guard, self._heard, self._over, s.capacity_bytes)
                will = (self._presence.topic, self._presence.will()) if self._presence is not None else None
                link.five = offered
                link.write(self._hello(will, self._session if offered else None))
                if await answer:
                    return link
        except Refused as error:
            self._refusal = self._stats.last_error = str(error)
        except (OSError, TimeoutError) as error:
            self._stats.last_error = f"{type(error).__name__}: {error}"
            if link is not None and offered:  # connected, and left without an answer
                (self._offer.silent if isinstance(error, TimeoutError) else self._offer.hung_up)()
        finally:
            self._answer = None
            if link is not None and self._link is not link:
                link.abort()
        self._tell()
        return None

    def _connack(self, link: Link, body: bytes | memoryview) -> None:
        """The broker's answer. Taken where it is heard: publications may stand right behind it."""
        if self._answer is None or self._answer.done():
            raise Malformed("a CONNACK that nobody waits for")
        code, kept, reason, granted = five.connack(body, link.five)
        self._refused = False
        if not code:
            self._stand(link, kept, granted)
        else:
            self._stats.last_error = reason
            if link.five and code == five.BAD_VERSION:
                self._offer.refused()
            else:
                self._refused = True
        self._answer.set_result(not code)

    def _stand(self, link: Link, kept: bool, granted: five.Granted) -> None:
        """The session stands; `kept`: the broker had it already."""
        self._offer.taken()
        self._refusal = self._stats.last_error = None
        self._stats.connected = True
        self._link = link
        self._granted = granted
        self._outbox.opened(granted)
        if kept:
            # The broker still has what was not acknowledged and sends it again: keeping ours too would double it.
            # Without a session our copies may be the only ones, and stay.
            self._queue = deque(a for a in self._queue if a.qos == 0)
            self._queued_bytes = sum(len(a.payload) for a in self._queue)
        if self._subscriptions:
            link.write(packets.subscribe(self._outbox.number(), self._subscriptions, link.five))
        self._announce(link, True)
        self._tell()

    def _announce(self, link: Link, born: bool) -> None:
        if (presence := self._presence) is not None:
            payload = presence.birth() if born else presence.death()
            link.write(packets.publish(presence.topic, payload, retain=True, five=link.five))

    def _over(self, link: Link, reason: str | None) -> None:
        """A connection is over, and with it every number given on it."""
        if self._answer is not None and not self._answer.done():
            self._stats.last_error = reason
            if link.five:
                self._offer.hung_up()
            self._answer.set_result(False)
        if self._link is not link:
            return
        self._link = None
        self._stats.connected = False
        if reason is not None:
            self._stats.last_error = reason
        self._stats.generation += 1
        self._order.clear()
        self._owed = False  # the next connection brings all of it
        self._read_on()
        self._outbox.over()
        self._tell()

    def _tell(self) -> None:
        up = self._stats.connected
        for event, so in ((self._up, up), (self._answered, up or self._refused or self._refusal is not None)):
            (event.set if so else event.clear)()

    # -- what arrives

    def _heard(self, link: Link, found: list[tuple[int, bytes | memoryview]]) -> None:
        now, generation, speaks_five = time.time(), self._stats.generation, link.five
        for head, body in found:
            kind = head >> 4
            if kind == packets.PUBLISH:
                self._take(Arrived(head, body, generation, now, speaks_five))
            elif kind == packets.PUBACK:
                self._outbox.heard(link, *five.puback(body))
            elif kind == packets.CONNACK:
                self._connack(link, body)
            elif kind == packets.SUBACK:
                if (refusal := five.refusal(body, speaks_five)) is not None:
                    self._stats.last_error = refusal
            elif kind == packets.DISCONNECT and speaks_five:
                link.abort(five.farewell(body))
                return
            elif kind != packets.PINGRESP:
                raise Malformed(f"a packet of kind {kind}")
        if self._held(1.0):
            self._stop_reading(link)

    def _take(self, arrived: Arrived) -> None:
        self._stats.received += 1
        if self._shedding:
            if arrived.qos:
                self._stats.shed += 1
                self._owed = True
            else:
                self._stats.lost += 1
            return
        self._queue.append(arrived)
        self._queued_bytes += len(arrived.payload)
        if arrived.qos:
            self._order.append(arrived)
        self._arrival.set()

    def _held(self, share: float) -> bool:
        """Whether the queue is filled to this share of its bounds."""
        s = self._settings
        return len(self._queue) >= s.capacity * share or self._queued_bytes >= s.capacity_bytes * share

    def _stop_reading(self, link: Link) -> None:
        if self._losing_patience is None and not self._shedding:
            link.pause()
            self._losing_patience = asyncio.get_running_loop().call_later(self._patience_s, self._shed, link)

    def _shed(self, link: Link) -> None:
        self._losing_patience = None
        self._shedding = True
        link.resume()

    def _read_on(self) -> None:
        """There is room again."""
        self._shedding = False
        if self._losing_patience is not None:
            self._losing_patience.cancel()
            self._losing_patience = None
            if self._link is not None:
                self._link.resume()

    async def batch(self, limit: int, linger_s: float = 0.0) -> list[Arrived]:
        """The next publications in arrival order, 1 to `limit`; after the first it waits at most `linger_s` for more."""
        while not self._queue:
            self._arrival.clear()
            await self._arrival.wait()
        if linger_s > 0 and len(self._queue) < limit:
            await asyncio.sleep(linger_s)
        queue = self._queue
        taken: list[Arrived] = []
        size = 0
        while queue and len(taken) < limit and size < _BATCH_BYTES:
            size += len(queue[0].payload)
            taken.append(queue.popleft())
        self._queued_bytes -= size
        if (self._shedding or self._losing_patience is not None) and not self._held(0.5):
            self._read_on()
        self._ask_again_if_due()
        return taken

    # -- what is said

    def ack(self, batch: Sequence[Arrived]) -> int:
        """Acknowledge publications whose facts are stored. PUBACKs leave in arrival order over all batches: one that
        is acknowledged before an older one waits for it. Gives how many belonged to a connection that has ended;
        those are not sent, the broker delivers them again."""
        stale, generation = 0, self._stats.generation
        for arrived in batch:
            if self._link is None or arrived.generation != generation:
                stale += arrived.qos > 0
            else:
                arrived.settled = True
        order = self._order
        out: list[bytes] = []
        while order and order[0].settled:
            out.append(packets.puback(order.popleft().mid))
        if out and self._link is not None:
            self._link.write(b"".join(out))
            self._stats.acked += len(out)
        self._stats.stale_acks += stale
        self._ask_again_if_due()
        return stale

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> int | None:
        """Publish without waiting; an empty payload, retained, clears the topic. None when not taken: no connection, no topic for it, or
        at QoS 0 a broker that does not read or takes none so long; else its number, which at QoS 1 must go to `confirmed`."""
        link = self._link
        if link is None or (link.clogged and not qos):
            return None
        mid = self._outbox.number() if qos else 0
        try:
            packet = packets.publish(topic, payload, min(qos, 1), mid, retain=retain, five=link.five)
        except ValueError:
            return None
        if qos:
            self._outbox.send(link, mid, packet)
        elif len(packet) <= self._granted.packet_most:
            link.write(packet)
        else:
            return None
        return mid

    async def confirmed(self, mid: int, timeout_s: float) -> bool:
        """See `mqtt_outbox.Outbox.confirmed`."""
        return await self._outbox.confirmed(mid, timeout_s)

    def _ask_again_if_due(self) -> None:
        """End the connection so that the broker delivers what was shed; `_keep` makes the next one at once. Only when
        everything taken is acknowledged, so that no work is done twice: what was shed fills the broker's window, hence
        the moment comes however busy the broker is."""
        if not self._owed or self._queue or self._order or self._asking is not None or self._link is None:
            return
        now = time.monotonic()
        if now - self._redelivered_at < self._redeliver_gap_s:
            self._asking = asyncio.get_running_loop().call_later(self._redeliver_gap_s, self._ask_later)
            return
        self._redelivered_at = now
        self._redelivering = True
        self._link.close(packets.GOODBYE)  # after the PUBACKs still on their way out

    def _ask_later(self) -> None:
        self._asking = None
        self._ask_again_if_due()
