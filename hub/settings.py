"""Every setting of the hub, in one validated model.

One concern: what can be set, its default, its limits and its meaning. It must never start anything, nor hold a secret
that the hub makes itself (`hub.keys` does).

Order: environment (`LT_` prefix, groups joined by `__`: `LT_HTTP__PORT`), then the file, then the default. The file is
the one `LT_CONFIG` names, else `hub.yaml` in the data folder; YAML, or TOML by its ending. A description's first half
is Vietnamese, the second English, with ` / ` between.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
    YamlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableSource

from hub.filing_settings import Files, Filings
from hub.gate_settings import Gates, Pictures
from hub.keys import default_path
from hub.setting_groups import (
    Airflow,
    Alarms,
    Checkins,
    Database,
    Dispatch,
    Http,
    Intake,
    Mqtt,
    Outward,
    Redis,
    Retention,
    both,
)
from hub.verification_settings import Verification

PREFIX = "LT_"
_FILE_VARIABLE = "LT_CONFIG"


class SettingsError(Exception):
    """Cấu hình không hợp lệ. / The settings are not valid."""

    def __str__(self) -> str:
        return f"{self.__doc__}\n{self.args[0] if self.args else ''}".strip()


class Settings(BaseSettings):
    """Cấu hình của trục liên thông / The hub's settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(Path(".data"), description=both("Thư mục dữ liệu", "Data folder"))
    master_key_file: Path | None = Field(
        None,
        description=both(
            "Tệp khóa chủ; mặc định nằm ngoài thư mục dữ liệu: ~/.config/lien-thong/<mã>/master.key",
            "Master key file; by default outside the data folder: ~/.config/lien-thong/<hash>/master.key",
        ),
    )
    database_url: SecretStr | None = Field(
        None,
        description=both(
            "PostgreSQL bên ngoài (postgresql://); trống: nhúng",
            "An outside PostgreSQL (postgresql://); empty: embedded",
        ),
    )
    database_owner_url: SecretStr | None = Field(
        None,
        description=both(
            "Địa chỉ với quyền tạo bảng; mặc định như database_url",
            "Address with the right to migrate; database_url by default",
        ),
    )
    redis_url: SecretStr | None = Field(
        None, description=both("Redis bên ngoài; trống: nhúng", "An outside Redis; empty: embedded")
    )
    http: Http = Field(default_factory=Http, description=both("Cổng HTTP", "The HTTP listener"))
    database: Database = Field(default_factory=Database, description=both("PostgreSQL", "PostgreSQL"))
    redis: Redis = Field(default_factory=Redis, description=both("Redis", "Redis"))
    mqtt: Mqtt = Field(default_factory=Mqtt, description=both("MQTT", "MQTT"))
    airflow: Airflow = Field(default_factory=Airflow, description=both("Airflow", "Airflow"))
    intake: Intake = Field(default_factory=Intake, description=both("Tiếp nhận", "Intake"))
    dispatch: Dispatch = Field(default_factory=Dispatch, description=both("Gửi đi", "Dispatch"))
    outward: Outward = Field(default_factory=Outward, description="Gọi ra / Calling out")
    alarms: Alarms = Field(default_factory=Alarms, description=both("Cảnh báo", "Alarms"))
    checkins: Checkins = Field(default_factory=Checkins, description=both("Điểm danh qua cổng", "Check-ins at gates"))
    gates: Gates = Field(default_factory=Gates, description=both("Cửa HTTP của cổng", "The gates' HTTP doors"))
    pictures: Pictures = Field(default_factory=Pictures, description=both("Ảnh từ cổng", "Pictures of gates"))
    filings: Filings = Field(default_factory=Filings, description=both("Thời hạn hồ sơ", "Filings and their dates"))
    files: Files = Field(default_factory=Files, description=both("Tài liệu hồ sơ", "Documents of filings"))
    verification: Verification = Field(
        default_factory=Verification, description=both("Xác minh theo lịch", "Scheduled verification")
    )
    retention: Retention = Field(default_factory=Retention, description=both("Thời gian lưu", "Retention"))

    @model_validator(mode="after")
    def _schemes(self) -> Settings:
        for name, schemes in (
            ("database_url", ("postgresql://", "postgres://")),
            ("database_owner_url", ("postgresql://", "postgres://")),
            ("redis_url", ("redis://", "rediss://", "unix://")),
        ):
            url = getattr(self, name)
            if url is not None and not url.get_secret_value().startswith(schemes):
                raise ValueError(f"{name} must begin with {' or '.join(schemes)}")
        return self

    @property
    def key_file(self) -> Path:
        """The master key's file, default applied."""
        return self.master_key_file or default_path(self.data_dir)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, file: no others."""
        given = init_settings()
        data_dir = given.get("data_dir") or os.environ.get(f"{PREFIX}DATA_DIR") or ".data"
        named = os.environ.get(_FILE_VARIABLE)
        file = Path(named) if named else Path(data_dir) / "hub.yaml"
        if named and not file.is_file():
            raise SettingsError(f"{_FILE_VARIABLE}: {file}: không có tệp này / no such file")
        kind = TomlConfigSettingsSource if file.suffix == ".toml" else YamlConfigSettingsSource
        return init_settings, env_settings, kind(settings_cls, file)


def load(**given: Any) -> Settings:
    """The settings in force; `given` comes before everything else. Paths are made absolute.

    Raises `SettingsError` naming each faulty setting (never its value), and for an unknown `LT_` variable.
    """
    unknown = sorted(set(_variables_set()) - set(_variables(Settings, PREFIX)) - {_FILE_VARIABLE})
    if unknown:
        raise SettingsError("\n".join(f"{name}: không phải tên cấu hình / names no setting" for name in unknown))
    try:
        settings = Settings(**given)
    except ValidationError as error:
        told = ((".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors())
        raise SettingsError("\n".join(f"{place}: {said}" for place, said in told)) from None
    except UnreadableSource as error:  # says the setting and where from, not the value
        raise SettingsError(str(error)) from None
    except SettingsError:
        raise
    except Exception as error:  # a file's parser raises its own kinds; none of their texts may quote a secret
        raise SettingsError(f"{os.environ.get(_FILE_VARIABLE, 'hub.yaml')}: {type(error).__name__}") from None
    return settings.model_copy(update={"data_dir": settings.data_dir.absolute()})


def document() -> str:
    """All settings as a Markdown table, Vietnamese and English."""
    lines = [
        "# Cấu hình / Settings",
        "",
        "Biến môi trường đứng trước tệp `hub.yaml` trong thư mục dữ liệu (hoặc tệp mà `LT_CONFIG` chỉ tới). / "
        "The environment comes before the file `hub.yaml` in the data folder (or the file `LT_CONFIG` names).",
        "",
        "| Biến / Variable | Tệp / File | Kiểu / Type | Mặc định / Default | Ý nghĩa | Meaning |",
        "|---|---|---|---|---|---|",
    ]
    for path, field in _fields(Settings):
        vi, _, en = (field.description or "").partition(" / ")
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None else f"`{default}`"
        cells = (f"`{PREFIX}{'__'.join(path).upper()}`", f"`{'.'.join(path)}`", _type_name(field), shown, vi, en)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _fields(model: type[BaseModel], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], FieldInfo]]:
    found: list[tuple[tuple[str, ...], FieldInfo]] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += _fields(inner, (*path, name))
        else:
            found.append(((*path, name), field))
    return found


def _type_name(field: FieldInfo) -> str:
    if get_origin(field.annotation) is tuple:
        return "danh sách / list"
    options = get_args(field.annotation)
    if options and all(isinstance(option, str) for option in options):
        return ", ".join(f"`{option}`" for option in options)
    kinds = [kind for kind in options if kind is not type(None)] or [field.annotation]
    names = {"int": "số nguyên / integer", "float": "số / number", "str": "chuỗi / text", "bool": "có, không / yes, no"}
    names |= {"Path": "đường dẫn / path", "SecretStr": "bí mật / secret", "AnyUrl": "địa chỉ / URL"}
    return names[getattr(kinds[0], "__name__", "")]


def _variables(model: type[BaseModel], prefix: str) -> list[str]:
    names = [PREFIX + "__".join(path).upper() for path, _ in _fields(model)]
    return names + [prefix + name.upper() for name in model.model_fields]


def _variables_set() -> list[str]:
    return [name for name in os.environ if name.startswith(PREFIX)]
