"""The groups of settings: each with its fields, limits and meaning.

One concern: declaring. Reading and documenting is `hub.settings`'; nothing here may read the environment or a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyUrl, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from hub.setting_checks import inward, networks


def both(vi: str, en: str) -> str:
    """A description in both languages."""
    return f"{vi} / {en}"


class Group(BaseModel):
    """Settings that belong together; an unknown name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Days = Annotated[int, Field(ge=1, le=36_500)]


class Http(Group):
    """Cổng HTTP của trục liên thông / The hub's HTTP listener."""

    host: str = Field("127.0.0.1", description=both("Địa chỉ lắng nghe", "Address to listen on"))
    port: Port = Field(0, description=both("Cổng; 0: tự chọn cổng trống", "Port; 0: a free one is picked"))
    public_url: AnyUrl | None = Field(
        None,
        description=both(
            "Địa chỉ người dùng mở; mặc định theo host và cổng", "Address people open; host and port by default"
        ),
    )
    single_max_bytes: int = Field(
        1_048_576,
        ge=1024,
        le=16_777_216,
        description=both("Kích thước tối đa của một bản tin đơn", "Largest body of a single message"),
    )
    bulk_max_bytes: int = Field(
        268_435_456,
        ge=1_048_576,
        le=8_589_934_592,
        description=both("Kích thước tối đa của một lô", "Largest body of a bulk upload"),
    )
    client_requests_per_s: Count = Field(
        200,
        description=both("Số yêu cầu mỗi giây của một hệ thống gửi", "Requests per second allowed to one API client"),
    )
    session_hours: Annotated[float, Field(gt=0, le=168)] = Field(
        8.0,
        description=both("Thời hạn phiên đăng nhập màn hình quản trị (giờ)", "Length of a console session (hours)"),
    )


class Database(Group):
    """PostgreSQL nhúng và nhóm kết nối / The embedded PostgreSQL and connection pools."""

    pool_min: Annotated[int, Field(ge=0, le=100)] = Field(
        1, description=both("Số kết nối tối thiểu của mỗi tiến trình", "Fewest connections a process keeps")
    )
    pool_max: Annotated[int, Field(ge=1, le=100)] = Field(
        8, description=both("Số kết nối tối đa của mỗi tiến trình", "Most connections a process opens")
    )
    shared_buffers_mb: Annotated[int, Field(ge=16, le=65_536)] = Field(
        256, description=both("Bộ đệm của PostgreSQL nhúng (MB)", "The embedded PostgreSQL's buffers (MB)")
    )
    max_connections: Annotated[int, Field(ge=20, le=1000)] = Field(
        100, description=both("Số kết nối tối đa của PostgreSQL nhúng", "Most connections of the embedded PostgreSQL")
    )

    @model_validator(mode="after")
    def _pool_order(self) -> Database:
        if self.pool_min > self.pool_max:
            raise ValueError("pool_min > pool_max")
        return self


class Redis(Group):
    """Redis nhúng / The embedded Redis."""

    max_memory_mb: Annotated[int, Field(ge=16, le=65_536)] = Field(
        256, description=both("Bộ nhớ tối đa của Redis nhúng (MB)", "Most memory of the embedded Redis (MB)")
    )


class Mqtt(Group):
    """Máy chủ MQTT và cầu nối / The MQTT broker and the bridge."""

    host: str | None = Field(
        None,
        description=both(
            "Máy chủ MQTT bên ngoài; trống: dùng máy chủ nhúng", "An outside broker; empty: the embedded one"
        ),
    )
    port: Port = Field(
        0,
        description=both(
            "Cổng MQTT; 0: tự chọn (nhúng), 1883 hay 8883 (bên ngoài)",
            "Port; 0: picked (embedded), 1883 or 8883 (outside)",
        ),
    )
    listen: str = Field(
        "127.0.0.1",
        description=both(
            "Địa chỉ lắng nghe không mã hóa của máy chủ nhúng: máy này hoặc mạng riêng",
            "Address the embedded broker listens on without TLS: this machine or a private network",
        ),
    )
    tls: bool = Field(False, description=both("Nối tới máy chủ bên ngoài bằng TLS", "Use TLS to the outside broker"))
    ca_file: Path | None = Field(
        None,
        description=both("Chứng thư gốc để kiểm tra máy chủ", "Authority that signs the outside broker's certificate"),
    )
    username: str = Field(
        "hub-bridge", min_length=1, max_length=64, description=both("Tài khoản cầu nối", "The bridge's user name")
    )
    password: SecretStr | None = Field(
        None, description=both("Mật khẩu cầu nối (máy chủ bên ngoài)", "The bridge's password (outside broker)")
    )
    tls_port: Port = Field(
        0, description=both("Cổng TLS của máy chủ nhúng; 0: không mở", "TLS port of the embedded broker; 0: none")
    )
    tls_cert_file: Path | None = Field(
        None,
        description=both("Chứng thư máy chủ nhúng; trống: trục tự cấp", "The embedded broker's; empty: the hub's own"),
    )
    tls_names: tuple[str, ...] = Field(
        (), description=both("Tên và địa chỉ cổng gọi tới (trong chứng thư)", "Names and addresses gates call")
    )
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000, description=both("Số kết nối tối đa tới máy chủ nhúng", "Most connections to the embedded broker")
    )
    tls_key_file: Path | None = Field(None, description=both("Khóa TLS của máy chủ nhúng", "The embedded broker's key"))
    tls_client_ca_file: Path | None = Field(
        None,
        description=both(
            "Bắt buộc chứng thư thiết bị do gốc này ký", "Devices must show a certificate signed by this authority"
        ),
    )
    queued_messages: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        100_000, description=both("Hàng đợi tối đa cho một thiết bị (bản tin)", "Longest queue per client (messages)")
    )
    inflight_messages: Annotated[int, Field(ge=1, le=65_535)] = Field(
        4_000, description=both("Cửa sổ bản tin chưa xác nhận", "Window of unacknowledged messages")
    )
    message_max_bytes: Annotated[int, Field(ge=1024, le=268_435_456)] = Field(
        4_194_304, description=both("Kích thước tối đa một bản tin MQTT", "Largest MQTT message")
    )

    @model_validator(mode="after")
    def _tls_complete(self) -> Mqtt:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file belong together")
        if not inward(self.listen):
            raise ValueError("listen: without TLS only a loopback or a private address; gates elsewhere use tls_port")
        if self.host is not None and self.password is None:
            raise ValueError("an outside broker needs a password")
        return self


class Airflow(Group):
    """Airflow chạy bên cạnh / Airflow beside the hub."""

    mode: Literal["embedded", "off", "url"] = Field(
        "embedded", description=both("Nhúng, tắt, hoặc Airflow có sẵn", "Embedded, off, or one that runs elsewhere")
    )
    url: AnyUrl | None = Field(None, description=both("Địa chỉ khi mode là url", "Its address when the mode is url"))
    username: str = Field("hub", min_length=1, description=both("Tài khoản gọi API", "User of its API"))
    password: SecretStr | None = Field(
        None, description=both("Mật khẩu khi mode là url", "Its password when the mode is url")
    )
    port: Port = Field(
        0, description=both("Cổng của Airflow nhúng; 0: tự chọn", "Port of the embedded one; 0: a free one is picked")
    )
    parallelism: Annotated[int, Field(ge=1, le=64)] = Field(
        8, description=both("Số tác vụ chạy cùng lúc", "Tasks that run at once")
    )

    @model_validator(mode="after")
    def _url_complete(self) -> Airflow:
        if self.mode == "url" and (self.url is None or self.password is None):
            raise ValueError("mode url needs url and password")
        return self


class Intake(Group):
    """Tiếp nhận / Intake."""

    batch: Count = Field(
        200, description=both("Số bản tin ghi trong một giao dịch", "Messages committed in one transaction")
    )
    chunk: Count = Field(
        500, description=both("Số mục của một lô lớn ghi mỗi lần", "Items of a bulk body committed at a time")
    )
    key_days: Days = Field(
        30, description=both("Số ngày nhớ khóa chống gửi trùng", "Days an idempotency key is remembered")
    )


class Dispatch(Group):
    """Gửi đi / Dispatch."""

    workers: Annotated[int, Field(ge=1, le=64)] = Field(1, description=both("Số tiến trình gửi", "Worker processes"))
    lease_s: Seconds = Field(
        60.0, description=both("Thời hạn giữ một lô đã nhận (giây)", "How long a claimed batch is held (seconds)")
    )
    poll_interval_s: Annotated[float, Field(ge=0.05, le=60)] = Field(
        1.0,
        description=both(
            "Nhịp hỏi hàng đợi khi không có chuông (giây)", "Pause between looks at the queue without a bell (seconds)"
        ),
    )


class Alarms(Group):
    """Cảnh báo / Alarms."""

    oldest_minutes: Count = Field(
        60,
        description=both(
            "Báo khi có lượt gửi chờ lâu hơn (phút)", "Alarm when a delivery has been open for longer (minutes)"
        ),
    )

    recovery_hours: Annotated[float, Field(gt=0, le=1000)] = Field(
        4.0,
        description=both(
            "Báo khi phục hồi một kết nối kéo dài quá số giờ đối tác mở cửa này",
            "Alarm when a connector's recovery has lasted for more than so many hours of its counterparty's open time",
        ),
    )
    silent_expected: Annotated[float, Field(ge=3, le=1000)] = Field(
        8.0,
        description=both(
            "Báo cổng im lặng khi đáng lẽ đã có chừng này lượt qua",
            "A gate is silent when so many passages were to be expected",
        ),
    )
    silent_minutes: Count = Field(
        20, description=both("Và đã im ít nhất số phút này", "And it has been quiet for at least so many minutes")
    )


class Checkins(Group):
    """Điểm danh qua cổng / Check-ins at gates."""

    punch_window_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        60.0,
        description=both(
            "Các lượt của một người, cùng chiều, cùng lối, cách nhau không quá số giây này là một",
            "Punches of one person, one way, at one entrance no further apart than this (seconds) are one passage",
        ),
    )


class Retention(Group):
    """Thời gian lưu theo nhóm (ngày) / Days kept, by retention class."""

    short_days: Days = Field(30, description=both("Nhóm ngắn: điểm danh", "Short: check-ins"))
    standard_days: Days = Field(365, description=both("Nhóm chuẩn: hồ sơ thường", "Standard: everyday records"))
    long_days: Days = Field(3650, description=both("Nhóm dài: học bạ, văn bằng", "Long: school records, diplomas"))
    body_days: Days = Field(
        90,
        description=both(
            "Số ngày giữ nội dung bản tin, lời gọi và trả lời; sau đó chỉ còn mã băm và thông tin chung",
            "Days the bodies of messages, calls and replies are kept; then only hashes and metadata remain",
        ),
    )
    ahead_days: Annotated[int, Field(ge=2, le=366)] = Field(
        14, description=both("Số ngày phân vùng được tạo trước", "Days of partitions made ahead")
    )

    @model_validator(mode="after")
    def _order(self) -> Retention:
        if not self.short_days <= self.standard_days <= self.long_days:
            raise ValueError("short_days <= standard_days <= long_days must hold")
        return self


class Outward(Group):
    """Địa chỉ được phép gọi ra / Addresses the hub may call."""

    allow_private: tuple[str, ...] = Field(
        (),
        description=both(
            "Mạng nội bộ được phép gọi tới (CIDR, danh sách JSON); mặc định chỉ địa chỉ công khai",
            "Private networks that may be called (CIDR, a JSON list); by default public addresses only",
        ),
    )
    gate_networks: tuple[str, ...] = Field(
        (),
        description=both(
            "Mạng có cổng điểm danh mà hub được hỏi danh sách (CIDR, danh sách JSON); mỗi cổng chỉ mở mạng của chính nó",
            "Networks gates stand in that the hub may ask (CIDR, a JSON list); each gate opens its own network only",
        ),
    )
    folders: tuple[str, ...] = Field(
        (),
        description=both(
            "Thư mục gốc mà kết nối tệp được dùng (đường dẫn tuyệt đối, danh sách JSON); mặc định không có",
            "Root folders file connectors may use (absolute paths, a JSON list); none by default",
        ),
    )

    @field_validator("folders")
    @classmethod
    def _roots(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for folder in value:
            if not Path(folder).is_absolute() or Path(folder) == Path(Path(folder).anchor):
                raise ValueError(f"{folder} is not an absolute path below the file system's root")
        return value

    @field_validator("allow_private", "gate_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return networks(value)
