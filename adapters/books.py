"""A simulated system's books: every effect it was made to have, kept through a kill.

One concern: remembering, so that a test can compare what was sent with what was really done. It must never judge a
request. Books are a JSON-lines file. An effect is written with one `write` before its answer leaves, so a killed
process loses nothing it has answered for; a torn last line belongs to a request that was never answered and is cut
off at start.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field


class Effect(Struct, frozen=True, kw_only=True):
    """One thing the system was made to do: what a human inspector would find there."""

    seq: int
    key: str
    """Business key."""
    version: int
    event: str
    type: str
    at: str
    """UTC, ISO 8601."""
    content: dict[str, Any] = field(default_factory=dict)
    """What `restore` needs to rebuild the state."""


class Books:
    """Append-only memory of effects, with tallies. `path` None keeps it in memory only (tests)."""

    def __init__(self, path: Path | None = None) -> None:
        """Open, and read what an earlier run left. Raises OSError when the file cannot be opened."""
        self.effects: list[Effect] = []
        self.refusals: Counter[str] = Counter()
        self.repeats = 0
        self.order_violations: list[dict[str, Any]] = []
        self._seen: Counter[tuple[str, str, int, str]] = Counter()
        self._highest: dict[tuple[str, str], int] = {}
        self._pending: list[Effect] = []
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            self._read_back()

    def _read_back(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        data = self._file.read()
        end = data.rfind(b"\n") + 1
        if end != len(data):
            self._file.truncate(end)
        decode = msgspec.json.Decoder(Effect).decode
        for line in data[:end].splitlines():
            self._take(decode(line))

    def _take(self, effect: Effect) -> None:
        entity = (effect.type, effect.key)
        held = self._highest.get(entity)
        if held is not None and effect.version < held:
            self.out_of_order(effect.key, held, effect.version)
        self._highest[entity] = max(held or 0, effect.version)
        self._seen[(effect.type, effect.key, effect.version, effect.event)] += 1
        self.effects.append(effect)

    def put(
        self, *, key: str, version: int = 1, event: str, type: str, content: dict[str, Any] | None = None
    ) -> Effect:
        """Record an effect. It reaches the file in `flush`, before the answer leaves."""
        at = datetime.now(UTC).isoformat()
        seq = len(self.effects) + 1
        effect = Effect(seq=seq, key=key, version=version, event=event, type=type, at=at, content=content or {})
        self._take(effect)
        if self._file is not None:
            self._pending.append(effect)
        return effect

    def refuse(self, reason: str) -> None:
        """Count a refused item or request."""
        self.refusals[reason] += 1

    def repeat(self) -> None:
        """Count something offered again that had no second effect."""
        self.repeats += 1

    def out_of_order(self, key: str, held: int, version: int) -> None:
        """Note an older version that came after a newer one, though it had no effect."""
        self.order_violations.append({"key": key, "held": held, "version": version})

    def flush(self) -> None:
        """Hand what is new to the operating system, in one write."""
        if self._pending and self._file is not None:
            encode = msgspec.json.encode
            self._file.write(b"".join([encode(e) + b"\n" for e in self._pending]))
            self._pending.clear()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._file is not None:
            self._file.close()

    def summary(self) -> dict[str, Any]:
        """Tallies. `doubles` lists (type, key, version, event) that had an effect more than once."""
        doubles = [
            {"type": t, "key": k, "version": v, "event": e, "times": n}
            for (t, k, v, e), n in self._seen.items()
            if n > 1
        ]
        return {
            "effects": len(self.effects),
            "keys": len(self._highest),
            "by_type": dict(Counter(e.type for e in self.effects)),
            "by_event": dict(Counter(f"{e.type}.{e.event}" for e in self.effects)),
            "doubles": doubles,
            "order_violations": self.order_violations,
            "repeats": self.repeats,
            "refusals": dict(self.refusals),
        }
