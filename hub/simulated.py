"""Whether a connector leads to this very machine: then a simulator may stand behind it, and no counterparty can.

One concern: that question. Pure. It must never take a name for this machine that a network could answer for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def is_simulated(settings: Mapping[str, Any]) -> bool:
    """Whether a connector's settings lead to this very machine."""
    try:
        return urlsplit(str((settings.get("transport") or {}).get("base_url") or "")).hostname in _LOOPBACK
    except ValueError:
        return False
