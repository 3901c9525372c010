"""Which embedded MQTT broker is used.

One concern: the choice, and the names callers need. It must never fall back silently: the stand-in carries a warning.
"""

from __future__ import annotations

from hub.embedded import mosquitto, nats
from hub.embedded.area import Area
from hub.embedded.mqtt import Broker, BrokerError, BrokerLimits, BrokerUser, Tls, lets_in

__all__ = ["Broker", "BrokerError", "BrokerLimits", "BrokerUser", "Tls", "choose_broker", "lets_in"]


def choose_broker(
    area: Area,
    *,
    port: int,
    bridge: BrokerUser,
    host: str = "127.0.0.1",
    tls: Tls | None = None,
    limits: BrokerLimits | None = None,
) -> Broker:
    """Mosquitto where it is installed, else the stand-in from a wheel (its `warning` is set). Raises `BrokerError`."""
    if mosquitto.find_server() is not None:
        return mosquitto.Mosquitto(area, port=port, bridge=bridge, host=host, tls=tls, limits=limits)
    if nats.find_server() is None:
        raise BrokerError("neither mosquitto nor nats-server is installed")
    return nats.Nats(area, port=port, bridge=bridge, host=host, tls=tls, limits=limits)
