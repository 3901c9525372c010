"""Declarative field maps: from a canonical record to a counterparty's fields.

One concern: reading `fields/<system>.<type>.yaml` and compiling it once into a fast function. A map declares equality,
code lookups, defaults, formats and named functions; it never computes. Nothing here knows a counterparty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct, field

from hub.kernel.ports import Text
from mappings.canonical.messages import title as field_title
from mappings.canonical.registry import TYPES, TypeSpec
from mappings.catalogue import Catalogue
from mappings.functions import FORMATS, FUNCTIONS, TURNS_INTO, Context
from mappings.tables import HERE

_LOCAL = timezone(timedelta(hours=7))


class Unmapped(Exception):
    """Chưa có mã tương ứng ở hệ thống nhận; duyệt mã rồi dữ liệu sẽ tự gửi tiếp.

    The receiver's code is not known yet; once one is approved, what waits goes on by itself.

    `candidates` are codes of `target_system`. An approved entry `(system, code, target_system)` releases the record.
    """

    def __init__(
        self, system: str, code: str, target_system: str, candidates: tuple[str, ...], field_title: Text
    ) -> None:
        super().__init__(f"{system}|{code} → {target_system}")
        self.system = system
        self.code = code
        self.target_system = target_system
        self.candidates = candidates
        self.field_title = field_title


class FieldMapError(ValueError):
    """Bảng ghép trường sai. / A field map is wrong."""


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one field of the counterparty is filled. Paths are relative to the object the rule stands in."""

    source: str | None = field(default=None, name="from")
    """Member copied, or a path of members (`applicant/name`). Else `const`, `function` or `each` fills the field."""
    code: str | None = None
    """Code system of the counterparty the member's code is turned into."""
    required_code: bool = False
    """True: a code that cannot be turned parks the delivery. False: the field is left empty."""
    values: dict[str, str | None] | None = None
    """Word for word, for members that hold one of a few fixed words."""
    format: str | None = None
    function: str | None = None
    default: Any = None
    """Taken when the member is absent."""
    const: Any = None
    each: str | None = None
    """List member: one object per item, filled by `fields`."""
    fields: dict[str, Rule] | None = None
    """With `from`: an object filled from that member."""
    only: Literal["health"] | None = None
    """What must be allowed for the field to travel; without that it is sent as if the record had none."""


class _Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    map: str
    type: str
    title: Text
    origin: str
    assumed: bool
    absent: Literal["null", "omit"]
    fields: dict[str, Rule]
    why: str | None = None


Step = Callable[[dict[str, Any], Context], Any]


class FieldMap:
    """A compiled field map. Immutable; `raw` is its file, `allowed` what a flow lets travel besides."""

    def __init__(self, document: _Document, raw: bytes, allowed: frozenset[str] = frozenset()) -> None:
        spec = TYPES.get(document.type)
        if spec is None:
            raise FieldMapError(f"{document.map}: no record type {document.type}")
        if document.assumed and not document.why:
            raise FieldMapError(f"{document.map}: assumed without saying why")
        self.name = document.map
        self.type = document.type
        self.title = document.title
        self.assumed = document.assumed
        self.why = document.why
        self.origin = document.origin
        self.raw = raw
        self.allowed = allowed
        self._document = document
        self._health = frozenset(spec.health_fields)
        fields = _permitted(document.fields, allowed)
        for target, source, _kind in _lines(fields, "", ""):
            if source in self._health and "health" not in allowed:
                raise FieldMapError(f"{self.name}.{target}: {source} is about health: say `only: health`")
        self._apply = _object(fields, spec, spec.struct, "", document.absent == "omit", self.name)

    @classmethod
    def read(cls, path: Path) -> FieldMap:
        """Read and compile one file. Raises `FieldMapError` naming what is wrong."""
        raw = path.read_bytes()
        try:
            document = msgspec.convert(yaml.safe_load(raw), _Document)
        except (msgspec.ValidationError, yaml.YAMLError) as error:
            raise FieldMapError(f"{path.name}: {error}") from error
        if document.map != path.stem:
            raise FieldMapError(f"{path.name}: the map calls itself {document.map}")
        return cls(document, raw)

    def allowing(self, allowed: Iterable[str]) -> FieldMap:
        """The same map with what a flow's target allows to travel."""
        granted = frozenset(allowed)
        if not granted:
            return self
        return FieldMap(self._document, self.raw, granted)

    def apply(self, body: dict[str, Any], meta: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """The counterparty's fields of a record. `meta`: `event`, `version`, `updated_at` (datetime), `key`.

        Raises `Unmapped` for the first code that is required and has no equivalent.
        """
        when: datetime = meta["updated_at"]
        on = when.astimezone(_LOCAL).date()
        mapped: dict[str, Any] = self._apply(body, Context(catalogue, meta, on))
        return mapped

    def lineage(self) -> list[tuple[str, str | None, str]]:
        """(target path, source path, kind of rule) of every field, for people to read."""
        return list(_lines(self._document.fields, "", ""))

    def code_systems(self) -> set[str]:
        """Code systems of the counterparty this map turns codes into."""
        return {rule.code for rule in _rules(self._document.fields) if rule.code}

    def turns_into(self) -> set[str]:
        """Every code system its codes are turned into: canonical ones, the counterparty's, and those of its functions."""
        held = TYPES[self.type].code_fields
        canonical = {held[path][1] for _, path, kind in self.lineage() if kind == "code" and path is not None}
        functions = {rule.function for rule in _rules(self._document.fields) if rule.function}
        return canonical.union(self.code_systems(), *(TURNS_INTO.get(name, ()) for name in functions))


def _permitted(fields: Mapping[str, Rule], allowed: frozenset[str]) -> dict[str, Rule]:
    """The rules with those that are not allowed turned into empty fields."""
    found: dict[str, Rule] = {}
    for name, rule in fields.items():
        if rule.only is not None and rule.only not in allowed:
            found[name] = Rule()
        elif rule.fields:
            found[name] = msgspec.structs.replace(rule, fields=_permitted(rule.fields, allowed))
        else:
            found[name] = rule
    return found


def _rules(fields: Mapping[str, Rule]) -> Iterator[Rule]:
    for rule in fields.values():
        yield rule
        yield from _rules(rule.fields or {})


def _lines(fields: Mapping[str, Rule], to: str, source: str) -> Iterator[tuple[str, str | None, str]]:
    for name, rule in fields.items():
        member = rule.each or rule.source
        path = f"{source}{member}" if member else None
        kind = next((k for k in ("code", "values", "function", "format", "each", "fields") if getattr(rule, k)), "copy")
        if path is None and kind == "copy":
            kind = "const"
        yield f"{to}{name}", path, kind
        if rule.fields:
            yield from _lines(rule.fields, f"{to}{name}/", f"{path}/*/" if rule.each else f"{path}/")


def _object(
    fields: Mapping[str, Rule], spec: TypeSpec, struct: type[Struct] | None, path: str, omit: bool, where: str
) -> Step:
    steps = [(name, _step(rule, spec, struct, path, omit, f"{where}.{name}")) for name, rule in fields.items()]
    if not omit:
        return lambda source, context: {name: step(source, context) for name, step in steps}

    def sparse(source: dict[str, Any], context: Context) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, step in steps:
            if (value := step(source, context)) is not None:
                out[name] = value
        return out

    return sparse


def _member(struct: type[Struct] | None, name: str, where: str) -> type[Struct] | None:
    """The structure behind a member, None for plain values. Raises when the model has no such member."""
    if struct is None:
        raise FieldMapError(f"{where}: {name} is asked of a plain value")
    found = {f.name: f.type for f in msgspec.structs.fields(struct)}
    if name not in found:
        raise FieldMapError(f"{where}: {struct.__name__} has no member {name}")
    return next((t for t in _parts(found[name]) if isinstance(t, type) and issubclass(t, Struct)), None)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _parts(part)


def _step(rule: Rule, spec: TypeSpec, struct: type[Struct] | None, path: str, omit: bool, where: str) -> Step:
    if rule.each is not None:
        inner = _object(
            rule.fields or {}, spec, _member(struct, rule.each, where), f"{path}{rule.each}/*/", omit, where
        )
        return _each(rule.each, inner)
    if rule.source is None:
        if rule.function is not None:
            return _whole(_named(FUNCTIONS, rule.function, where))
        return lambda source, context: rule.const
    if "/" in rule.source:
        head, rest = rule.source.split("/", 1)
        inside = _member(struct, head, where)
        inner_rule = msgspec.structs.replace(rule, source=rest)
        return _nested(head, _step(inner_rule, spec, inside, f"{path}{head}/", omit, where))
    below = _member(struct, rule.source, where)
    if rule.fields is not None:
        return _nested(rule.source, _object(rule.fields, spec, below, f"{path}{rule.source}/", omit, where))
    if rule.code is not None:
        return _code(rule, rule.source, spec, f"{path}{rule.source}", where)
    if rule.function is not None:
        return _function(rule.source, _named(FUNCTIONS, rule.function, where), rule.default)
    if rule.format is not None:
        return _format(rule.source, _named(FORMATS, rule.format, where), rule.default)
    if rule.values is not None:
        return _values(rule.source, rule.values, rule.default)
    return _copy(rule.source, rule.default)


def _named(table: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in table:
        raise FieldMapError(f"{where}: nothing is called {name}")
    return table[name]


def _copy(name: str, default: Any) -> Step:
    if default is None:
        return lambda source, context: source.get(name)
    return lambda source, context: source.get(name, default)


def _values(name: str, values: Mapping[str, str | None], default: Any) -> Step:
    return lambda source, context: values.get(source[name]) if source.get(name) is not None else default


def _format(name: str, convert: Callable[[Any], Any], default: Any) -> Step:
    return lambda source, context: convert(source[name]) if source.get(name) is not None else default


def _function(name: str, function: Callable[[Any, Context], Any], default: Any) -> Step:
    return lambda source, context: function(source[name], context) if source.get(name) is not None else default


def _whole(function: Callable[[Any, Context], Any]) -> Step:
    return lambda source, context: function(source, context)


def _nested(name: str, inner: Step) -> Step:
    return lambda source, context: inner(source[name], context) if source.get(name) is not None else None


def _each(name: str, inner: Step) -> Step:
    return lambda source, context: [inner(item, context) for item in source[name]] if source.get(name) else None


def _code(rule: Rule, name: str, spec: TypeSpec, path: str, where: str) -> Step:
    """A code in the counterparty's system: through the canonical code, tried again when the record has none."""
    if path not in spec.code_fields:
        raise FieldMapError(f"{where}: {path} of {spec.name} holds no code")
    canonical_system = spec.code_fields[path][1]
    target = str(rule.code)
    titled = field_title(path)
    required, default, same = rule.required_code, rule.default, target == canonical_system

    def step(source: dict[str, Any], context: Context) -> Any:
        value = source.get(name)
        if value is None:
            return default
        canonical = value["canonical"]
        if canonical is None:
            system, code = value["system"], value["code"]
            found = context.catalogue.resolve(system, code, canonical_system, context.on, context.period)
            canonical = found.code
            if canonical is None:
                if required:
                    raise Unmapped(system, code, canonical_system, found.candidates, titled)
                return default
        if same:
            return canonical
        found = context.catalogue.resolve(canonical_system, canonical, target, context.on, context.period)
        if found.code is None and required:
            raise Unmapped(canonical_system, canonical, target, found.candidates, titled)
        return found.code if found.code is not None else default

    return step


def load_field_maps(folder: Path = HERE / "fields") -> dict[str, FieldMap]:
    """Every field map of a folder, by name. Raises `FieldMapError`."""
    maps = (FieldMap.read(path) for path in sorted(folder.glob("*.yaml")))
    return {one.name: one for one in maps}


def today_of(when: datetime) -> date:
    """The local day an instant falls on: the day whose codes count."""
    return when.astimezone(_LOCAL).date()
