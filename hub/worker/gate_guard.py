"""Gates that send too much or come and go too often: held back alone, so that nobody else waits for them.

One concern: telling them, by device, in memory. It must never drop what a gate says: a gate that is held back has its
events stored behind everybody else's, and is let go by itself once it has been calm for a while. Only of what no gate can be
known by, and is refused, it says after the first few that they are enough."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence

from msgspec import Struct

from hub.kernel.ledger.alarms import Alarm
from hub.kernel.ports import Text

FLOOD, FLAPPING = "gate_flood", "gate_flapping"
KINDS = (FLOOD, FLAPPING)


_TOPIC = Text(
    "Quá nhiều bản tin không rõ của cổng nào; sự kiện vẫn lưu đủ nhưng xếp sau. Trên chủ đề dùng chung, tin bị từ chối chỉ giữ vài"
    " bản mỗi giờ cho mỗi lý do.",
    "Too much comes that is no known gate's; events are all stored, but behind others. On a topic that gates share only the first few an"
    " hour are kept of what is refused, for each reason.",
)


class GuardOptions(Struct, frozen=True, kw_only=True):
    """What is too much. A gate lets one person through a second or two; a burst is what piled up while it was away."""

    per_s: float = 20.0
    burst: float = 200.0
    chatter_per_s: float = 50.0
    chatter_burst: float = 1000.0
    """What a gate says besides events (heartbeats, states, answers, strangers seen): harmless by itself, and read all the same."""
    history_per_s: float = 200.0
    history_burst: float = 50_000.0
    """What was stored while a gate was away has its own lane; no memory of a gate holds so much, so more is no history."""
    share_per_s: float = 0.2
    share_burst: float = 5.0
    """What each gate adds to what a topic that gates share may bring, beside a gate's chatter."""
    refused_kept: int = 20
    refused_kept_s: float = 3600.0
    """Of what is refused on such a topic so many are kept in that time, of each reason."""
    repeat_s: float = 10.0
    """While such a topic is held back, the same word of the same gate is noted once in that time."""
    flaps: int = 10
    """So many comings and goings within `flap_window_s` are too many."""
    flap_window_s: float = 300.0
    calm_s: float = 300.0
    """How long a gate must behave before it is let go."""


class _Gate:
    __slots__ = ("at", "chatter", "claimed_until", "flaps", "held", "history", "online", "tokens")

    def __init__(self, options: GuardOptions, at: float) -> None:
        self.tokens = options.burst
        self.at = at
        self.chatter = options.chatter_burst, at
        self.history = options.history_burst, at
        self.claimed_until = 0.0
        # By `claimed`: counted together, one true going would hold back a gate that others spoke of.
        self.flaps: tuple[deque[float], deque[float]] = deque(), deque()
        self.online: dict[bool, bool] = {}
        self.held: dict[str, float] = {}


class FirstFew:
    """Of what repeats itself the first few are enough: `most` of a kind within `within_s`. Kinds must be bounded."""

    def __init__(self, most: int, within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._within_s, self._clock = most, within_s, clock
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def counts(self, kind: Hashable) -> bool:
        """Count one more; whether it is still among the few."""
        now = self._clock()
        since, count = self._seen.get(kind, (now, 0))
        if now - since >= self._within_s:
            since, count = now, 0
        self._seen[kind] = since, count + 1
        return count < self._most


class _Topic:
    __slots__ = ("heard", "refused", "said", "until")

    def __init__(self) -> None:
        self.said: tuple[float, float] | None = None
        self.refused: tuple[float, float] | None = None
        self.until = float("-inf")
        self.heard: dict[str, float] = {}  # words of registered devices, hence bounded


class Guard:
    """One per bridge; registered devices and subscriptions only, so it is bounded."""

    def __init__(self, options: GuardOptions | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._o = options or GuardOptions()
        self._clock = clock
        self._gates: dict[str, _Gate] = {}
        self._topics: dict[str, _Topic] = {}
        self._refused = FirstFew(self._o.refused_kept, self._o.refused_kept_s, clock)  # decoders have few reasons

    def sent(self, device: str, live: bool) -> bool:
        """Count an event; True: the gate is held back. History sent after an outage has its own lane, and is counted by
        its own, far higher measure."""
        now = self._clock()
        gate = self._gate(device, now)
        if live:
            gate.tokens = min(self._o.burst, gate.tokens + (now - gate.at) * self._o.per_s)
            gate.at = now
            if gate.tokens < 1.0:
                gate.held[FLOOD] = now + self._o.calm_s
            else:
                gate.tokens -= 1.0
        else:
            gate.history = self._spend(gate, gate.history, self._o.history_per_s, self._o.history_burst, now)
        return bool(gate.held) and self._still(gate, now)

    def heard(self, device: str) -> None:
        """Count what is no event. Too much of it holds the gate's events back; itself it is treated as ever."""
        now = self._clock()
        gate = self._gate(device, now)
        gate.chatter = self._spend(gate, gate.chatter, self._o.chatter_per_s, self._o.chatter_burst, now)

    def _spend(
        self, gate: _Gate, bucket: tuple[float, float], per_s: float, burst: float, now: float
    ) -> tuple[float, float]:
        left, ample = _drawn(bucket, per_s, burst, now)
        if not ample:
            gate.held[FLOOD] = now + self._o.calm_s
        return left

    def shared(self, subject: str, gates: int, refused: bool) -> bool:
        """Count what came by a topic, or filter of topics, without a gate of its own; `gates` may speak there. True: what comes there
        is held back. What is refused counts like one gate's events: honest ones are hardly ever refused."""
        now, o = self._clock(), self._o
        topic = self._topics.get(subject)
        if topic is None:
            topic = self._topics[subject] = _Topic()
        if refused:
            topic.refused, ample = _drawn(topic.refused, o.per_s, o.burst, now)
        else:
            per_s, burst = o.chatter_per_s + gates * o.share_per_s, o.chatter_burst + gates * o.share_burst
            topic.said, ample = _drawn(topic.said, per_s, burst, now)
        if not ample:
            topic.until = now + o.calm_s
        elif topic.heard and topic.until <= now:
            topic.heard.clear()
        return topic.until > now

    def keeps(self, subject: str, code: str) -> bool:
        """Whether what was refused there for this reason is still among the few that are kept."""
        return self._refused.counts((subject, code))

    def repeats(self, subject: str, word: str) -> bool:
        """Whether a registered gate's word was noted there just now."""
        now, heard = self._clock(), self._topics[subject].heard
        if now - heard.get(word, float("-inf")) < self._o.repeat_s:
            return True
        heard[word] = now
        return False

    def presence(self, device: str, online: bool, claimed: bool = False) -> None:
        """Note a coming or a going. `claimed`: seen where it need not be the gate's own doing (a topic all gates share, where
        each could say it of the others; another address). Such words raise the alarm, and hold nobody back."""
        now = self._clock()
        gate = self._gate(device, now)
        if gate.online.get(claimed) is online:
            return
        gate.online[claimed] = online
        flaps = gate.flaps[claimed]
        flaps.append(now)
        while flaps and flaps[0] < now - self._o.flap_window_s:
            flaps.popleft()
        if len(flaps) > self._o.flaps:
            if claimed:
                gate.claimed_until = now + self._o.calm_s
            else:
                gate.held[FLAPPING] = now + self._o.calm_s

    def standing(self) -> dict[str, list[str]]:
        """Devices an alarm stands for now, by kind: those held back, and those said to come and go again and again. Among those
        that send too much also topics (their filters), when nobody can tell which gate it is."""
        now = self._clock()
        found: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for device, gate in self._gates.items():
            if gate.held and self._still(gate, now):
                for kind in gate.held:
                    found[kind].append(device)
            if gate.claimed_until > now and FLAPPING not in gate.held:
                found[FLAPPING].append(device)
        found[FLOOD] += [subject for subject, topic in self._topics.items() if topic.until > now]
        return found

    def forget(self, known: Callable[[str], bool]) -> None:
        """Drop devices that are registered no longer."""
        for device in [d for d in self._gates if not known(d)]:
            del self._gates[device]

    def _gate(self, device: str, now: float) -> _Gate:
        gate = self._gates.get(device)
        if gate is None:
            gate = self._gates[device] = _Gate(self._o, now)
        return gate

    @staticmethod
    def _still(gate: _Gate, now: float) -> bool:
        for kind in [k for k, until in gate.held.items() if until <= now]:
            del gate.held[kind]
        return bool(gate.held)


def _drawn(
    bucket: tuple[float, float] | None, per_s: float, burst: float, now: float
) -> tuple[tuple[float, float], bool]:
    """A bucket (tokens, and when) after one was drawn from it, and whether there was one. None: not begun yet."""
    tokens = burst if bucket is None else min(burst, bucket[0] + (now - bucket[1]) * per_s)
    return ((tokens - 1.0, now), True) if tokens >= 1.0 else ((tokens, now), False)


def alarms_of(standing: Mapping[str, Sequence[str]]) -> dict[str, list[Alarm]]:
    """The alarms that stand, by kind: one for each gate and kind, whatever it goes on doing."""
    said = {
        FLOOD: Text(
            "Cổng gửi quá nhiều; vẫn lưu đủ nhưng xếp sau các cổng khác.",
            "The gate sends too much; all is stored, but behind the other gates.",
        ),
        FLAPPING: Text(
            "Cổng nối rồi ngắt liên tục; vẫn lưu đủ, có thể xếp sau các cổng khác.",
            "The gate connects and disconnects again and again; all is stored, perhaps behind the other gates.",
        ),
    }
    return {
        kind: [
            Alarm(kind, subject, Text(f"{subject}: {text.vi}", f"{subject}: {text.en}"))
            for subject in sorted(standing.get(kind, []))
            for text in [_TOPIC if set(subject) & {"/", "#"} else gate]  # no gate's name has either
        ]
        for kind, gate in said.items()
    }
