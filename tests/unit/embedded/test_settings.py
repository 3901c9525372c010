from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from hub import settings
from hub.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in settings._variables_set():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_embedded_and_valid(tmp_path: Path) -> None:
    found = settings.load()
    assert (found.database_url, found.redis_url, found.mqtt.host, found.airflow.mode) == (None, None, None, "embedded")
    assert found.data_dir == tmp_path / ".data"


def test_environment_before_file_before_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub.yaml").write_text("http: {port: 8001, host: 0.0.0.0}\nintake: {batch: 7}\n")
    monkeypatch.setenv("LT_HTTP__PORT", "8002")
    found = settings.load(data_dir=tmp_path)
    assert (found.http.port, found.http.host, found.intake.batch, found.intake.chunk) == (8002, "0.0.0.0", 7, 500)


def test_a_named_file_yaml_or_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.toml").write_text("[http]\nport = 8003\n")
    monkeypatch.setenv("LT_CONFIG", str(tmp_path / "x.toml"))
    assert settings.load().http.port == 8003
    monkeypatch.setenv("LT_CONFIG", str(tmp_path / "missing.yaml"))
    with pytest.raises(SettingsError, match="no such file"):
        settings.load()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LT_HTTP__PORT", "70000", "http.port"),
        ("LT_HTTP__PORT", "many", "http.port"),
        ("LT_HTPP__PORT", "1", "LT_HTPP__PORT"),
        ("LT_DATABASE_URL", "mysql://u:hidden@h/d", "database_url"),
        ("LT_AIRFLOW__MODE", "url", "needs url"),
        ("LT_AIRFLOW__MODE", "sometimes", "airflow.mode"),
        ("LT_MQTT__TLS_CERT_FILE", "/nowhere/cert.pem", "tls_key_file"),
        ("LT_MQTT__LISTEN", "0.0.0.0", "listen"),
        ("LT_MQTT__LISTEN", "8.8.8.8", "listen"),
        ("LT_MQTT__HOST", "broker", "password"),
        ("LT_VERIFICATION__PURPOSE", "ngắn", "verification.purpose: Hãy nêu mục đích"),
        ("LT_VERIFICATION__PURPOSE", "Rà soát hồ sơ cuối năm", "purpose and officer belong together"),
        ("LT_VERIFICATION__OFFICER", "hai chữ", "verification.officer"),
        ("LT_VERIFICATION__OFFICER", "cb.07", "purpose and officer belong together"),
        ("LT_OUTWARD__ALLOW_PRIVATE", '["10.0.0.0/99"]', "outward.allow_private"),
        ("LT_OUTWARD__ALLOW_PRIVATE", "10.0.0.0/8", "outward"),
        (
            "LT_OUTWARD__GATE_NETWORKS",
            '["10.20.0.0/16", "10.21.0.0./16"]',
            "outward.gate_networks: [2] '10.21.0.0./16': không phải mạng",
        ),
        ("LT_OUTWARD__GATE_NETWORKS", '["10.20.0.1/16"]', "is 10.20.0.0/16 meant"),
        ("LT_RETENTION__SHORT_DAYS", "9999", "short_days"),
        ("LT_DATABASE__POOL_MIN", "50", "pool_min"),
    ],
)
def test_faults_are_named_without_values(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_networks_are_kept_as_they_are_usually_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LT_OUTWARD__GATE_NETWORKS", '["10.20.0.7", "2001:DB8::/32"]')
    assert settings.load().outward.gate_networks == ("10.20.0.7/32", "2001:db8::/32")


@pytest.mark.parametrize("content", ["nonsense: 1", "http: [1]", "http: {ports: 1}", "- 1", "a: [", "\x00"])
def test_a_faulty_file_is_refused_clearly(tmp_path: Path, content: str) -> None:
    (tmp_path / "hub.yaml").write_text(content)
    with pytest.raises(SettingsError):
        settings.load(data_dir=tmp_path)


def test_secrets_do_not_show() -> None:
    found = Settings(database_url="postgresql://u:hidden@h/d")  # type: ignore[arg-type]
    assert "hidden" not in repr(found)


def test_every_setting_is_documented_in_both_languages() -> None:
    text = settings.document()
    for path, field in settings._fields(Settings):
        vi, separator, en = (field.description or "").partition(" / ")
        assert vi, path
        assert separator, path
        assert en, path
        assert f"| `LT_{'__'.join(path).upper()}` |" in text
    assert settings.document() == text


def test_every_documented_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def default(found: BaseModel, path: tuple[str, ...]) -> object:
        value: object = found
        for name in path:
            value = getattr(value, name)
        return value

    for path, field in settings._fields(Settings):
        if field.annotation is int:
            variable = "LT_" + "__".join(path).upper()
            was = default(Settings(), path)
            assert isinstance(was, int)
            monkeypatch.setenv(variable, str(was))
            read = Settings()
            assert path[-1] in (read if len(path) == 1 else getattr(read, path[0])).model_fields_set, variable
            monkeypatch.delenv(variable)


def test_the_example_file_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).resolve().parents[3] / "deploy" / "hub.example.yaml"
    monkeypatch.setenv("LT_CONFIG", str(example))
    found = settings.load()
    assert (found.mqtt.port, found.airflow.mode, found.dispatch.workers) == (8883, "off", 4)
