#!/usr/bin/env python3
"""Reference publisher for gates of the tree campus/v1: one file to copy, standard library and paho-mqtt (2.x) only.

One concern: events survive. An event is on disk before it is shown as recorded, and leaves the queue only when the hub's own
acknowledgement names it; the broker's PUBACK means nothing here. It must never send a picture, nor retain an event.

    python publisher.py --school 31HP0000001 --device G1 --queue g1.db --host broker.example --username G1 --password …
    {"person": "HS000123", "direction": "in", "method": "face"}        one check-in per line on standard input

It offers the broker MQTT 5, and 3.1.1 from then on to a broker that has no 5: events, acknowledgements and commands are the same in
both, for all that must be understood stands in the payloads. What 5 has besides (a trace beside the payload, answers on a topic of the
sender's choice) is left out in 3.1.1.

The rules are in README.md, the messages in asyncapi.yaml. A kill at any place leaves at worst an event that is sent twice:
the hub knows it by its id.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import ssl
import sys
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WINDOW = 50
"""Events sent and not yet acknowledged."""
AGAIN_S, AGAIN_MOST_S = 10.0, 120.0
"""How long an acknowledgement is waited for; doubled with each try, with jitter, so that gates do not come all at once."""
ANSWER_S = 10.0
"""How long a broker may take to answer a CONNECT."""
LIVE_S = 60.0
"""An event sent later than this after it happened is history."""
KEPT = 20_000
"""Acknowledged events kept for a `resend`."""
UNSUPPORTED_VERSION, UNANSWERED = 0x84, 3
"""How a broker refuses MQTT 5, and how many CONNECTs in a row without an answer have the other version offered."""

TOLD = {
    "direction": ("in", "out", "unknown"),
    "method": ("face", "card", "finger", "unknown"),
    "verify": ("none", "allowed", "refused", "unregistered"),
}
"""What a gate tells of a check-in in words, as in evt.schema.json; number, name and time are the publisher's own."""

_TABLES = """
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, body TEXT NOT NULL, acked INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS waiting ON events (seq) WHERE acked = 0;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


def now_ms() -> int:
    """UTC, milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Queue:
    """Events on disk. Every method is one transaction, and on the disk when it returns."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_TABLES)

    def _do(self, text: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(text, values).fetchall()

    def put(self, device: str, event: dict[str, Any]) -> int:
        """Keep an event under the next number; gives the number. The id never comes again, also not after a new disk."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            (last,) = self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()
            name = f"{device[:24]}-{last + 1}-{os.urandom(6).hex()}"
            self._db.execute("INSERT INTO events (seq, id, body) VALUES (?, ?, ?)", (last + 1, name, json.dumps(event)))
            return int(last) + 1

    def last(self) -> int:
        """The last number given."""
        return int(self._do("SELECT COALESCE(MAX(seq), 0) FROM events")[0][0])

    def waiting(self, most: int) -> list[tuple[int, str, str]]:
        """(number, id, body) of the oldest events not acknowledged."""
        return self._do("SELECT seq, id, body FROM events WHERE acked = 0 ORDER BY seq LIMIT ?", most)

    def acked(self, names: list[str]) -> list[int]:
        """The hub has these for good; gives their numbers. The oldest of them are forgotten, never the last number."""
        numbers: list[int] = []
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for name in names:
                found = self._db.execute(
                    "UPDATE events SET acked = 1 WHERE id = ? AND acked = 0 RETURNING seq", (name,)
                )
                numbers += [row[0] for row in found.fetchall()]
            self._db.execute("DELETE FROM events WHERE acked = 1 AND seq < (SELECT MAX(seq) FROM events) - ?", (KEPT,))
        return numbers

    def again(self, first: int, last: int) -> int:
        """Send these once more; gives how many of them there still are."""
        return len(self._do("UPDATE events SET acked = 0 WHERE seq BETWEEN ? AND ? RETURNING seq", first, last))

    def birth(self) -> int:
        """A number for a new session, never given before."""
        text = "INSERT INTO facts VALUES ('bd', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value"
        return int(self._do(text)[0][0])


class Publisher:
    """One gate. `record` may be called from any thread, with or without a connection."""

    def __init__(self, queue: Queue, school: str, device: str, again_s: float = AGAIN_S) -> None:
        self._queue, self._device, self._again_s = queue, device, again_s
        self._base = f"campus/v1/{school}/{device}"
        self._lock = threading.Lock()
        self._sent: dict[int, tuple[float, int]] = {}  # number → (when to send again, tries)
        self._hub = False
        self._bd = 0
        self._work = threading.Event()
        self._five, self._answered, self._refused_five, self._unanswered = True, False, False, 0
        self._named: tuple[str, str] | None = None
        self._trust: ssl.SSLContext | None = None
        self._client = self._made()

    def _made(self) -> paho.Client:
        """A client of the version the broker has; the session it keeps under this name is the same one in both."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"gate-{self._device}", reconnect_on_failure=False,
            protocol=paho.MQTTv5 if self._five else paho.MQTTv311, clean_session=None if self._five else False,
        )  # fmt: skip
        client.on_connect, client.on_disconnect, client.on_message = self._connected, self._disconnected, self._heard
        if self._named is not None:
            client.username_pw_set(*self._named)
        if self._trust is not None:
            client.tls_set_context(self._trust)
        return client

    def record(self, person: str | None, **more: Any) -> int:
        """Keep a check-in: `direction`, `method`, `similarity`, `verify` as in evt.schema.json, and nothing else of `more`: a
        picture does not come as far as the disk. On disk when this returns."""
        kept = {name: more[name] for name, words in TOLD.items() if more.get(name) in words}
        if isinstance(more.get("similarity"), int | float):
            kept["similarity"] = more["similarity"]
        number = self._queue.put(self._device, {"person": person, "time": now_ms(), **kept})
        self._work.set()
        return number

    def run(self, host: str, port: int, stop: threading.Event) -> None:
        """Connect, and connect again, until `stop` is set."""
        wait = 0.5
        while not stop.is_set():
            self._bd = self._queue.birth()
            self._client.will_set(f"{self._base}/state", json.dumps({"state": "death", "bd": self._bd}), 1)
            kept: dict[str, Any] = {}
            if self._five:
                forever = Properties(PacketTypes.CONNECT)
                forever.SessionExpiryInterval = 0xFFFFFFFF
                kept = {"clean_start": False, "properties": forever}
            self._answered = False
            try:
                self._client.connect(host, port, 20, **kept)
                self._client.loop_start()
                started = time.monotonic()
                while not stop.is_set() and (self._client.is_connected() or time.monotonic() - started < ANSWER_S):
                    if self._refused_five:
                        break
                    self._work.wait(0.2)
                    self._work.clear()
                    self._push()
                    if self._client.is_connected():
                        wait, started = 0.5, 0.0
                # A broker of 3.1.1 may hang up on a CONNECT of 5; so does one that is being restarted.
                self._unanswered = 0 if self._answered else self._unanswered + 1
            except OSError as error:
                print(f"no connection: {error}", file=sys.stderr)
            finally:
                self._client.disconnect()
                self._client.loop_stop()
            if self._refused_five or self._unanswered >= UNANSWERED:
                self._five, self._refused_five, self._unanswered = not self._five, False, 0
                self._client = self._made()
            if not stop.is_set():
                stop.wait(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                wait = min(wait * 2, 60.0)

    def _push(self) -> None:
        """Send what waits, in order, within the window; what was not acknowledged in time once more."""
        if not self._hub or not self._client.is_connected():
            return
        now = time.monotonic()
        for number, name, body in self._queue.waiting(WINDOW):
            with self._lock:
                due, tries = self._sent.get(number, (0.0, 0))
                if due > now:
                    continue
                wait = min(self._again_s * 2**tries, AGAIN_MOST_S) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                self._sent[number] = (now + wait, tries + 1)
            event = json.loads(body)
            event |= {"id": name, "seq": number, "is_historical": tries > 0 or now_ms() - event["time"] > LIVE_S * 1000}
            # In both places: a user property ends at the broker where a subscriber speaks 3.1.1, and the member is hidden to
            # whatever stands on the way.
            trace = f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"
            event["traceparent"] = trace
            beside = Properties(PacketTypes.PUBLISH)
            beside.UserProperty = [("traceparent", trace)]
            self._client.publish(f"{self._base}/evt", json.dumps(event), 1, retain=False, properties=beside)

    def _connected(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._answered = True
        if reason.is_failure:
            self._refused_five = self._five and reason.value == UNSUPPORTED_VERSION
            print(f"the broker refused: {reason}", file=sys.stderr)
            return
        self._hub = False  # until the retained state says otherwise
        client.subscribe([("campus/v1/STATE", 1), (f"{self._base}/cmd", 1)])
        birth = {"state": "birth", "bd": self._bd, "time": now_ms(), "seq": self._queue.last()}
        client.publish(f"{self._base}/state", json.dumps(birth), 1)
        with self._lock:
            self._sent.clear()

    def _disconnected(self, *_: Any) -> None:
        self._hub = False

    def _heard(self, client: Any, _data: Any, message: Any) -> None:
        try:
            said = json.loads(message.payload)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        if message.topic == "campus/v1/STATE":
            self._hub = said.get("state") == "online"
            self._work.set()
            return
        if isinstance(said.get("ack"), list):
            numbers = self._queue.acked([name for name in said["ack"] if isinstance(name, str)])
            with self._lock:
                for number in numbers:
                    self._sent.pop(number, None)
            self._work.set()
        if isinstance(said.get("id"), str):
            self._answer(client, said["id"], said, message)

    def _answer(self, client: Any, name: str, said: dict[str, Any], message: Any) -> None:
        """Do a command and say so: on the topic its sender asked for, or on `res`."""
        code, span = 1, said.get("resend")
        if isinstance(span, dict) and type(span.get("from")) is int and type(span.get("to")) is int:
            code = 0 if self._queue.again(span["from"], span["to"]) else 2
            with self._lock:
                for number in [n for n in self._sent if span["from"] <= n <= span["to"]]:
                    del self._sent[number]
            self._work.set()
        asked = getattr(message, "properties", None)
        echo = Properties(PacketTypes.PUBLISH)
        if (data := getattr(asked, "CorrelationData", None)) is not None:
            echo.CorrelationData = data
        topic = getattr(asked, "ResponseTopic", None) or f"{self._base}/res"
        client.publish(topic, json.dumps({"id": name, "code": code}), 1, properties=echo)

    def login(self, username: str, password: str) -> None:
        """The name and secret the hub gave this gate."""
        self._named = (username, password)
        self._client.username_pw_set(*self._named)

    def tls(self, authority: str) -> None:
        """Speak TLS, and trust this authority (a PEM file)."""
        self._trust = ssl.create_default_context(cafile=authority)
        self._client.tls_set_context(self._trust)


def read(line: str) -> dict[str, Any] | None:
    """A check-in: one JSON object, whose `person` is a code or null; None for anything else."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    person = said.get("person")
    return said if person is None or (isinstance(person, str) and 0 < len(person) <= 60) else None


def main() -> None:
    """Read check-ins from standard input, one JSON object a line; `recorded <number>` is said when it is on disk. What is none is passed
    over, and said so."""
    ask = argparse.ArgumentParser(description="Reference publisher for campus/v1")
    for name in ("school", "device", "queue", "host"):
        ask.add_argument(f"--{name}", required=True)
    ask.add_argument("--port", type=int, default=1883)
    for name in ("username", "password", "ca"):
        ask.add_argument(f"--{name}")
    ask.add_argument("--again-s", type=float, default=AGAIN_S, help="how long an acknowledgement is waited for")
    given = ask.parse_args()
    publisher = Publisher(Queue(given.queue), given.school, given.device, given.again_s)
    if given.username:
        publisher.login(given.username, given.password or "")
    if given.ca:
        publisher.tls(given.ca)
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(given.host, given.port, stop), daemon=True)
    thread.start()
    for line in open(0, encoding="utf-8", errors="replace", closefd=False):  # noqa: SIM115 - standard input, never closed
        said = read(line)
        if said is None:
            print("passed over: a check-in is one JSON object, its person a code or null", file=sys.stderr, flush=True)
        else:
            print("recorded", publisher.record(said.pop("person", None), **said), flush=True)
    thread.join()


if __name__ == "__main__":
    main()
