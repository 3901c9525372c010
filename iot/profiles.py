"""Per-model profiles of a device family: acknowledgement dialect, zone, code words, and what of it is assumed.

One concern: reading and checking `profile.yaml` once. It must never be consulted per message: families keep what it
gave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

_PERSON_IDS = ("device", "department")


class Assumption(Struct, frozen=True):
    """One setting the family takes for granted without a vendor's word, and why."""

    setting: str
    why: str


class Profile(Struct, frozen=True, kw_only=True):
    """One profile. `person_ids`: whose the person numbers of a gate are unless its registration says otherwise: `device`, its
    own, or `department`, the department's codes. `settings` is the family's own matter."""

    family: str
    name: str
    version: str
    person_ids: str
    settings: Mapping[str, Any]
    assumed: tuple[Assumption, ...]


class Profiles:
    """A family's profiles by name."""

    def __init__(self, profiles: Mapping[str, Profile], default: str) -> None:
        self._profiles = dict(profiles)
        self._default = profiles[default]

    def get(self, name: object) -> Profile:
        """The profile called `name`, or the family's default: a gate with a misspelt profile still gets its events
        in."""
        return self._profiles.get(name, self._default) if isinstance(name, str) else self._default

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._profiles)


def load(folder: Path) -> Profiles:
    """Read `profile.yaml` of a family's folder. Raises `ValueError` for a file that breaks its own rules."""
    document = yaml.safe_load((folder / "profile.yaml").read_text(encoding="utf-8"))
    common = document.get("settings", {})
    profiles: dict[str, Profile] = {}
    for name, own in document["profiles"].items():
        settings = {**common, **{k: v for k, v in own.items() if k != "assumed"}}
        entries = [*document.get("assumed", []), *own.get("assumed", [])]
        for entry in entries:
            if entry.get("assumed") is not True or not entry.get("why") or entry["setting"] not in settings:
                raise ValueError(f"{folder.name}/{name}: an assumption names a setting, says `assumed: true` and why")
        assumed = tuple(Assumption(entry["setting"], entry["why"]) for entry in entries)
        if settings.get("person_ids", "device") not in _PERSON_IDS:
            raise ValueError(f"{folder.name}/{name}: person_ids is one of {', '.join(_PERSON_IDS)}")
        profiles[name] = Profile(
            family=document["family"],
            name=name,
            version=str(document["version"]),
            person_ids=settings.get("person_ids", "device"),
            settings=settings,
            assumed=assumed,
        )
    return Profiles(profiles, document["default"])
