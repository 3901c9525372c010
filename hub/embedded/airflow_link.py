"""How to reach an Airflow's API: known to every process, also to those that never speak to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """How to reach an Airflow's API."""

    url: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Link({self.url!r}, {self.username!r})"
