"""What can keep a call from being sent, and what can be wrong with a connector's settings.

One concern: the exceptions of this folder. An exception here must never carry a secret: only names, addresses and
reasons. Everything a caller of `Connector.send` sees is `NotSent` or `MaybeSent` of the ports, or a kind of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct

from hub.kernel.ports import NotSent, Text


class Refused(NotSent):
    """Kết nối phải tạm dừng: cần người xử lý trước khi gửi tiếp. / Certainly not sent, and no later try will fare better
    before a person has acted: the connector is paused. `cause` names the task, `TEXT` tells people what to do."""

    cause: ClassVar[str] = "refused"
    TEXT: ClassVar[Text] = Text(
        "Đối tác từ chối kết nối; hãy kiểm tra thiết lập rồi mở lại kết nối.",
        "The counterparty refuses this connector; check its settings, then resume it.",
    )


class CredentialsRefused(Refused):
    """Đối tác từ chối tài khoản của kết nối: tạm dừng kết nối và cập nhật tài khoản. / The counterparty refused the
    connector's credentials: pause the connector until a person has renewed them."""

    cause = "credentials_refused"
    TEXT = Text(
        "Đối tác từ chối tài khoản của kết nối; hãy cập nhật tài khoản rồi mở lại kết nối.",
        "The counterparty refused the connector's credentials; renew them, then resume the connector.",
    )


class LoginRefused(Refused):
    """Đối tác từ chối yêu cầu đăng nhập: sai địa chỉ hoặc thiết lập. / The counterparty takes no such log-in at this address: the
    connector's settings, not the moment, are wrong."""

    cause = "login_refused"
    TEXT = Text(
        "Đối tác không nhận yêu cầu đăng nhập; hãy kiểm tra địa chỉ đăng nhập và thiết lập rồi mở lại kết nối.",
        "The counterparty does not take the log-in; check the log-in address and the settings, then resume the connector.",
    )


class AddressRefused(Refused):
    """Địa chỉ đích nằm trong mạng nội bộ mà cấu hình của trục không cho phép. / The address lies in a private network, or
    the folder outside the roots, that the hub's own configuration allows connectors to reach."""

    cause = "address_refused"
    TEXT = Text(
        "Địa chỉ hoặc thư mục của kết nối không được phép; hãy sửa thiết lập, hoặc outward.allow_private / outward.folders.",
        "The connector's address or folder is not allowed; change it, or outward.allow_private / outward.folders.",
    )


class ServiceRefused(Refused):
    """Trục liên thông của đối tác không cho gọi dịch vụ này. / The exchange platform does not let this client call this
    service: access right missing, service unknown or switched off."""

    cause = "service_refused"
    TEXT = Text(
        "Nền tảng trao đổi không cho gọi dịch vụ này (chưa được cấp quyền, sai mã dịch vụ, hoặc dịch vụ đã tắt).",
        "The exchange platform does not let this connector call the service (no access right, unknown, or switched off).",
    )


class ExchangeRefused(Refused):
    """Nền tảng trao đổi từ chối yêu cầu của phía gửi. / The exchange platform calls the request the client's own fault: who we
    say we are, how we connect, or what it asks of every request is wrong."""

    cause = "exchange_refused"
    TEXT = Text(
        "Nền tảng trao đổi từ chối yêu cầu của phía gửi; hãy kiểm tra mã bên gọi, đường kết nối và địa chỉ rồi mở lại kết nối.",
        "The exchange refused the sender's request; check the client's identifier, the way to it and the address, then resume.",
    )


class EndpointGone(Refused):
    """Bên nhận đã ngừng nhận (410): tạm dừng kết nối. / The subscriber answered 410 Gone: it wants nothing more."""

    cause = "endpoint_gone"
    TEXT = Text(
        "Bên nhận trả lời 410: không nhận nữa. Hãy hỏi lại bên nhận rồi mở lại hoặc bỏ kết nối.",
        "The subscriber answered 410 Gone: it wants nothing more. Ask them, then resume or remove the connector.",
    )


class HostKeyRefused(Refused):
    """Khóa máy chủ không đúng khóa đã ghim. / The server's host key is not the pinned one: it may be an impostor."""

    cause = "host_key_refused"
    TEXT = Text(
        "Khóa của máy chủ SFTP không đúng khóa đã ghim; hãy xác minh với đối tác trước khi sửa khóa.",
        "The SFTP server's host key is not the pinned one; verify it with the counterparty before changing the pin.",
    )


class QosRefused(Refused):
    """Máy chủ MQTT không nhận QoS 1. / The MQTT broker takes QoS 0 only, and so answers no publication: what was sent could never
    be known to have arrived."""

    cause = "qos_refused"
    TEXT = Text(
        "Máy chủ MQTT chỉ nhận QoS 0 nên không xác nhận bản tin nào; hãy cho phép QoS 1 rồi mở lại kết nối.",
        "The MQTT broker takes QoS 0 only and confirms no publication; allow QoS 1 there, then resume the connector.",
    )


class SettingError(Struct, frozen=True, kw_only=True):
    """One thing wrong with settings: RFC 6901 pointer, a stable code, and the sentence for people."""

    pointer: str
    code: str
    message: Text


class SettingsInvalid(ValueError):
    """Thiết lập kết nối không hợp lệ. / The connector's settings are not valid. `errors` lists everything found."""

    def __init__(self, errors: Sequence[SettingError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{e.pointer or '/'}: {e.message.en}" for e in self.errors))
