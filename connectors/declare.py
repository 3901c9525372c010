"""Declarative settings: one declaration gives the form, the validation and the documentation.

One concern: the vocabulary with which a transport, an authentication scheme or a policy declares what can be set.
It must never hold a secret's value: secrets are declared by name beside the settings and kept elsewhere, encrypted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct, structs
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticUndefined

from connectors.errors import SettingError
from hub.kernel.ports import Text


class Secret(Struct, frozen=True, kw_only=True):
    """A secret a scheme or transport needs: its name in the secrets given to `build`, and how a form asks for it."""

    name: str
    title: Text
    required: bool = True
    lines: bool = False
    """Whether it has several lines, as a key in PEM has: the form then gives room for them."""


class Declared(BaseModel):
    """Base of every settings model: unknown fields are refused, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True)
    SECRETS: ClassVar[tuple[Secret, ...]] = ()
    ABOUT: ClassVar[Text]

    def needed(self) -> tuple[Secret, ...]:
        """The secrets these very settings need. A model whose settings decide that (a key only when there is a
        certificate) says so here; every name must also stand in `SECRETS`, which the form shows."""
        return self.SECRETS


def require(secret: Secret) -> Secret:
    """The same secret, required."""
    return structs.replace(secret, required=True)


def setting(
    vi: str,
    en: str,
    *,
    default: Any = PydanticUndefined,
    example: Any = None,
    help: Text | None = None,
    lines: bool = False,
    **constraints: Any,
) -> Any:
    """A field with its title in both languages, an example and pydantic's constraints (`ge`, `pattern` …).

    Without an example the default is one. `lines`: the text has several lines. A mutable default is copied by pydantic, so it may be given as it is.
    """
    extra: dict[str, Any] = {"x-title": {"vi": vi, "en": en}}
    if lines:
        extra["x-lines"] = True
    if help is not None:
        extra["x-help"] = {"vi": help.vi, "en": help.en}
    if example is None and isinstance(default, str | int | float | list | tuple) and default not in ("", [], ()):
        example = default
    examples = None if example is None else [example]
    if isinstance(default, float):
        constraints.setdefault("allow_inf_nan", False)
    return Field(default, title=en, examples=examples, json_schema_extra=extra, **constraints)


def wrong(code: str, vi: str, en: str) -> PydanticCustomError:
    """An error for a validator to raise, with its sentence in both languages."""
    return PydanticCustomError(code, "{en}", {"vi": vi, "en": en})


# --------------------------------------------------------------------------------------------- errors

_MESSAGES: dict[str, tuple[str, str]] = {
    "missing": ("bắt buộc phải có", "is required"),
    "extra_forbidden": ("không phải là thiết lập được biết", "is not a known setting"),
    "string_type": ("phải là chuỗi ký tự", "must be text"),
    "int_type": ("phải là số nguyên", "must be a whole number"),
    "int_parsing": ("phải là số nguyên", "must be a whole number"),
    "int_from_float": ("phải là số nguyên", "must be a whole number"),
    "float_type": ("phải là số", "must be a number"),
    "float_parsing": ("phải là số", "must be a number"),
    "finite_number": ("phải là số hữu hạn", "must be a finite number"),
    "bool_type": ("phải là đúng hoặc sai", "must be true or false"),
    "bool_parsing": ("phải là đúng hoặc sai", "must be true or false"),
    "list_type": ("phải là danh sách", "must be a list"),
    "tuple_type": ("phải là danh sách", "must be a list"),
    "dict_type": ("phải là đối tượng", "must be an object"),
    "model_type": ("phải là đối tượng", "must be an object"),
    "model_attributes_type": ("phải là đối tượng", "must be an object"),
    "greater_than": ("phải lớn hơn {gt}", "must be greater than {gt}"),
    "greater_than_equal": ("phải từ {ge} trở lên", "must be at least {ge}"),
    "less_than": ("phải nhỏ hơn {lt}", "must be less than {lt}"),
    "less_than_equal": ("không được quá {le}", "must be at most {le}"),
    "string_too_short": ("phải có ít nhất {min_length} ký tự", "must have at least {min_length} characters"),
    "string_too_long": ("không được quá {max_length} ký tự", "must have at most {max_length} characters"),
    "too_short": ("phải có ít nhất {min_length} mục", "must have at least {min_length} items"),
    "too_long": ("không được quá {max_length} mục", "must have at most {max_length} items"),
    "string_pattern_mismatch": ("không đúng dạng {pattern}", "does not have the form {pattern}"),
    "literal_error": ("phải là một trong: {expected}", "must be one of: {expected}"),
    "union_tag_invalid": ("phải là một trong: {expected_tags}", "must be one of: {expected_tags}"),
    "union_tag_not_found": ("thiếu {discriminator}", "lacks {discriminator}"),
}
_UNKNOWN = ("không hợp lệ", "is not valid")


def explain(
    error: ValidationError, form: Mapping[str, Any], tags: Iterable[str] = (), secrets: Iterable[str] = ()
) -> list[SettingError]:
    """Every error of a validation as pointer, code and sentence. Values are never repeated: one may be a secret.

    Sentences name a field by its title in `form`, a JSON Schema. `tags` are union tags pydantic puts into the path and
    people never wrote; `secrets` are names of secrets, which get their own sentence when they are found among the
    settings.
    """
    skip, hidden = frozenset(tags), frozenset(secrets)
    details = error.errors(include_url=False, include_input=False, include_context=True)
    return [_one(detail, form, skip, hidden) for detail in details]


def _title(form: Mapping[str, Any], path: Sequence[str]) -> Text:
    """The title of the nearest declared field on the path; the last part of the path when none is declared."""
    node, found = form, Text(path[-1] if path else "?", path[-1] if path else "?")
    for part in path:
        node = node.get("properties", {}).get(part, {})
        if not node:
            break
        if "x-title" in node:
            found = Text(node["x-title"]["vi"], node["x-title"]["en"])
    return found


def _one(detail: ErrorDetails, form: Mapping[str, Any], skip: frozenset[str], secrets: frozenset[str]) -> SettingError:
    # A tag stands right after the union's own field, hence only at the second place.
    path = [str(p) for n, p in enumerate(detail["loc"]) if not (n == 1 and p in skip)]
    pointer = "".join("/" + p.replace("~", "~0").replace("/", "~1") for p in path)
    context = detail.get("ctx") or {}
    name = path[-1] if path else "?"
    code = detail["type"]
    if code == "extra_forbidden" and name in secrets:
        return SettingError(
            pointer=pointer,
            code="secret_misplaced",
            message=Text(
                f"“{name}” là bí mật: nhập vào phần bí mật, không để trong thiết lập",
                f"“{name}” is a secret: give it among the secrets, not in the settings",
            ),
        )
    if "vi" in context and "en" in context:
        vi, en = str(context["vi"]), str(context["en"])
    else:
        vi, en = (t.format_map(_Lenient(context)) for t in _MESSAGES.get(code, _UNKNOWN))
    title = Text(name, name) if code == "extra_forbidden" else _title(form, path)
    return SettingError(pointer=pointer, code=code, message=Text(f"“{title.vi}” {vi}", f"“{title.en}” {en}"))


class _Lenient(dict[str, Any]):
    """Context for a message; a name pydantic did not give shows as an ellipsis."""

    def __missing__(self, key: str) -> str:
        return "…"


# --------------------------------------------------------------------------------------- form and docs


def schema(model: type[Declared]) -> dict[str, Any]:
    """JSON Schema of a model with references written out, ready for a generated form."""
    whole = model.model_json_schema()
    definitions = whole.pop("$defs", {})
    return _inline(whole, definitions)  # type: ignore[no-any-return]


def secrets_schema(secrets: Sequence[Secret]) -> dict[str, Any]:
    """JSON Schema of the secrets a form asks for: write-only, never shown again."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [s.name for s in secrets if s.required],
        "properties": {
            s.name: {
                "type": "string",
                "format": "password",
                "writeOnly": True,
                "title": s.title.en,
                "x-title": {"vi": s.title.vi, "en": s.title.en},
                "x-secret": True,
                **({"x-lines": True} if s.lines else {}),
            }
            for s in secrets
        },
    }


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            target = definitions[node["$ref"].rsplit("/", 1)[-1]]
            rest = {k: v for k, v in node.items() if k != "$ref"}
            return _inline({**target, **rest}, definitions)
        return {k: _inline(v, definitions) for k, v in node.items()}
    if isinstance(node, list):
        return [_inline(v, definitions) for v in node]
    return node


def table(model: type[Declared]) -> str:
    """Markdown table of a model's settings and secrets, for the documentation."""
    lines = ["| Thiết lập / Setting | Ý nghĩa / Meaning | Mặc định / Default | Ví dụ / Example |", "|---|---|---|---|"]
    for name, spec in schema(model)["properties"].items():
        title = spec.get("x-title", {"vi": "", "en": spec.get("title", "")})
        about = spec.get("x-help", {"vi": "", "en": ""})
        words = " / ".join(w for w in (title["vi"], title["en"]) if w)
        more = " / ".join(w for w in (about["vi"], about["en"]) if w)
        # A group of settings has its own table, which says its defaults.
        plain = "default" in spec and not ("properties" in spec and isinstance(spec["default"], dict))
        default = f"`{spec['default']}`" if plain else spec.get("const") or ""
        example = f"`{spec['examples'][0]}`" if spec.get("examples") else ""
        lines.append(f"| `{name}` | {words}{'. ' + more if more else ''} | {default} | {example} |")
    for secret in model.SECRETS:
        need = "bắt buộc / required" if secret.required else "không bắt buộc / optional"
        lines.append(f"| `{secret.name}` (bí mật / secret) | {secret.title.vi} / {secret.title.en} | {need} | |")
    return "\n".join(lines)
