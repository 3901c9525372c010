"""Declared settings: validation in two languages, forms and documentation from one declaration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from connectors.errors import SettingsInvalid
from connectors.settings import KINDS, SCHEMES, choices, document, dump, form, validate

GOOD: dict[str, Any] = {
    "name": "bo-gddt",
    "system": "ministry",
    "transport": {"kind": "rest", "base_url": "https://bo.example.vn/nhan/"},
    "auth": {"scheme": "basic", "username": "so"},
    "policy": {"quota": {"per_second": 50}, "calendar": {"hours": ["07:30-17:00"]}},
}


def errors(change: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(SettingsInvalid) as invalid:
        validate({**GOOD, **change})
    for error in invalid.value.errors:
        assert error.message.vi and error.message.en and "{" not in error.message.vi.replace("{0,62}", "")
    return {e.pointer: e.code for e in invalid.value.errors}


def test_good_settings_round_trip() -> None:
    settings = validate(GOOD)
    assert settings.transport.kind == "rest" and settings.policy.quota.per_second == 50
    assert validate(dump(settings)) == settings


@pytest.mark.parametrize("name", ["new", " new ", "", "-a", "Bo", "bo gddt", "bộ", "x" * 64])
def test_a_connectors_name_stands_in_addresses(name: str) -> None:
    assert errors({"name": name}) == {"/name": "misnamed"}


def test_all_errors_are_told_with_pointer_and_title() -> None:
    assert errors(
        {
            "name": "A B",
            "transport": {"kind": "rest", "base_url": "ftp://x", "headers": {"Authorization": "x"}},
            "policy": {"concurrency": 0, "breaker": {"ratio": float("nan")}, "calendar": {"hours": ["9-5"]}},
            "zz": 1,
        }
    ) == {
        "/name": "misnamed",
        "/transport/base_url": "address",
        "/transport/headers": "secret_misplaced",
        "/policy/concurrency": "greater_than_equal",
        "/policy/breaker/ratio": "finite_number",
        "/policy/calendar/hours": "window",
        "/zz": "extra_forbidden",
    }
    with pytest.raises(SettingsInvalid) as invalid:
        validate({**GOOD, "policy": {"concurrency": 0}})
    assert invalid.value.errors[0].message.vi == "“Lời gọi đồng thời” phải từ 1 trở lên"


def test_a_secret_among_the_settings_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsInvalid) as invalid:
        validate({**GOOD, "auth": {"scheme": "basic", "username": "so", "password": "lo-ra-day"}})
    assert [e.code for e in invalid.value.errors] == ["secret_misplaced"]
    assert "lo-ra-day" not in str(invalid.value) + repr(invalid.value.errors)
    assert invalid.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    ["http://", "http://u:p@x.vn", "http://x.vn/?q=1", "http://x.vn/#f", "x.vn", "http://x.vn:0", "http://x.vn:99999",
     "http://x y.vn", "javascript:alert(1)", "file:///etc/passwd", "http://x.vn/\\a", ""],
)  # fmt: skip
def test_addresses_that_are_none(url: str) -> None:
    assert "/transport/base_url" in errors({"transport": {"kind": "rest", "base_url": url}})


def test_mqtt_has_no_scheme_of_its_own() -> None:
    assert errors({"transport": {"kind": "mqtt", "host": "mq.example.vn", "client_id": "a"}}) == {"": "auth_unfit"}


def test_bad_certificate_and_maintenance_order() -> None:
    assert errors({"transport": {**GOOD["transport"], "tls": {"ca_pem": "nope"}}}) == {
        "/transport/tls/ca_pem": "certificate"
    }
    backwards = {"starts": "2026-10-02T00:00:00+07:00", "ends": "2026-10-01T00:00:00+07:00"}
    assert errors({"policy": {"calendar": {"maintenance": [backwards]}}}) == {"/policy/calendar/maintenance/0": "order"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@hypothesis_settings(deadline=None)  # the first form of a kind takes a while to make
@given(anything, st.sampled_from(["transport", "auth", "policy", "name", "adapter"]))
def test_anything_whatever_is_valid_or_explained(value: Any, place: str) -> None:
    for data in (value, {**GOOD, place: value}, {**GOOD, "transport": {"kind": value}}):
        try:
            validate(data)
        except SettingsInvalid as invalid:
            assert invalid.errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_form_is_a_schema_with_titles_in_both_languages(kind: str, scheme: str) -> None:
    schema = form(kind, scheme)
    Draft202012Validator.check_schema(schema)

    def walk(node: dict[str, Any], path: str) -> None:
        for name, field in node.get("properties", {}).items():
            if name not in ("kind", "scheme", "secrets"):
                title = field["x-title"]
                assert title["vi"] and title["en"], f"{path}/{name}"
            walk(field, f"{path}/{name}")

    walk(schema, "")
    assert "$ref" not in str(schema)
    secrets = schema["properties"]["secrets"]["properties"]
    assert set(secrets) == {s.name for s in (*KINDS[kind].SECRETS, *SCHEMES[scheme].SECRETS)}
    assert all(s["writeOnly"] for s in secrets.values())


def test_a_form_accepts_what_validation_accepts() -> None:
    schema = form("rest", "basic")
    Draft202012Validator(schema).validate(GOOD)
    assert list(Draft202012Validator(schema).iter_errors({**GOOD, "policy": {"concurrency": 0}}))


def test_unknown_kinds_and_choices() -> None:
    with pytest.raises(SettingsInvalid):
        form("ftp", "none")
    assert set(choices()["transport"]) == set(KINDS) and set(choices()["auth"]) == set(SCHEMES)


def test_the_documentation_names_every_setting() -> None:
    text = document()
    for model in (*KINDS.values(), *SCHEMES.values()):
        for name in model.model_fields:
            assert f"`{name}`" in text
