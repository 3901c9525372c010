"""What can be set about an MQTT broker and the session with it.

One concern: the declaration. It must never connect.
"""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from connectors.declare import Declared, Secret, setting
from connectors.transports.tls import certificates, tls_context
from hub.kernel.ports import Text

CAPABILITIES = frozenset({"mqtt", "tls", "single"})
"""`single`: its session and the answers on it are in one process, so one worker serves such a connector at a time."""


class MqttSettings(Declared):
    """A broker and a session with it."""

    ABOUT = Text("MQTT 5, hoặc 3.1.1 với máy chủ chưa có 5", "MQTT 5, or 3.1.1 with a broker that has no 5")
    SECRETS = (Secret(name="mqtt_password", title=Text("Mật khẩu MQTT", "MQTT password"), required=False),)
    kind: Literal["mqtt"] = "mqtt"
    host: str = setting("Máy chủ", "Host", example="mqtt.example.vn", min_length=1, pattern=r"^[^\s/@]+$")
    port: int = setting("Cổng", "Port", default=1883, ge=1, le=65535)
    tls: bool = setting("Dùng TLS", "Use TLS", default=False)
    ca_pem: str | None = setting(
        "Chứng thư gốc (PEM)",
        "Authority certificate (PEM)",
        default=None,
        example="-----BEGIN CERTIFICATE----- …",
        lines=True,
    )
    username: str | None = setting("Tên đăng nhập", "User name", default=None, example="cau-noi")
    client_id: str = setting(
        "Mã máy khách",
        "Client id",
        example="lien-thong-cau-noi-1",
        help=Text(
            "Cố định: phiên gắn với mã này; thử kết nối dùng mã này và “-probe”",
            "Fixed: the session belongs to it; a probe uses it with “-probe”",
        ),
        pattern=r"^[0-9A-Za-z_.-]{1,64}$",
    )
    keepalive_s: int = setting("Nhịp giữ kết nối (giây)", "Keep-alive (seconds)", default=30, ge=5, le=3600)
    answers: str = setting(
        "Chủ đề trả lời",
        "Topics of answers",
        default="",
        example="mqtt/face/+/Ack",
        help=Text(
            "Trống: chỉ chờ máy chủ xác nhận; có: chờ thiết bị trả lời lệnh",
            "Empty: the broker's word is enough; else a command waits for its receiver's answer",
        ),
        max_length=200,
    )
    answer_s: float = setting("Chờ thiết bị trả lời (giây)", "Wait for an answer (seconds)", default=10.0, gt=0, le=120)
    capacity: int = setting(
        "Hàng chờ tối đa (bản tin)", "Hand-off queue (publications)", default=4096, ge=1, le=1_000_000
    )
    capacity_bytes: int = setting(
        "Hàng chờ tối đa (byte)", "Hand-off queue (bytes)", default=128 << 20, ge=1 << 16, le=4 << 30
    )

    _authority = field_validator("ca_pem")(lambda value: certificates(value, tls_context))
