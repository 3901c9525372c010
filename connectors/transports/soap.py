"""SOAP over HTTP: the same wire as REST with SOAP's own headers.

One concern: content type and action of SOAP 1.1 and 1.2. It must never build or read an envelope: adapters do.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from connectors.declare import setting
from connectors.transports.base import Request
from connectors.transports.rest import HttpSettings, RestTransport
from connectors.transports.soap_options import SoapOptions
from hub.kernel.ports import Call, Text

CAPABILITIES = frozenset({"http", "headers", "status", "tls", "probe_path", "soap"})

_KEPT = 64


class SoapSettings(SoapOptions, HttpSettings):
    """SOAP over HTTP or HTTPS."""

    ABOUT = Text("SOAP qua HTTP(S)", "SOAP over HTTP(S)")
    SECRETS = (*HttpSettings.SECRETS, *SoapOptions.SECRETS)
    kind: Literal["soap"] = "soap"
    version: Literal["1.1", "1.2"] = setting("Phiên bản SOAP", "SOAP version", default="1.1")
    soap_action: str = setting(
        "SOAPAction mặc định",
        "Default SOAPAction",
        default="",
        example="http://dich-vu.example.vn/TraCuu",
        help=Text("Dùng khi lời gọi không tự nêu", "Used when a call names none"),
        pattern=r'^[^"\\\x00-\x1f\x7f]*$',
    )


class SoapTransport(RestTransport):
    """A call's action is its `SOAPAction` header (quoted or not), else the default of the settings."""

    _settings: SoapSettings

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._headers = lru_cache(maxsize=_KEPT)(self._headers_of)

    def request(self, call: Call) -> Request:
        """SOAP 1.1: `text/xml` and a quoted `SOAPAction`. SOAP 1.2: the action is a parameter of the media type."""
        request = super().request(call)
        request.headers = self._headers(tuple(request.headers.items()))
        if call.body:
            request.method = "POST"
        return request

    def _headers_of(self, given: tuple[tuple[str, str], ...]) -> dict[str, str]:
        """SOAP's own headers and what else was given. Kept, for a connector's calls differ little: never changed by whoever
        gets it."""
        action = self._settings.soap_action
        headers: dict[str, str] = {}
        for name, value in given:
            if name.lower() == "soapaction":
                action = value.strip().strip('"')
            elif name.lower() != "content-type":
                headers[name] = value
        if self._settings.version == "1.1":
            headers["Content-Type"] = "text/xml; charset=utf-8"
            headers["SOAPAction"] = f'"{action}"'
        else:
            parameter = f'; action="{action}"' if action else ""
            headers["Content-Type"] = f"application/soap+xml; charset=utf-8{parameter}"
        return headers
