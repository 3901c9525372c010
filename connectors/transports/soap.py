"""SOAP over HTTP: the same wire as REST with SOAP's own headers.

One concern: content type and action of SOAP 1.1 and 1.2. It must never build or read an envelope: adapters do.
"""

from __future__ import annotations

from typing import Literal

from connectors.declare import setting
from connectors.transports.base import Request
from connectors.transports.rest import HttpSettings, RestTransport
from connectors.transports.soap_options import SoapOptions
from hub.kernel.ports import Call, Text

CAPABILITIES = frozenset({"http", "headers", "status", "tls", "probe_path", "soap"})


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

    def request(self, call: Call) -> Request:
        """SOAP 1.1: `text/xml` and a quoted `SOAPAction`. SOAP 1.2: the action is a parameter of the media type."""
        request = super().request(call)
        action = self._settings.soap_action
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
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
        request.method = "POST" if call.body else request.method
        request.headers = headers
        return request
