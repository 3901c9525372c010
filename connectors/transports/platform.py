"""From an HTTP kind's settings to a transport: the plain transport inside, the protocols around it.

One concern: which layers a kind has, in which order. Their code is imported only here and only when used, so a
connector without signatures carries no signing library. It must never send anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from connectors.auth.base import Clock
from connectors.transports.layers import Layer
from connectors.transports.rest import HttpSettings, RestSettings, RestTransport
from connectors.transports.soap import SoapSettings, SoapTransport
from connectors.transports.soap_options import SoapOptions
from connectors.transports.webhook import Gone, WebhookSettings, WebhookTransport
from connectors.transports.xroad_settings import XrdForwardSettings, XRoadRestSettings, XRoadSoapSettings

_T = TypeVar("_T", bound=HttpSettings)


def plan(
    settings: HttpSettings, secrets: Mapping[str, str], clock: Clock
) -> tuple[type[RestTransport], HttpSettings, list[Layer]]:
    """The class of the transport inside, the settings it takes, and the layers around it, outermost last on the way
    out. Raises `SettingsInvalid` for a signing key that does not fit."""
    inner: type[RestTransport] = SoapTransport if isinstance(settings, SoapSettings) else RestTransport
    plain: HttpSettings = settings
    layers: list[Layer] = []
    if isinstance(settings, SoapOptions) and settings.security.used:
        from connectors.transports.wss import Wss

        layers.append(Wss(settings.security, secrets, clock))
    if isinstance(settings, XRoadRestSettings):
        from connectors.transports.xroad_rest import XRoadRest, service_path

        plain = _as(RestSettings, settings, base_url=f"{settings.base_url}/{service_path(settings)}")
        layers.append(XRoadRest(settings))
    elif isinstance(settings, XRoadSoapSettings):
        from connectors.transports.xroad_soap import XRoadSoap

        inner, plain = SoapTransport, _as(SoapSettings, settings, version="1.1", soap_action=settings.soap_action)
        layers.append(XRoadSoap(settings))
    elif isinstance(settings, XrdForwardSettings):
        inner, plain = _forward(settings)
    elif isinstance(settings, WebhookSettings):
        inner = WebhookTransport
        layers.append(Gone())
    if isinstance(settings, SoapOptions) and settings.attachments.form == "mtom":
        from connectors.transports.mtom import Mtom

        layers.append(Mtom(settings.attachments))
    return inner, plain, layers


def _forward(settings: XrdForwardSettings) -> tuple[type[RestTransport], HttpSettings]:
    """`/<adapter>/RestService/forward/<path>?dstcode=…&providerurl=…`, as the deployed forwarders take it."""
    path = f"/{settings.path}" if settings.path else ""
    query = {**settings.query, "dstcode": settings.dstcode}
    if settings.provider_url:
        query["providerurl"] = settings.provider_url
    changes: dict[str, Any] = {
        "base_url": f"{settings.base_url}/{settings.adapter}/RestService/forward{path}",
        "query": query,
    }
    if settings.message == "rest":
        return RestTransport, _as(RestSettings, settings, **changes)
    version = settings.message.removeprefix("soap_")
    return SoapTransport, _as(SoapSettings, settings, **changes, version=version, soap_action=settings.soap_action)


def _as(kind: type[_T], settings: HttpSettings, **changes: Any) -> _T:
    """What every HTTP transport is told, taken over into another kind's settings."""
    common = {name: getattr(settings, name) for name in HttpSettings.model_fields}
    return kind.model_validate({**common, **changes})
