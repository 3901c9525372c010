"""Forms from the connectors' own declarations, and back."""

from __future__ import annotations

import connectors.settings as connector_settings
from adapters import manifest
from hub.console import forms

STORED = connector_settings.dump(
    connector_settings.validate(
        {
            "name": "bo", "system": "ministry", "transport": {"kind": "rest", "base_url": "https://bo.example.vn/api"}, "auth": {"scheme": "bearer"},
            "adapter": {"province_code": "31", "source": "S"}, "policy": {"quota": {"per_second": 12}},
        }
    )
)  # fmt: skip


def _schema(kind: str = "rest", scheme: str = "bearer"):
    made = connector_settings.form(kind, scheme)
    if not made["properties"]["secrets"]["properties"]:
        del made["properties"]["secrets"]
    made["properties"]["adapter"] = manifest.load("ministry").form()
    return made


def _leaves(fields):
    for f in fields:
        yield from _leaves(f.children) if f.kind == "group" else (f,)


def test_what_is_shown_comes_back_the_same() -> None:
    for kind in connector_settings.KINDS:
        for scheme in connector_settings.SCHEMES:
            form = {
                f.pointer: f.value for f in _leaves(forms.fields(_schema(kind, scheme), STORED)) if f.kind != "fixed"
            }
            data, errors = forms.read(_schema(kind, scheme), form)
            assert errors == {}
            if (kind, scheme) == ("rest", "bearer"):
                data.pop("secrets", None)
                assert connector_settings.dump(connector_settings.validate(data)) == STORED


def test_a_secret_is_never_filled_in() -> None:
    secrets = [
        f for f in _leaves(forms.fields(_schema(), {**STORED, "secrets": {"token": "bi-mat"}})) if f.kind == "secret"
    ]
    assert [f.pointer for f in secrets] == ["/secrets/tls_key", "/secrets/token"]
    assert all(f.value == "" for f in secrets)


def test_every_field_has_its_title_in_both_languages() -> None:
    for kind in connector_settings.KINDS:
        for scheme in connector_settings.SCHEMES:
            for f in _leaves(forms.fields(_schema(kind, scheme), STORED)):
                if f.kind != "fixed":
                    assert f.title.vi and f.title.en and f.title.vi != f.pointer.rsplit("/", 1)[-1], f.pointer


def test_what_cannot_be_read_is_said_beside_its_field() -> None:
    _, errors = forms.read(
        _schema(), {"/policy/concurrency": "nhiều", "/policy/quota/per_second": "x", "/transport/headers": "{"}
    )
    assert {"/policy/concurrency", "/policy/quota/per_second"} <= errors.keys()
    fields = {f.pointer: f for f in _leaves(forms.fields(_schema(), STORED, "", errors))}
    assert fields["/policy/concurrency"].error == errors["/policy/concurrency"]


def test_flat() -> None:
    assert forms.flat({"a": {"b": True, "c": None}, "d": ["x", {"y": 1}]}) == [
        ("/a/b", "true"),
        ("/a/c", ""),
        ("/d", 'x, {"y": 1}'),
    ]
