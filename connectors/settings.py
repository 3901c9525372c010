"""A connector's settings, whole: what the console's form asks, what is stored, what `build` takes.

One concern: composing the declarations of transports, schemes and policies into one model, and validating it with
sentences in both languages. It must never hold a secret's value or know a particular system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from connectors.auth.digest import DigestSettings
from connectors.auth.fixed import ApiKeySettings, BasicSettings, BearerSettings, LgspHeaderSettings, NoneSettings
from connectors.auth.gateway import GatewaySettings
from connectors.auth.oauth2 import LgspTokenSettings, OAuth2Settings
from connectors.auth.population_signed import PopulationSignedSettings
from connectors.auth.portal_session import PortalSessionSettings
from connectors.auth.signed_headers import SignedHeadersSettings
from connectors.auth.standard_webhooks import StandardWebhooksSettings
from connectors.declare import Declared, Secret, explain, schema, secrets_schema, setting, table, wrong
from connectors.errors import SettingError, SettingsInvalid
from connectors.policy.breaker import BreakerSettings
from connectors.policy.calendar import CalendarSettings
from connectors.policy.guard import GuardSettings
from connectors.policy.quota import QuotaSettings
from connectors.policy.retry import RetrySettings
from connectors.transports import files_settings, mqtt_settings, rest, soap, webhook, xroad_settings
from connectors.transports.files_settings import FolderSettings, SftpSettings
from connectors.transports.mqtt_settings import MqttSettings
from connectors.transports.rest import RestSettings
from connectors.transports.soap import SoapSettings
from connectors.transports.soap_options import AttachmentSettings, WssSettings
from connectors.transports.tls import TlsSettings
from connectors.transports.webhook import WebhookSettings
from connectors.transports.xroad_settings import (
    Client,
    Service,
    XrdForwardSettings,
    XRoadRestSettings,
    XRoadSoapSettings,
)
from hub.kernel.ports import BATCH_MAX, Text

Transport = (
    RestSettings
    | SoapSettings
    | XRoadRestSettings
    | XRoadSoapSettings
    | XrdForwardSettings
    | WebhookSettings
    | MqttSettings
    | SftpSettings
    | FolderSettings
)
Auth = (
    NoneSettings
    | ApiKeySettings
    | BasicSettings
    | DigestSettings
    | BearerSettings
    | LgspHeaderSettings
    | OAuth2Settings
    | LgspTokenSettings
    | SignedHeadersSettings
    | StandardWebhooksSettings
    | PortalSessionSettings
    | PopulationSignedSettings
)

KINDS: dict[str, type[Declared]] = {
    "rest": RestSettings,
    "soap": SoapSettings,
    "xroad_rest": XRoadRestSettings,
    "xroad_soap": XRoadSoapSettings,
    "xrd_forward": XrdForwardSettings,
    "webhook": WebhookSettings,
    "mqtt": MqttSettings,
    "sftp": SftpSettings,
    "folder": FolderSettings,
}
CAPABILITIES: dict[str, frozenset[str]] = {
    "rest": rest.CAPABILITIES,
    "soap": soap.CAPABILITIES,
    "xroad_rest": xroad_settings.CAPABILITIES_REST,
    "xroad_soap": xroad_settings.CAPABILITIES_SOAP,
    "xrd_forward": xroad_settings.CAPABILITIES_FORWARD,
    "webhook": webhook.CAPABILITIES,
    "mqtt": mqtt_settings.CAPABILITIES,
    "sftp": files_settings.CAPABILITIES_SFTP,
    "folder": files_settings.CAPABILITIES_FOLDER,
}
"""What each kind of transport can do: its contract suite follows from it."""
SCHEMES: dict[str, type[Declared]] = {
    "none": NoneSettings,
    "api_key": ApiKeySettings,
    "basic": BasicSettings,
    "digest": DigestSettings,
    "bearer": BearerSettings,
    "lgsp_header": LgspHeaderSettings,
    "oauth2_client_credentials": OAuth2Settings,
    "lgsp_token": LgspTokenSettings,
    "signed_headers": SignedHeadersSettings,
    "standard_webhooks": StandardWebhooksSettings,
    "portal_session": PortalSessionSettings,
    "population_signed": PopulationSignedSettings,
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_WITHOUT_HEADERS = frozenset({"mqtt", "sftp", "folder"})


class TimeoutSettings(Declared):
    """How long each phase of a call may take. A phase without a time of its own shares the one it is said to be part of."""

    ABOUT = Text("Thời gian chờ", "Timeouts")
    pool_s: float | None = setting(
        "Chờ kết nối rỗi (giây)",
        "Waiting for a free connection (seconds)",
        default=None,
        example=2.0,
        gt=0,
        le=120,
        help=Text("HTTP; trống: nằm trong thời gian kết nối", "HTTP; empty: part of the time for connecting"),
    )
    connect_s: float = setting(
        "Kết nối (giây)",
        "Connecting (seconds)",
        default=5.0,
        gt=0,
        le=120,
        help=Text(
            "Tên miền và TCP, và những gì không có thời gian riêng", "Name and TCP, and what has no time of its own"
        ),
    )
    tls_s: float | None = setting(
        "Bắt tay TLS (giây)",
        "TLS handshake (seconds)",
        default=None,
        example=5.0,
        gt=0,
        le=120,
        help=Text("HTTP; trống: nằm trong thời gian kết nối", "HTTP; empty: part of the time for connecting"),
    )
    write_s: float | None = setting(
        "Đối tác không nhận thêm khi đang gửi (giây)",
        "Nothing taken while sending (seconds)",
        default=None,
        example=10.0,
        gt=0,
        le=600,
        help=Text("HTTP; trống: như khi chờ trả lời", "HTTP; empty: as while answering"),
    )
    read_s: float = setting("Chờ trả lời (giây)", "Silence while answering (seconds)", default=30.0, gt=0, le=600)

    @property
    def whole_s(self) -> float:
        """Seconds for a whole call: all phases that have a time of their own."""
        return self.connect_s + self.read_s + sum(t for t in (self.pool_s, self.tls_s, self.write_s) if t is not None)


class QuickTrySettings(Declared):
    """The first tries a worker makes at once: only of calls certainly not sent, or harmless to repeat."""

    ABOUT = Text("Thử nhanh", "Quick tries")
    attempts: int = setting("Số lần", "Tries", default=3, ge=1, le=10)
    wait_s: float = setting(
        "Chờ tối đa giữa hai lần (giây)", "Longest wait between (seconds)", default=0.5, ge=0, le=10
    )


class PolicySettings(Declared):
    """When, how often and how patiently the connector is used."""

    ABOUT = Text("Chính sách gửi", "Delivery policy")
    concurrency: int = setting("Lời gọi đồng thời", "Calls at a time", default=8, ge=1, le=1000)
    batch_max: int = setting("Số bản ghi mỗi lời gọi", "Records per call", default=BATCH_MAX, ge=1, le=10_000)
    timeouts: TimeoutSettings = setting("Thời gian chờ", "Timeouts", default=TimeoutSettings())
    quick_tries: QuickTrySettings = setting("Thử nhanh", "Quick tries", default=QuickTrySettings())
    retry: RetrySettings = setting("Thử lại", "Trying again", default=RetrySettings())
    quota: QuotaSettings = setting("Hạn mức", "Quota", default=QuotaSettings())
    breaker: BreakerSettings = setting("Ngắt mạch", "Circuit breaker", default=BreakerSettings())
    calendar: CalendarSettings = setting("Lịch làm việc", "Calendar", default=CalendarSettings())
    guard: GuardSettings = setting("Chặn khi bị từ chối hàng loạt", "Mass refusals", default=GuardSettings())
    settle_after_s: float = setting(
        "Hỏi lại sau (giây)",
        "Inquire after (seconds)",
        default=60.0,
        ge=0,
        le=86400,
        help=Text("Khi chưa rõ đã nhận hay chưa", "When it is not known whether a call was taken"),
    )
    absent_gap_s: float = setting(
        "Khoảng giữa hai lần hỏi (giây)",
        "Between two inquiries (seconds)",
        default=60.0,
        ge=0,
        le=86400,
        help=Text(
            "Hai lần “không có” cách nhau chừng này thì gửi lại",
            "Two “absent” answers this far apart lead to a resend",
        ),
    )


class ConnectorSettings(Declared):
    """One configured connection to one running system. Secrets are not here: see `secrets_of`."""

    ABOUT = Text("Kết nối", "Connector")
    name: str = setting("Tên", "Name", example="bo-gddt")
    system: str = setting("Hệ thống", "System", example="ministry", pattern=r"^[a-z][a-z0-9_]{0,62}$")
    profile: str | None = setting(
        "Hồ sơ giả định",
        "Assumptions profile",
        default=None,
        example="profile-assumed-2026",
        help=Text("Của bộ chuyển đổi; trống: mặc định", "The adapter's; empty: its default"),
    )
    transport: Annotated[Transport, Field(discriminator="kind")] = setting("Đường truyền", "Transport")
    auth: Annotated[Auth, Field(discriminator="scheme")] = setting("Xác thực", "Authentication", default=NoneSettings())
    adapter: dict[str, Any] = setting(
        "Tham số bộ chuyển đổi",
        "Adapter settings",
        default={},
        example={"source": "000.00.12.H24"},
        help=Text("Theo khai báo của bộ chuyển đổi", "As the adapter's manifest declares"),
    )
    policy: PolicySettings = setting("Chính sách gửi", "Delivery policy", default=PolicySettings())
    state: Literal["active", "paused"] = setting("Trạng thái", "State", default="active")

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        """What stands in addresses, where "new" is the page that makes one."""
        if _NAME.fullmatch(name) is None or name == "new":
            raise wrong(
                "misnamed",
                "chỉ gồm chữ thường không dấu, số, “-” và “_”, bắt đầu bằng chữ hoặc số, tối đa 63 ký tự; không dùng “new”",
                "may hold only small letters a to z, digits, “-” and “_”, beginning with a letter or digit, at most 63 of them;"
                " not “new”",
            )
        return name

    @model_validator(mode="after")
    def _fits(self) -> ConnectorSettings:
        if self.transport.kind in _WITHOUT_HEADERS and self.auth.scheme != "none":
            raise wrong(
                "auth_unfit",
                "đường truyền này tự đăng nhập: cách xác thực phải là none",
                "this transport logs in by itself: the scheme must be none",
            )
        if self.auth.scheme == "standard_webhooks" and self.transport.kind != "webhook":
            raise wrong(
                "auth_unfit",
                "chữ ký Standard Webhooks chỉ đi với đường truyền webhook",
                "the Standard Webhooks signature goes with the webhook transport only",
            )
        return self


def validate(data: Any) -> ConnectorSettings:
    """Validated settings. Raises `SettingsInvalid` holding every error, for anything whatever given."""
    if isinstance(data, ConnectorSettings):
        return data
    if not isinstance(data, Mapping):
        message = Text("Thiết lập phải là một đối tượng", "The settings must be an object")
        raise SettingsInvalid([SettingError(pointer="", code="model_type", message=message)])
    try:
        return ConnectorSettings.model_validate(dict(data))
    except ValidationError as error:
        names = {s.name for m in (*KINDS.values(), *SCHEMES.values()) for s in m.SECRETS}
        asked = _form(_named(data, "transport", "kind", KINDS), _named(data, "auth", "scheme", SCHEMES))
        raise SettingsInvalid(explain(error, asked, tags=(*KINDS, *SCHEMES), secrets=names)) from None


def _named(data: Mapping[Any, Any], part: str, tag: str, known: Mapping[str, Any]) -> str:
    """The kind or scheme somebody chose; the first one when there is no such thing."""
    chosen = data.get(part)
    name = chosen.get(tag) if isinstance(chosen, Mapping) else None
    return name if isinstance(name, str) and name in known else next(iter(known))


def picks_up(settings: Mapping[str, Any]) -> bool | None:
    """Whether a connector, by its stored settings, takes files out of a folder; None: its transport has none.

    One that does is a way in alone: nothing is sent there, and it needs no adapter."""
    transport = settings.get("transport")
    given = transport if isinstance(transport, Mapping) else {}
    if "files" not in CAPABILITIES.get(str(given.get("kind")), frozenset()):
        return None
    return bool(given.get("takes", "none") != "none")


def dump(settings: ConnectorSettings) -> dict[str, Any]:
    """Plain data that `validate` takes again: what is stored."""
    return settings.model_dump(mode="json")


def secrets_of(settings: ConnectorSettings) -> tuple[Secret, ...]:
    """The secrets this connector needs, of its transport and its scheme."""
    return (*settings.transport.needed(), *settings.auth.needed())


def check_secrets(settings: ConnectorSettings, secrets: Mapping[str, str]) -> None:
    """Raises `SettingsInvalid` naming required secrets that are missing or empty."""
    missing = [s for s in secrets_of(settings) if s.required and not secrets.get(s.name)]
    if missing:
        raise SettingsInvalid(
            [
                SettingError(
                    pointer=f"/secrets/{s.name}",
                    code="missing",
                    message=Text(f"“{s.title.vi}” bắt buộc phải có", f"“{s.title.en}” is required"),
                )
                for s in missing
            ]
        )


def form(kind: str, scheme: str) -> dict[str, Any]:
    """JSON Schema of a connector with this transport and scheme, for the generated form; secrets are write-only.

    Titles stand in English in `title` and in both languages in `x-title`. Raises `SettingsInvalid` for an unknown
    kind or scheme.
    """
    if kind not in KINDS or scheme not in SCHEMES:
        place = "/transport/kind" if kind not in KINDS else "/auth/scheme"
        message = Text("Không có loại này", "There is no such kind")
        raise SettingsInvalid([SettingError(pointer=place, code="unknown", message=message)])
    return deepcopy(_form(kind, scheme))


@cache
def _form(kind: str, scheme: str) -> dict[str, Any]:
    """The form, made once: pydantic takes tens of milliseconds over the whole model."""
    transport, auth = KINDS[kind], SCHEMES[scheme]
    whole = schema(ConnectorSettings)
    properties = whole["properties"]
    for name, model in (("transport", transport), ("auth", auth)):
        chosen = schema(model)
        chosen["x-title"] = properties[name]["x-title"]
        chosen["x-about"] = {"vi": model.ABOUT.vi, "en": model.ABOUT.en}
        properties[name] = chosen
    properties["secrets"] = secrets_schema((*transport.SECRETS, *auth.SECRETS))
    return whole


def choices() -> dict[str, dict[str, Text]]:
    """What a form offers: transports and schemes by name, each with its title."""
    return {
        "transport": {name: model.ABOUT for name, model in KINDS.items()},
        "auth": {name: model.ABOUT for name, model in SCHEMES.items()},
    }


def document() -> str:
    """Markdown reference of every transport, scheme and policy."""
    parts = ["# Thiết lập kết nối / Connector settings"]
    groups: list[tuple[str, list[tuple[str, type[Declared]]]]] = [
        ("Kết nối / Connector", [("", ConnectorSettings)]),
        ("Đường truyền / Transports", list(KINDS.items())),
        (
            "Nhóm thiết lập của đường truyền / Groups of transport settings",
            [
                ("transport.tls", TlsSettings),
                ("transport.security", WssSettings),
                ("transport.attachments", AttachmentSettings),
                ("transport.client", Client),
                ("transport.service", Service),
            ],
        ),
        ("Xác thực / Authentication", [*SCHEMES.items(), ("auth.gateway", GatewaySettings)]),
        (
            "Chính sách / Policy",
            [
                ("policy", PolicySettings),
                ("policy.timeouts", TimeoutSettings),
                ("policy.quick_tries", QuickTrySettings),
                ("policy.retry", RetrySettings),
                ("policy.quota", QuotaSettings),
                ("policy.breaker", BreakerSettings),
                ("policy.calendar", CalendarSettings),
                ("policy.guard", GuardSettings),
            ],
        ),
    ]
    for heading, models in groups:
        parts.append(f"## {heading}")
        for name, model in models:
            if name:
                parts.append(f"### `{name}`: {model.ABOUT.vi} / {model.ABOUT.en}")
            parts.append(table(model))
    return "\n\n".join(parts) + "\n"
