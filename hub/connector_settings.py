"""A new or changed connector's settings, as they are asked before they are stored: by the console's form and from a shell alike.

One concern: that everything about them fits together: the declared schema, the system's adapter, its transports and schemes, the
flows, the secrets. It must never store anything, nor repeat a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from hub.kernel.ports import Reject, Text

MADE = Text("Kết nối mới: hãy thử kết nối rồi bấm “Chạy tiếp”.", "A new connector: test it, then press “Resume”.")
"""Why a new connector rests: no connector begins to send by itself."""
TAKEN = Text("Đã có kết nối tên này.", "There is a connector of this name.")


class Declared(Protocol):
    """What is needed of the connectors' settings: `connectors.settings`, or a stand-in of tests."""

    def validate(self, data: Any) -> Any:
        """Checked settings; a `ValueError` with `errors` otherwise."""
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


class Led(ValueError):
    """Có luồng gửi tới kết nối này. / Flows lead to this connector."""

    errors = (
        Reject(
            pointer="/transport/takes",
            code="led",
            message=Text(
                "Có luồng dữ liệu gửi tới kết nối tên này, mà kết nối nhận tệp thì không gửi gì: hãy thêm kết nối khác tên.",
                "Flows lead to a connector of this name, and one that takes files sends nothing: add one of another name.",
            ),
        ),
    )


def led_to(flows: Iterable[Any]) -> set[str]:
    """Names of the connectors that declared flows lead to."""
    return {target.connector for flow in flows for target in flow.to}


def checked(
    known: Declared, manifest: Any | None, led: Collection[str], name: str, system: str, way: tuple[str, str], data: Mapping[str, Any],
    secrets: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Settings as they are stored, once everything about them fits. `manifest`: the system's adapter, None where it has none; `led`:
    see `led_to`; `way`: kind of transport and scheme. Raises a `ValueError`, with `errors` where it has places."""
    settings = known.validate({**data, "name": name, "system": system})
    stored = known.dump(settings)
    if manifest is not None:
        takes = known.picks_up(stored)
        if takes and name in led:
            raise Led
        manifest.check_way(*way, takes)
        if not takes:
            manifest.check_profile(stored.get("profile"))
            manifest.check_settings(data.get("adapter") or {})
    known.check_secrets(settings, secrets)
    return stored


def told(error: ValueError) -> dict[str, Text]:
    """What was wrong with settings, by the pointer of its field."""
    return {e.pointer: e.message for e in getattr(error, "errors", ())} or {"": Text(str(error), str(error))}
