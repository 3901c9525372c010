"""Forms made from JSON Schema, and their fields read back into typed data.

Pure. One field per leaf, named by its RFC 6901 pointer; what a form cannot show as a field of its own is a piece of
JSON. It must never repeat a secret, and never judge a value: whoever declared the schema does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from hub.kernel.ports import Text


class Faults(Protocol):
    """One thing wrong with settings."""

    @property
    def pointer(self) -> str:
        """RFC 6901 pointer to the field."""
        ...

    @property
    def message(self) -> Text:
        """The sentence for people."""
        ...


class ConnectorForms(Protocol):
    """What the console needs of the connectors' settings; handed in when the console is mounted.

    `validate` and `check_secrets` raise a `ValueError` whose `errors` are `Faults`.
    """

    def form(self, kind: str, scheme: str) -> dict[str, Any]:
        """JSON Schema of a connector with this transport and authentication scheme, `secrets` among its properties."""
        ...

    def choices(self) -> dict[str, dict[str, Text]]:
        """`{transport: {name: title}, auth: {name: title}}`."""
        ...

    def validate(self, data: Any) -> Any:
        """Checked settings."""
        ...

    def dump(self, settings: Any) -> dict[str, Any]:
        """Checked settings as the plain data that is stored."""
        ...

    def picks_up(self, settings: Mapping[str, Any]) -> bool | None:
        """Whether a connector with these stored settings takes files out of a folder; None: its transport has none."""
        ...

    def check_secrets(self, settings: Any, secrets: Mapping[str, str]) -> None:
        """See that no required secret is missing."""
        ...


class Field(Struct, kw_only=True):
    """One input, or a group of them."""

    pointer: str
    kind: str
    """group, text, number, integer, bool, choice, lines, json, secret or fixed."""
    title: Text
    help: Text | None = None
    value: str = ""
    required: bool = False
    options: list[tuple[str, str]] = []
    low: Any = None
    high: Any = None
    pattern: str | None = None
    example: str | None = None
    lines: bool = False
    """Whether a text or secret has several lines."""
    children: list[Field] = []
    error: Text | None = None

    @property
    def id(self) -> str:
        """The input's id in the page."""
        return "f" + self.pointer.replace("/", "-")


def _text(schema: Mapping[str, Any], key: str, default: str) -> Text:
    said = schema.get(key)
    if isinstance(said, Mapping):
        return Text(str(said.get("vi", default)), str(said.get("en", default)))
    return Text(default, default)


def _branch(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema proper of an optional one, and whether nothing is allowed too."""
    options = schema.get("anyOf") or schema.get("oneOf")
    if not options:
        return schema, False
    real = [o for o in options if o.get("type") != "null"]
    rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
    return ({**real[0], **rest} if len(real) == 1 else {**rest, "type": "json"}), len(real) < len(options)


def fields(
    schema: Mapping[str, Any], value: Any, pointer: str = "", errors: Mapping[str, Text] | None = None
) -> list[Field]:
    """The inputs of an object schema, filled in with `value`; `errors` by pointer."""
    found = []
    required = schema.get("required", ())
    for name, declared in schema.get("properties", {}).items():
        place = f"{pointer}/{name}"
        inner, optional = _branch(declared)
        present = value.get(name, declared.get("default")) if isinstance(value, Mapping) else declared.get("default")
        made = _field(name, place, inner, present, errors or {})
        made.required = name in required and not optional and made.kind not in ("bool", "group")
        made.error = (errors or {}).get(place)
        found.append(made)
    return found


def _field(name: str, place: str, schema: Mapping[str, Any], value: Any, errors: Mapping[str, Text]) -> Field:
    title = _text(schema, "x-title", str(schema.get("title", name)))
    help_text = _text(schema, "x-help", "") if "x-help" in schema else None
    examples = schema.get("examples") or [None]
    made = Field(
        pointer=place,
        kind="text",
        title=title,
        help=help_text,
        example=None if examples[0] is None else str(examples[0]),
        lines=bool(schema.get("x-lines")),
    )
    declared = schema.get("type")
    if schema.get("x-secret"):
        made.kind = "secret"
    elif "const" in schema:
        made.kind, made.value = "fixed", str(schema["const"])
    elif "enum" in schema:
        made.kind, made.value = "choice", "" if value is None else str(value)
        made.options = [(str(o), str(o)) for o in schema["enum"]]
    elif declared == "object" and schema.get("properties"):
        made.kind, made.children = "group", fields(schema, value, place, errors)
    elif declared == "boolean":
        made.kind, made.value = "bool", "true" if value else "false"
    elif declared in ("integer", "number"):
        made.kind, made.value = (
            declared,
            "" if value is None else f"{value:g}" if isinstance(value, float) else str(value),
        )
        made.low, made.high = schema.get("minimum"), schema.get("maximum")
    elif declared == "array" and _branch(schema.get("items", {}))[0].get("type") == "string":
        made.kind, made.value = "lines", "\n".join(str(v) for v in value or ())
    elif declared == "string":
        made.value, made.pattern = "" if value is None else str(value), schema.get("pattern")
    else:
        made.kind, made.value = "json", "" if value is None else json.dumps(value, ensure_ascii=False, indent=1)
    return made


def read(
    schema: Mapping[str, Any], form: Mapping[str, Any], pointer: str = ""
) -> tuple[dict[str, Any], dict[str, Text]]:
    """Data out of a form's fields, and what could not be read, by pointer. An empty optional field is left out."""
    data: dict[str, Any] = {}
    errors: dict[str, Text] = {}
    for name, declared in schema.get("properties", {}).items():
        place = f"{pointer}/{name}"
        inner, _optional = _branch(declared)
        made = _field(name, place, inner, None, {})
        if made.kind == "group":
            data[name], more = read(inner, form, place)
            errors |= more
            continue
        if made.kind == "fixed":
            data[name] = inner["const"]
            continue
        raw = form.get(place)
        if not isinstance(raw, str) or (raw.strip() == "" and made.kind != "bool"):
            continue
        if "\0" in raw:
            errors[place] = _UNPRINTABLE
            continue
        try:
            data[name] = _value(made.kind, raw.strip())
        except ValueError:
            errors[place] = _UNREADABLE[made.kind]
    return data, errors


_UNPRINTABLE = Text("Có ký tự không ghi được.", "There is a character that cannot be stored.")
_UNREADABLE = {
    "integer": Text("Phải là số nguyên.", "Must be a whole number."),
    "number": Text("Phải là số.", "Must be a number."),
    "json": Text("Phải là JSON hợp lệ.", "Must be valid JSON."),
}


def _value(kind: str, raw: str) -> Any:
    match kind:
        case "integer":
            return int(raw)
        case "number":
            return float(raw)
        case "bool":
            return raw == "true"
        case "lines":
            return [line.strip() for line in raw.splitlines() if line.strip()]
        case "json":
            return json.loads(raw)
    return raw.replace("\r\n", "\n")


def flat(data: Any, pointer: str = "") -> list[tuple[str, str]]:
    """Settings as lines of pointer and value, for reading."""
    if isinstance(data, Mapping):
        return [line for k, v in data.items() for line in flat(v, f"{pointer}/{k}")]
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [(pointer, ", ".join(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in data))]
    return [(pointer, "" if data is None else str(data).lower() if isinstance(data, bool) else str(data))]
