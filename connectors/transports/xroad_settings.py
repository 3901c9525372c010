"""Who calls what through an X-Road security server: identifiers and settings.

One concern: declaring them. Sources: the X-Road message protocols for REST (1.0) and SOAP (4.0).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from pydantic import field_validator, model_validator

from connectors.declare import Declared, setting, wrong
from connectors.transports.rest import HttpSettings
from connectors.transports.soap_options import SoapOptions
from hub.kernel.ports import Text

CAPABILITIES_REST = frozenset({"http", "headers", "status", "tls", "xroad"})
CAPABILITIES_SOAP = frozenset({"http", "headers", "status", "tls", "soap", "xroad"})
CAPABILITIES_FORWARD = frozenset({"http", "headers", "status", "tls", "probe_path"})

# The identifier character restrictions of the protocol (PR-MESS 2.7): no control characters, separators or `%`.
_CODE = r"^[^\x00-\x1f\x7f/\\:;%]{1,255}$"


def _no_climb(value: str | None) -> str | None:
    if value in (".", ".."):
        raise wrong("identifier", "không phải mã định danh", "is not an identifier")
    return value


class Client(Declared):
    """A member or one of its subsystems."""

    ABOUT = Text("Bên gọi", "Client")
    instance: str = setting("Phiên bản mạng (xRoadInstance)", "xRoadInstance", default="VN", pattern=_CODE)
    member_class: str = setting(
        "Nhóm thành viên (memberClass)", "memberClass", default="GOV", example="GOV", pattern=_CODE
    )
    member_code: str = setting("Mã thành viên (memberCode)", "memberCode", example="000.00.00.H24", pattern=_CODE)
    subsystem: str | None = setting(
        "Hệ thống con (subsystemCode)", "subsystemCode", default=None, example="so-gddt", pattern=_CODE
    )

    _sane = field_validator("*")(_no_climb)

    def parts(self) -> list[str]:
        """Identifier parts in the protocol's order."""
        return [self.instance, self.member_class, self.member_code, *([self.subsystem] if self.subsystem else [])]


class Service(Client):
    """A service of a member or subsystem."""

    ABOUT = Text("Dịch vụ", "Service")
    service: str = setting("Mã dịch vụ (serviceCode)", "serviceCode", example="TraCuuThongTinCongDan", pattern=_CODE)
    service_version: str | None = setting(
        "Phiên bản dịch vụ (serviceVersion)",
        "serviceVersion",
        default=None,
        example="v1",
        pattern=_CODE,
        help=Text("Chỉ với SOAP", "With SOAP only"),
    )


class XRoadOptions(Declared):
    """What both X-Road protocols are told."""

    client: Client = setting("Bên gọi", "Client")
    service: Service = setting("Dịch vụ được gọi", "Service called")
    user_id: str | None = setting(
        "Người gây ra lời gọi (userId)",
        "User behind a call (userId)",
        default=None,
        example="VN012345678901",
        pattern=r"^[\x21-\x7e]{1,255}$",
        help=Text("Lời gọi tự nêu thì dùng của lời gọi", "A call's own X-Road-UserId stands above it"),
    )
    issue: str | None = setting(
        "Hồ sơ liên quan (issue)",
        "Issue",
        default=None,
        example="QD-2026-15",
        pattern=r"^[\x20-\x7e]{1,255}$",
        help=Text("Lời gọi tự nêu thì dùng của lời gọi", "A call's own X-Road-Issue stands above it"),
    )
    request_hash: Literal["verify", "present", "off"] = setting(
        "Mã băm yêu cầu trong trả lời",
        "Request hash in answers",
        default="verify",
        help=Text(
            "verify: phải đúng; present: phải có; off: bỏ qua (khi có máy trung gian sửa tiêu đề trước máy chủ bảo mật)",
            "verify: must be right; present: must be there; off: ignored (where something between changes headers)",
        ),
    )


class XRoadRestSettings(XRoadOptions, HttpSettings):
    """REST through an X-Road security server: `/r1/{service}` with X-Road's headers."""

    ABOUT = Text("X-Road REST qua máy chủ bảo mật", "X-Road REST through a security server")
    kind: Literal["xroad_rest"] = "xroad_rest"
    accept: str = setting("Accept", "Accept", default="application/json", pattern=r"^[\x21-\x7e][\x20-\x7e]*$")


class XRoadSoapSettings(XRoadOptions, SoapOptions, HttpSettings):
    """SOAP 1.1 through an X-Road security server, message protocol 4.0."""

    ABOUT = Text("X-Road SOAP 4.0 qua máy chủ bảo mật", "X-Road SOAP 4.0 through a security server")
    SECRETS = (*HttpSettings.SECRETS, *SoapOptions.SECRETS)
    kind: Literal["xroad_soap"] = "xroad_soap"
    soap_action: str = setting(
        "SOAPAction mặc định",
        "Default SOAPAction",
        default="",
        example="http://dich-vu.example.vn/TraCuu",
        pattern=r'^[^"\\\x00-\x1f\x7f]*$',
    )


class XrdForwardSettings(SoapOptions, HttpSettings):
    """The forward form deployed in Vietnam: `/<adapter>/RestService/forward/<path>?dstcode=…&providerurl=…`."""

    ABOUT = Text("Chuyển tiếp qua XrdAdapter / VXPAdapter", "Forwarding by XrdAdapter / VXPAdapter")
    SECRETS = (*HttpSettings.SECRETS, *SoapOptions.SECRETS)
    kind: Literal["xrd_forward"] = "xrd_forward"
    adapter: str = setting(
        "Tên bộ chuyển tiếp",
        "Forwarder's name",
        default="XrdAdapter",
        example="VXPAdapter",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
    )
    path: str = setting(
        "Đường dẫn dịch vụ",
        "Service path",
        default="",
        example="dancu/tracuu",
        pattern=r"^([A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)?$",
        help=Text("Đường dẫn của lời gọi được nối vào sau", "A call's path is put after it"),
    )
    dstcode: str = setting(
        "Mã đích (dstcode)",
        "Destination code (dstcode)",
        example="VN:GOV:000.00.00.G04:portal",
        pattern=r"^[\x21-\x7e]{1,255}$",
    )
    provider_url: str | None = setting(
        "Địa chỉ bên cung cấp (providerurl)",
        "Provider's address (providerurl)",
        default=None,
        example="https://dich-vu.example.vn/api",
        pattern=r"^https?://[^\s@/]+(/\S*)?$",
    )
    message: Literal["rest", "soap_1.1", "soap_1.2"] = setting(
        "Loại bản tin", "Kind of message", default="rest", help=Text("SOAP đi qua cùng đường", "SOAP goes the same way")
    )
    soap_action: str = setting(
        "SOAPAction mặc định",
        "Default SOAPAction",
        default="",
        example="http://dich-vu.example.vn/TraCuu",
        pattern=r'^[^"\\\x00-\x1f\x7f]*$',
    )

    @model_validator(mode="after")
    def _fits(self) -> XrdForwardSettings:
        if self.message == "rest" and (self.security.used or self.attachments.form != "base64"):
            raise wrong(
                "soap_only",
                "chỉ bản tin SOAP có chữ ký WS-Security và tệp MTOM",
                "only SOAP messages have WS-Security and MTOM",
            )
        return self


def identifier(parts: list[str]) -> str:
    """`A/B/C` with each part percent-encoded as UTF-8 (PR-REST section 4.2)."""
    return "/".join(quote(p, safe="") for p in parts)
