"""What can keep a call from being sent, and what can be wrong with a connector's settings.

One concern: the exceptions of this folder. An exception here must never carry a secret: only names, addresses and
reasons. Everything a caller of `Connector.send` sees is `NotSent` or `MaybeSent` of the ports, or a kind of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from hub.kernel.ports import NotSent, Text


class CredentialsRefused(NotSent):
    """Đối tác từ chối tài khoản của kết nối: tạm dừng kết nối và cập nhật tài khoản. / The counterparty refused the
    connector's credentials: pause the connector until a person has renewed them."""


class AddressRefused(NotSent):
    """Địa chỉ đích nằm trong mạng nội bộ mà cấu hình của trục không cho phép. / The address lies in a private network
    that the hub's own configuration does not allow connectors to reach."""


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
