"""How one gate's list is asked for: its settings, checked before they are kept, and the addresses they may reach.

One concern: those settings. It must never let a gate's settings reach a network that the hub's own configuration does not
name as one where gates stand.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from connectors.address import AddressPolicy
from connectors.errors import SettingsInvalid
from connectors.settings import ConnectorSettings, validate

_PLAIN = re.compile(r"[!-~]+")


class ListSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """How one gate is asked. `transport` and `auth` as a connector has them; `network`: the one it stands in (CIDR)."""

    transport: dict[str, Any]
    auth: dict[str, Any] = field(default_factory=lambda: {"scheme": "none"})
    network: str = ""
    every_s: Annotated[float, msgspec.Meta(ge=10, le=86_400)] = 900.0
    overlap_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 900.0
    """Asked for again at each run: a clock that runs behind, and what came late into the device's own list."""
    place: Annotated[str, msgspec.Meta(max_length=40)] = ""
    """The vendor's number of the place, for lists that go by place."""
    push_base: Annotated[str, msgspec.Meta(max_length=300)] = ""
    """The hub's address as the gate sees it: told to the gate again and again; empty: never."""
    tell_every_s: Annotated[float, msgspec.Meta(ge=60)] = 86_400.0


class BadListSettings(ValueError):
    """Thiết lập hỏi cổng không hợp lệ. / The settings for asking a gate are not valid."""


def check(given: Mapping[str, Any], networks: Iterable[str]) -> ListSettings:
    """Checked settings. Raises `BadListSettings` with a sentence."""
    try:
        settings = msgspec.convert(given, ListSettings)
        connector_settings("gate", settings)
        if settings.network:
            policy_of(settings, networks, strict=True)
        if settings.push_base:
            _check_base(settings.push_base)
    except msgspec.ValidationError as error:
        raise BadListSettings(str(error)) from error
    except SettingsInvalid as error:
        raise BadListSettings(
            "; ".join(f"{e.pointer}: {e.message.vi} / {e.message.en}" for e in error.errors)
        ) from error
    return settings


def _check_base(address: str) -> None:
    """Raises `BadListSettings` for what is no plain address of the hub."""
    try:
        parts = urlsplit(address)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        plain = False
    if not plain or parts.query or parts.fragment or "@" in parts.netloc or not _PLAIN.fullmatch(address):
        raise BadListSettings(
            "push_base: phải là http(s)://máy[:cổng][/đường dẫn] / must be http(s)://host[:port][/path]"
        )


def policy_of(settings: ListSettings, networks: Iterable[str], *, strict: bool = False) -> AddressPolicy:
    """Public addresses, and the gate's own network where the hub's configuration says that gates stand there. Raises
    `BadListSettings` for a network that cannot be read or, when strict, is none of those."""
    if not settings.network:
        return AddressPolicy()
    try:
        own = ipaddress.ip_network(settings.network, strict=False)
    except ValueError as error:
        raise BadListSettings(f"network: {error}") from error
    inside = any(
        own.version == net.version and own.subnet_of(net)  # type: ignore[arg-type]
        for net in (ipaddress.ip_network(n, strict=False) for n in networks)
    )
    if strict and not inside:
        raise BadListSettings(
            "network: mạng này không nằm trong outward.gate_networks / is not within outward.gate_networks"
        )
    return AddressPolicy([settings.network] if inside else [])


def connector_settings(device: str, settings: ListSettings) -> ConnectorSettings:
    """What a connector to the gate is built with. Raises `SettingsInvalid`."""
    name = "".join(c if c.isalnum() else "-" for c in device.lower())[:60].strip("-") or "gate"
    return validate(
        {"name": f"g-{name}"[:62], "system": "gate", "transport": settings.transport, "auth": settings.auth}
    )
