"""Golden samples: runs `samples/<case>/` through an adapter and gives what came out as plain data.

One concern: the same reading of a sample for the contract tests and for writing golden files anew
(`python -m adapters.samples <system>`). It must never change what it compares. Format: `adapters/README.md`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import orjson
import yaml
from msgspec import Struct

from adapters import manifest as manifests
from adapters.manifest import Manifest
from hub.kernel.ports import Call, Inbound, Outgoing, Reply

GOLDEN = {
    "render": "calls.json",
    "read": "reading.json",
    "inquire": "calls.json",
    "settle": "settlement.json",
    "decode": "decoded.json",
    "pull": "calls.json",
    "pulled": "pulled.json",
}


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`case.yaml`."""

    what: Literal["render", "read", "inquire", "settle", "decode", "pull", "pulled"]
    outcome: str | None = None
    profile: str | None = None
    settings: dict[str, Any] = {}
    delivery: int | None = None
    call: int = 0
    """Which of the rendered calls is meant, when the input is `outgoing.json`."""
    pull: str = ""
    """Name of the list, for `pull` and `pulled`."""
    cursor: str | None = None
    at: datetime = datetime(2027, 1, 1, tzinfo=UTC)
    """When a list is asked for, for `pull` and `pulled`."""
    note: str | None = None
    state: dict[str, str] | None = None
    """The call in question goes on with a conversation that stands here (see `hub.kernel.ports.Converser`)."""


class Sample(Struct, frozen=True, kw_only=True):
    """One sample folder."""

    manifest: Manifest
    folder: Path
    case: Case

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def golden(self) -> Path:
        """The file that holds what must come out."""
        return self.folder / GOLDEN[self.case.what]

    def adapter(self) -> Any:
        """The adapter, built as the case says."""
        return self.manifest.build(example_settings(self.manifest) | self.case.settings, self.case.profile)

    def outgoing(self) -> list[Outgoing]:
        """`outgoing.json`."""
        return msgspec.json.decode((self.folder / "outgoing.json").read_bytes(), type=list[Outgoing])

    def calls(self, adapter: Any) -> list[Call]:
        """The calls made of `outgoing.json`: rendered, or the next of each one's conversation."""
        if self.case.state is not None:
            ones, state = self.outgoing(), self.case.state
            if len(ones) > 1 and hasattr(adapter, "resume_many"):
                together: list[Call] = adapter.resume_many([(one, state) for one in ones], len(ones))
                return together
            return [adapter.resume(one, state) for one in ones]
        made: list[Call] = adapter.render(self.outgoing())
        return made

    def call(self, adapter: Any) -> Call:
        """The call in question: `call.json`, or the one rendered from `outgoing.json`."""
        path = self.folder / "call.json"
        if not path.exists():
            return self.calls(adapter)[self.case.call]
        told = orjson.loads(path.read_bytes())
        text, value = told.pop("body_text", None), told.pop("body_json", None)
        told["body"] = b""
        call = msgspec.convert(told, Call)
        return msgspec.structs.replace(call, body=text.encode() if text is not None else orjson.dumps(value))

    def reply(self) -> Reply:
        """`reply.yaml`; its body is a file's content when a file of that name is there, else the text itself."""
        told = yaml.safe_load((self.folder / "reply.yaml").read_text("utf-8"))
        body = told.get("body", "")
        path = self.folder / body if 0 < len(body) < 100 and "/" not in body else None
        content = path.read_bytes() if path is not None and path.is_file() else body.encode()
        return Reply(status=told["status"], body=content, headers=told.get("headers", {}))

    def delivery(self, call: Call) -> int:
        """The delivery asked about."""
        return call.deliveries[0] if self.case.delivery is None else self.case.delivery

    def _asked(self, adapter: Any) -> Call:
        call: Call = adapter.pull(self.case.pull, self.case.cursor, self.case.at)
        return call

    def run(self) -> Any:
        """What the adapter makes of the sample, as plain data comparable with the golden file."""
        adapter = self.adapter()
        match self.case.what:
            case "render":
                return [plain_call(call) for call in self.calls(adapter)]
            case "read":
                reading = adapter.read(self.call(adapter), self.reply())
                told = plain({"outcomes": reading.outcomes, "records": reading.records})
                return told | {"next": plain_call(reading.next) if reading.next else None}
            case "inquire":
                call = self.call(adapter)
                return [plain_call(adapter.inquire(self.delivery(call), call))]
            case "settle":
                call = self.call(adapter)
                return plain(adapter.settle(adapter.inquire(self.delivery(call), call), self.reply()))
            case "pull":
                return [plain_call(self._asked(adapter))]
            case "pulled":
                page = adapter.pulled(self.case.pull, self._asked(adapter), self.reply())
                told = plain(msgspec.structs.replace(page, next=None))
                return told | {"next": plain_call(page.next) if page.next else None}
        return [
            {"kind": type(made).__name__, **plain(made)}
            for made in adapter.decode(
                msgspec.structs.replace(
                    msgspec.json.decode((self.folder / "inbound.json").read_bytes(), type=Inbound),
                    body=(self.folder / "body").read_bytes(),
                )
            )
        ]


def plain(value: Any) -> Any:
    """Structs, datetimes and integer keys as JSON would have them."""
    return orjson.loads(orjson.dumps(msgspec.to_builtins(value, str_keys=True)))


def plain_call(call: Call) -> dict[str, Any]:
    """A call with its body readable."""
    told: dict[str, Any] = plain(msgspec.structs.replace(call, body=b""))
    del told["body"]
    try:
        told["body_json"] = orjson.loads(call.body)
    except orjson.JSONDecodeError:
        told["body_text"] = call.body.decode("utf-8", "backslashreplace")
    return told


def example_settings(manifest: Manifest) -> dict[str, Any]:
    """Each setting's first example."""
    properties: dict[str, Any] = manifest.settings.get("properties", {})
    return {name: p["examples"][0] for name, p in properties.items() if p.get("examples")}


def samples(manifest: Manifest) -> list[Sample]:
    """All samples of one adapter. Raises msgspec.ValidationError for a wrong `case.yaml`."""
    found = []
    for path in sorted(manifest.folder.glob("samples/*/case.yaml")):
        case = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Case)
        found.append(Sample(manifest=manifest, folder=path.parent, case=case))
    return found


def write(system: str) -> list[Path]:
    """Write every golden file of a system anew; the paths that changed."""
    changed = []
    for sample in samples(manifests.load(system)):
        made = orjson.dumps(sample.run(), option=orjson.OPT_INDENT_2) + b"\n"
        if not sample.golden.exists() or sample.golden.read_bytes() != made:
            sample.golden.write_bytes(made)
            changed.append(sample.golden)
    return changed


if __name__ == "__main__":
    for name in sys.argv[1:] or manifests.systems():
        for path in write(name):
            sys.stdout.write(f"{path.relative_to(manifests.ROOT)}\n")
