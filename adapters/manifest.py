"""Manifests: what each adapter takes, what can come of it, and how it is built.

One concern: reading `adapters/<system>/manifest.yaml` and building adapters from checked settings. It must never
open a socket or look into a message. The format is described in `adapters/README.md`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct, field

from hub.kernel.ports import Adapter, Reject, Text, Workbooks

ROOT = Path(__file__).parent

OutcomeKind = Literal[
    "Receipt", "TryLater", "NeverTry", "NeedsPerson", "Unknown", "InProgress", "next", "present", "absent", "unclear"
]


class ManifestError(ValueError):
    """Bản khai bộ chuyển đổi hoặc tham số không hợp lệ. / An adapter's manifest or settings are not valid."""


class Unfit(ManifestError):
    """Đường truyền hoặc cách xác thực không hợp với hệ thống. / A transport or scheme that does not fit the system."""

    def __init__(self, errors: list[Reject]) -> None:
        super().__init__("; ".join(f"{e.pointer}: {e.message.vi} / {e.message.en}" for e in errors))
        self.errors = errors


class Operation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of call and what the counterparty promises about it."""

    idempotent: bool
    batch_max: int = 1
    repeat: Literal["harmless", "refused", "doubles"]
    intent: bool = False
    title: Text | None = None


class DeclaredOutcome(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outcome the adapter can read out of a reply; each has a sample."""

    name: str
    kind: OutcomeKind
    title: Text


class FaultEffect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fault of the simulator looks like to us, and what it leaves in the books."""

    sees: str
    """An outcome's name, or `maybe_sent`."""
    effects: Literal["none", "all"]
    shown_on: str | None = None
    """The operation the fault is shown on; None: that of the first live call."""


class DeclaredPull(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One list that can be pulled from the counterparty."""

    record: str
    """Record type of what it holds."""
    every_s: int
    """How often it should be asked for."""
    complete: bool = False
    """True when the pages together are the whole list: what is missing from them is gone."""
    title: Text


PersonalKind = Literal[
    "name", "family", "middle", "given", "number", "birth", "year", "phone", "email", "url", "text", "code", "zero"
]
"""What a personal field of a message holds; `zero`: a code the law counts as sensitive, told as zeros."""


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One adapter folder's declaration."""

    system: str
    title: Text
    version: str
    adapter: str
    accepts: list[str]
    operations: dict[str, Operation]
    inquire: bool
    settle_after_s: int = 120
    absent_gap_s: int = 300
    transports: list[str]
    auth: list[str]
    settings: dict[str, Any]
    profiles: list[str]
    outcomes: list[DeclaredOutcome]
    live: list[str]
    faults: dict[str, FaultEffect]
    produces: list[str] = field(default_factory=list)
    workbooks: str | None = None
    """`module:Class` of the workbook templates the counterparty gives schools (`hub.kernel.ports.Workbooks`)."""
    pulls: dict[str, DeclaredPull] = field(default_factory=dict)
    """Lists the adapter's `pull` and `pulled` know, by name."""
    listings: list[str] = field(default_factory=list)
    """Record types whose whole holding the counterparty lists as hashes (`pull("holds:<type>", …)`), for reconciliation."""
    callbacks: bool = False
    """Whether the counterparty tells of events by itself: the adapter has `decode`, its profiles say `callback`."""
    assumptions: list[str] = field(default_factory=list)
    personal: dict[str, PersonalKind] = field(default_factory=dict)
    """Names of fields in its messages that no field map writes and that speak of a person, and what they hold."""

    @property
    def folder(self) -> Path:
        """Where the adapter lives."""
        return ROOT / self.system

    @property
    def batch_most(self) -> int:
        """Deliveries in one call of the operation that holds the most."""
        return max(o.batch_max for o in self.operations.values())

    def profile(self, name: str | None = None) -> dict[str, Any]:
        """A profile by name (file name, with or without `.yaml`) or the default. Raises ManifestError."""
        return dict(_profile(self.folder / self.check_profile(name)))

    def check_profile(self, name: str | None) -> str:
        """The file of a profile by name, or of the default. Raises `Unfit` naming its place and the profiles there are."""
        wanted = self.profiles[0] if name is None else name if name.endswith(".yaml") else f"{name}.yaml"
        if wanted not in self.profiles:
            given, known = (name or "")[:100], ", ".join(p.removesuffix(".yaml") for p in self.profiles)
            message = Text(
                f"{self.title.vi} không có hồ sơ {given!r}; có: {known}",
                f"{self.title.en} has no profile {given!r}; there are: {known}",
            )
            raise Unfit([Reject(pointer="/profile", code="unfit", message=message)])
        return wanted

    def check_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings with defaults filled in. Raises ManifestError naming every fault found."""
        import jsonschema  # not for those that only read manifests

        properties: dict[str, Any] = self.settings.get("properties", {})
        full = {name: p["default"] for name, p in properties.items() if "default" in p} | dict(settings)
        faults = sorted(jsonschema.Draft202012Validator(self.settings).iter_errors(full), key=str)
        if faults:
            told = "; ".join(f"/{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in faults)
            raise ManifestError(f"{self.system}: tham số không hợp lệ / invalid settings: {told}")
        return full

    def check_way(self, transport: str, scheme: str, picks_up: bool | None = None) -> None:
        """That a connector's kind of transport and its scheme are among those declared. Raises `Unfit` naming both places.

        `picks_up`: whether it takes the files the system leaves in a folder (None: it has no folder). The hub says nothing
        there, so what the adapter can say and how does not matter: any way of reaching a folder fits any system."""
        if picks_up:
            return
        if picks_up is not None and transport not in self.transports:
            message = Text(
                f"{self.title.vi} không nhận tệp từ trục: hãy chọn loại bản ghi trong tệp nhận về",
                f"{self.title.en} takes no files from the hub: choose the record type of the files picked up",
            )
            raise Unfit([Reject(pointer="/transport/takes", code="unfit", message=message)])
        errors = []
        for pointer, given, known in (
            ("/transport/kind", transport, self.transports),
            ("/auth/scheme", scheme, self.auth),
        ):
            if given not in known:
                fit = ", ".join(known)
                message = Text(
                    f"{self.title.vi} không dùng {given}; dùng được: {fit}",
                    f"{self.title.en} does not take {given}; these fit: {fit}",
                )
                errors.append(Reject(pointer=pointer, code="unfit", message=message))
        if errors:
            raise Unfit(errors)

    def form(self) -> dict[str, Any]:
        """The settings schema with `x-title` and `x-help` `{vi, en}` per property, as connectors' forms have them."""
        properties: dict[str, Any] = {}
        for name, declared in self.settings.get("properties", {}).items():
            told = {k: v for k, v in declared.items() if k not in ("x-title-en", "x-description-en")}
            told["x-title"] = {"vi": declared["title"], "en": declared["x-title-en"]}
            if "description" in declared:
                told["x-help"] = {"vi": declared["description"], "en": declared["x-description-en"]}
            properties[name] = told
        return self.settings | {"properties": properties}

    def build(self, settings: Mapping[str, Any], profile: str | None = None) -> Adapter:
        """The adapter for these settings. Raises ManifestError for settings or a profile that do not fit."""
        module, _, name = self.adapter.partition(":")
        made = getattr(importlib.import_module(module), name)
        adapter: Adapter = made(self.check_settings(settings), self.profile(profile))
        return adapter


def workbooks() -> Workbooks | None:
    """The workbook templates of whichever adapter has some; None when none has."""
    for manifest in load_all().values():
        if manifest.workbooks is not None:
            module, _, name = manifest.workbooks.partition(":")
            made: Workbooks = getattr(importlib.import_module(module), name)()
            return made
    return None


@cache
def _profile(path: Path) -> dict[str, Any]:
    data = yaml.safe_load(path.read_text("utf-8"))
    if not isinstance(data, dict):
        raise ManifestError(f"{path.name}: hồ sơ phải là một bảng khoá / a profile must be a mapping")
    return data


@cache
def load(system: str) -> Manifest:
    """The manifest of one system. Raises ManifestError when there is none or it is wrong."""
    path = ROOT / system / "manifest.yaml"
    try:
        manifest = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Manifest)
    except OSError as error:
        raise ManifestError(f"{system}: không đọc được bản khai / cannot read the manifest: {error}") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ManifestError(f"{system}: bản khai sai / the manifest is wrong: {error}") from error
    if manifest.system != system:
        raise ManifestError(f"{system}: bản khai nói là / the manifest says it is {manifest.system!r}")
    return manifest


def systems() -> list[str]:
    """Names of all adapter folders, sorted."""
    return sorted(path.parent.name for path in ROOT.glob("*/manifest.yaml"))


def load_all() -> dict[str, Manifest]:
    """All manifests by system. Raises ManifestError at the first wrong one."""
    return {system: load(system) for system in systems()}
