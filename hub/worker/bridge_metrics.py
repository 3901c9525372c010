"""The bridge's counters.

One concern: names. Labels are few and bounded; nothing about a person or a message may become one.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("bridge_messages_total", "Publications, by family and what became of them", ["family", "outcome"])
ACKS = Counter("bridge_device_acks_total", "Device-level acknowledgements after commit", ["result"])
FAILURES = Counter("bridge_intake_failures_total", "Commits that failed; nothing was acknowledged", ["lane", "cause"])
POISON = Counter("bridge_poison_total", "Messages that could only be stored as invalid")
LEFT = Counter(
    "bridge_history_left_total", "Stored events a full lane had no room for: left to their gates, which send again"
)
NOT_KEPT = Counter(
    "bridge_refused_not_kept_total", "Refused on a topic that gates share, beyond the first few an hour", ["code"]
)
REPEATED = Counter(
    "bridge_presence_repeated_total",
    "Presence said again and again on a shared topic that is held back: not noted anew",
)
STALE = Counter("bridge_stale_pubacks_total", "PUBACKs not sent because their connection had ended")
REMOVED = Counter("bridge_biometrics_removed_total", "Images, templates and embeddings taken out")
REMOVED_BYTES = Counter("bridge_biometrics_removed_bytes_total", "Their size as sent")
DEPTH = Gauge("bridge_lane_depth", "Publications waiting for their commit", ["lane"])
COMMIT_SECONDS = Histogram(
    "bridge_commit_seconds",
    "Time of one commit",
    ["lane"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
