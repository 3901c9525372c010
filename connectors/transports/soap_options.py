"""What a SOAP transport can be told beyond plain SOAP: message security and attachments.

One concern: declaring it. The code behind it is `wss` and `mtom`, imported only by connectors that use them.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import field_validator, model_validator

from connectors.declare import Declared, Secret, require, setting, wrong
from connectors.transports.tls import certificates
from hub.kernel.ports import Text

SIGNING_KEY = Secret(
    name="wss_key",
    title=Text("Khóa riêng để ký bản tin (PEM)", "Private key that signs messages (PEM)"),
    required=False,
    lines=True,
)
TOKEN_PASSWORD = Secret(
    name="wss_password", title=Text("Mật khẩu UsernameToken", "UsernameToken password"), required=False
)


class WssSettings(Declared):
    """WS-Security 1.1: X.509 signature, UsernameToken."""

    ABOUT = Text("An toàn bản tin (WS-Security)", "Message security (WS-Security)")
    certificate_pem: str | None = setting(
        "Chứng thư ký (PEM)",
        "Signing certificate (PEM)",
        default=None,
        example="-----BEGIN CERTIFICATE----- …",
        lines=True,
        help=Text(
            "Đặt thì ký thân và dấu thời gian bằng RSA/ECDSA-SHA256, exclusive C14N; khóa riêng nằm ở phần bí mật",
            "When set, body and timestamp are signed with RSA/ECDSA-SHA256, exclusive C14N; its private key is a secret",
        ),
    )
    username: str | None = setting(
        "Tên trong UsernameToken",
        "UsernameToken's user name",
        default=None,
        example="so-gddt",
        max_length=200,
        help=Text("Đặt thì gửi UsernameToken", "When set, a UsernameToken is sent"),
    )
    sent_as: Literal["digest", "text"] = setting(
        "Cách gửi mật khẩu UsernameToken",
        "How the UsernameToken's password is sent",
        default="digest",
        help=Text("text: chỉ nên dùng qua TLS", "text: advisable over TLS only"),
    )
    lives_s: int = setting(
        "Bản tin có hiệu lực (giây)", "A message is valid for (seconds)", default=300, ge=10, le=3600
    )
    answer_certificates_pem: str | None = setting(
        "Chứng thư ký của đối tác (PEM)",
        "The counterparty's signing certificates (PEM)",
        default=None,
        example="-----BEGIN CERTIFICATE----- …",
        lines=True,
        help=Text(
            "Đặt thì mọi trả lời phải được một trong các chứng thư này ký; khi đổi chứng thư hãy đặt cả cũ và mới",
            "When set, every answer must be signed by one of these; during a change give the old one and the new",
        ),
    )

    @property
    def used(self) -> bool:
        """Whether anything of it is asked for."""
        return bool(self.certificate_pem or self.username or self.answer_certificates_pem)

    @field_validator("certificate_pem", "answer_certificates_pem")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        return certificates(value, _loaded)


def _loaded(pem: str) -> object:
    from cryptography.x509 import load_pem_x509_certificates  # here: few connectors sign messages

    return load_pem_x509_certificates(pem.encode())


class AttachmentSettings(Declared):
    """Binary content: inside the envelope as base64, or beside it as MTOM/XOP parts."""

    ABOUT = Text("Tệp đính kèm", "Attachments")
    form: Literal["base64", "mtom"] = setting(
        "Cách gửi",
        "How they are sent",
        default="base64",
        help=Text(
            "Bộ chuyển đổi luôn viết và đọc base64 trong thân; mtom tách ra thành phần riêng khi gửi, ghép lại khi nhận",
            "Adapters always write and read base64 in the body; mtom moves it out on sending and back in on receiving",
        ),
    )
    elements: list[str] = setting(
        "Phần tử mang tệp",
        "Elements that hold content",
        default=[],
        example=["NoiDungTep", "{http://dich-vu.example.vn}Content"],
        max_length=50,
        help=Text("Tên, hoặc {không gian tên}tên", "A local name, or {namespace}name"),
    )
    from_bytes: int = setting(
        "Tách từ (byte)", "Moved out from (bytes)", default=4096, ge=1, le=64 << 20, help=Text("Sau giải mã", "Decoded")
    )
    max_bytes: int = setting(
        "Mỗi tệp tối đa (byte)", "Largest attachment (bytes)", default=16 << 20, ge=1024, le=256 << 20
    )
    max_parts: int = setting("Số phần tối đa", "Most parts", default=50, ge=1, le=1000)

    @model_validator(mode="after")
    def _named(self) -> AttachmentSettings:
        if self.form == "mtom" and not self.elements:
            raise wrong("elements", "mtom cần tên phần tử mang tệp", "mtom needs the elements that hold content")
        return self


class SoapOptions(Declared):
    """The groups every SOAP transport has."""

    SECRETS: ClassVar[tuple[Secret, ...]] = (SIGNING_KEY, TOKEN_PASSWORD)
    security: WssSettings = setting(
        "An toàn bản tin (WS-Security)", "Message security (WS-Security)", default=WssSettings()
    )
    attachments: AttachmentSettings = setting("Tệp đính kèm", "Attachments", default=AttachmentSettings())

    def needed(self) -> tuple[Secret, ...]:
        """The signing key where there is a certificate, the password where there is a user name."""
        wanted = {SIGNING_KEY.name: self.security.certificate_pem, TOKEN_PASSWORD.name: self.security.username}
        return tuple(require(s) if wanted.get(s.name) else s for s in super().needed())
