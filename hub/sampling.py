"""One stored exchange as a sample of its adapter, with synthetic people in the place of real ones.

One concern: from the ledger's rows to a sample folder that stands for itself. It must never write anything from which an
original value could be read: it writes nothing at all then, and says where the value stood.

What a kill leaves: nothing, or a folder without its `case.yaml`, which is written last and without which it is no sample.
"""

from __future__ import annotations

import re
import secrets as randomness
from pathlib import Path
from typing import Any

import orjson
import yaml
from msgspec import Struct
from msgspec.structs import replace

from adapters import manifest as manifests
from adapters.manifest import Manifest, ManifestError
from adapters.samples import Case, Sample, example_settings, plain, plain_call, samples
from connectors.settings import SettingsInvalid, validate
from hub.kernel.ledger.evidence import Exchanged
from hub.kernel.ledger.history import UNSTORED
from hub.kernel.ports import Call, Outgoing, Reading, Reply, Text
from hub.retelling import Retelling
from hub.stand_ins import StandIns
from hub.traces import SHORTEST, leaves, left_over
from hub.wiring import House
from hub.worker.render import COUNTS_AS
from hub.worker.targets import secrets_of
from mappings.engine import Unmapped, load_field_maps

_FILES = "https://vi-du.example/tep/"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,60}")
_HEADERS = re.compile(r"content-type|date|retry-after|x-road-(error|request-id)|x-ratelimit-.*|ratelimit.*")
"""What adapters read a reply with. Everything else a server says of itself stays out."""
_SECRET = re.compile(r"authorization|cookie|secret|token|session|password|api-?key|signature|signed", re.IGNORECASE)
_ACCOUNTS = frozenset({"username", "user", "client_id"})
"""Parameters of authentication schemes that name an account: as little to be written as a password."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORST = ("NeverTry", "NeedsPerson", "TryLater", "Unknown", "InProgress", "Receipt")


class Refused(Exception):
    """Không làm được mẫu; không tệp nào được ghi. / No sample can be made; nothing was written. `text` says why."""

    def __init__(self, vi: str, en: str) -> None:
        super().__init__(f"{vi} / {en}")
        self.text = Text(vi, en)


class Made(Struct, frozen=True, kw_only=True):
    """A sample ready to be written: content by file name. `blanked`: places in the reply whose text nobody could vouch for."""

    system: str
    outcome: str
    files: dict[str, bytes]
    blanked: list[str]


class World(Struct, kw_only=True):
    """An adapter and what it is given: once as it was, once with synthetic people."""

    adapter: Any
    outgoing: list[Outgoing]
    state: dict[str, str] | None
    call: Call


class Telling(Struct, kw_only=True):
    """A connector's adapter as it was and with what the sender is called in examples, and the stand-ins shared by a sample."""

    manifest: Manifest
    stand_ins: StandIns
    before: Any
    after: Any
    case: dict[str, Any]
    """What every `case.yaml` of it says."""
    hidden: list[str]
    """Secrets and accounts of the connector."""

    @classmethod
    def of(cls, house: House, row: Any, key: bytes | None) -> Telling:
        """From a row that holds the connector's. Raises `Refused`."""
        try:
            manifest = manifests.load(row["system"])
            settings = validate(row["settings"])
            full = manifest.check_settings(settings.adapter)
        except (ManifestError, SettingsInvalid) as error:
            raise Refused(
                "cấu hình của kết nối không còn hợp lệ", f"the connector's settings are no longer valid ({error})"
            ) from None
        catalogue = house.core.catalogue

        def codes(system: str) -> list[str]:
            return [r.code for r in catalogue.systems[system].rows if r.effective_to is None]

        stand_ins = StandIns(key or randomness.token_bytes(32), codes)
        examples = example_settings(manifest)
        told = {k: _setting(stand_ins, k, v, examples.get(k), manifest) for k, v in full.items()}
        case: dict[str, Any] = {"note": "Recorded traffic; every personal value in it is synthetic."}
        if settings.profile and settings.profile.removesuffix(".yaml") != manifest.profiles[0].removesuffix(".yaml"):
            case["profile"] = settings.profile
        if other := {k: v for k, v in told.items() if examples.get(k) != v}:
            case["settings"] = other
        hidden = [*secrets_of(house.keys, row["connector_name"], row["secrets"]).values()]
        hidden += [v for k, v in (row["settings"].get("auth") or {}).items() if k in _ACCOUNTS and isinstance(v, str)]
        before, after = manifest.build(full, settings.profile), manifest.build(told, settings.profile)
        return cls(manifest=manifest, stand_ins=stand_ins, before=before, after=after, case=case, hidden=hidden)

    def check(self, files: dict[str, bytes], *headers: str) -> None:
        """Nothing secret and nothing original is in what would be written. Raises `Refused`, which names places, never values."""
        for name in headers:
            if _SECRET.search(name):
                raise Refused(f"tiêu đề {name!r} là bí mật", f"header {name!r} is a secret")
        kept = [o for o in dict.fromkeys([*self.stand_ins.originals, *self.hidden]) if len(o) >= SHORTEST]
        for name, content in files.items():
            if found := left_over(content, kept):
                raise Refused(
                    f"{name} vẫn chứa {len(found)} giá trị gốc{_where(content, [kept[n] for n in found])}",
                    f"{name} still holds {len(found)} original values{_where(content, [kept[n] for n in found])}",
                )


def make(house: House, found: Exchanged, key: bytes | None = None) -> Made:
    """The sample of an exchange. `key`: of the stand-ins; another one for every run when not given. Raises `Refused`."""
    row = found.call
    reply = reply_of(found)
    told = Telling.of(house, row, key)
    stand_ins, manifest = told.stand_ins, told.manifest
    before = as_it_was(house, found, told.before)
    after = retold(house, found, before, stand_ins, told.after)
    learn(before.call, after.call, stand_ins)
    reading = before.adapter.read(before.call, reply)
    _note_references(reading, stand_ins)
    retelling = Retelling(manifest, stand_ins)
    again = reply_retold(retelling, reply, row["content_type"])
    read = after.adapter.read(after.call, again)
    _same_meaning(reading, read, before.call, after.call)
    outcome = _outcome(manifest, read, after.call.operation)
    case: dict[str, Any] = {"what": "read", "outcome": outcome} | told.case
    if after.state is not None:
        case["state"] = after.state
    files = _files(case, after, again, read)
    told.check(files, *after.call.headers, *again.headers)
    return Made(system=manifest.system, outcome=outcome, files=files, blanked=retelling.blanked)


def write(made: Made, into: Path) -> None:
    """Write a sample into a new folder, its `case.yaml` last. Raises `Refused` when there is something at that place."""
    if not _NAME.fullmatch(into.name):
        raise Refused(
            "tên mẫu chỉ gồm chữ thường, số và gạch nối", "a sample's name has small letters, digits and hyphens"
        )
    try:
        into.mkdir(parents=True)
    except FileExistsError:
        raise Refused(f"đã có {into}", f"{into} is there already") from None
    for name in sorted(made.files, key=lambda n: n == "case.yaml"):
        (into / name).write_bytes(made.files[name])


# ------------------------------------------------------------------------------------------ as it was


def reply_of(found: Exchanged) -> Reply:
    row = found.call
    if not found.replies:
        raise Refused("cuộc gọi này chưa có trả lời", "this call was never answered")
    last = found.replies[-1]
    if row["body"] is None or last["body"] is None:
        raise Refused("nội dung đã hết hạn lưu và đã bị xoá", "a body has expired and was erased")
    if len(found.deliveries) != len(row["deliveries"]) or any(d["body"] is None for d in found.deliveries):
        raise Refused("có bản ghi đã hết hạn lưu và đã bị xoá", "a record of the call has expired and was erased")
    if COUNTS_AS in row["meta"]:
        raise Refused("cuộc gọi này gửi lại nguyên văn một cuộc khác; hãy lấy mẫu từ cuộc đó",
                      "this call sent another one's bytes again: make the sample of that one")  # fmt: skip
    return Reply(status=last["status"], body=bytes(last["body"]), headers=dict(last["headers"] or {}))


def as_it_was(house: House, found: Exchanged, adapter: Any) -> World:
    """The call rendered again from its records; it must be the one that is stored."""
    row = found.call
    outgoing = [
        Outgoing(
            delivery=d["delivery"], record=d["record"], type=d["type"], key=d["key"], event=d["event"], version=d["version"],
            updated_at=d["updated_at"], school=d["school"], body=d["body"], mapped={}, attempt=d["attempt"],
        )
        for d in found.deliveries
    ]  # fmt: skip
    outgoing = [replace(o, mapped=_mapped(house, found, n, o)) for n, o in enumerate(outgoing)]
    told = row["meta"].get("conversation")
    state = dict(told) if isinstance(told, dict) and told else None
    call = _render(adapter, outgoing, state)
    stored = Call(
        operation=row["operation"], deliveries=tuple(row["deliveries"]), body=bytes(row["body"]), content_type=row["content_type"],
        idempotent=row["idempotent"], method=row["method"], path=row["path"], headers=row["headers"], key=row["key"], meta=row["meta"],
    )  # fmt: skip
    mine, theirs = values_of(call), values_of(stored)
    if call.operation != stored.operation:
        raise Refused("cuộc gọi này là bước sau của một cuộc trao đổi; hãy lấy mẫu từ bước đầu",
                      "this call is a later step of a conversation: make the sample of its first step")  # fmt: skip
    for at in sorted(mine.keys() | theirs.keys()):
        if mine.get(at) != theirs.get(at) and not (mine.get(at) or "").startswith(_FILES):
            raise Refused(
                f"bộ chuyển đổi không còn dựng lại đúng cuộc gọi đã lưu: khác ở {at} (ánh xạ khi gửi: {row['mapping']})",
                f"the adapter does not make the stored call from its records again: it differs at {at} "
                f"(mapped then by {row['mapping']})",
            )
    return World(adapter=adapter, outgoing=outgoing, state=state, call=call)


def _mapped(house: House, found: Exchanged, place: int, one: Outgoing) -> dict[str, Any]:
    flow = found.deliveries[place]["flow"]
    target = house.core.router.targets.get((flow, found.call["connector"]))
    if target is None:
        raise Refused(
            f"luồng {flow!r} không còn gửi tới kết nối này", f"flow {flow!r} no longer sends to this connector"
        )
    meta = {
        "event": one.event, "version": one.version, "updated_at": one.updated_at, "key": one.key,
        "file_address": lambda file: f"{_FILES}{file}",
    }  # fmt: skip
    try:
        return load_field_maps()[target.map].allowing(target.allow).apply(one.body, meta, house.core.catalogue)
    except Unmapped as unmapped:
        raise Refused(f"mã chưa có nghĩa: {unmapped}", f"a code has no meaning now: {unmapped}") from None


def _render(adapter: Any, outgoing: list[Outgoing], state: dict[str, str] | None) -> Call:
    if state is not None and len(outgoing) == 1:
        made: Call = adapter.resume(outgoing[0], state)
        return made
    calls: list[Call]
    if state is not None and hasattr(adapter, "resume_many"):
        calls = adapter.resume_many([(one, state) for one in outgoing], len(outgoing))
    else:
        calls = adapter.render(outgoing)
    if len(calls) != 1:
        raise Refused(f"các bản ghi giờ thành {len(calls)} cuộc gọi", f"the records become {len(calls)} calls now")
    return calls[0]


def values_of(call: Call) -> dict[str, str]:
    """Every value of a call by its place, but for what is never stored."""
    meta = {k: v for k, v in call.meta.items() if k not in UNSTORED}
    told = plain(replace(call, body=b"", meta=meta))
    del told["body"]
    return {f"call{at}": v for at, v in leaves(orjson.dumps(told)).items()} | {
        f"body{at}": v for at, v in leaves(call.body).items()
    }


# ------------------------------------------------------------------------------------------ told again


def _setting(stand_ins: StandIns, name: str, value: Any, example: Any, manifest: Manifest) -> Any:
    """A connector's parameter as the sample has it: who the sender is, is the example's."""
    declared = manifest.settings["properties"][name]
    if not isinstance(value, str) or not value or "enum" in declared or value == example or value.startswith("/"):
        return value
    if not example:
        return stand_ins.of("code", value)
    stand_ins.pair(value, str(example))
    return example


def retold(house: House, found: Exchanged, before: World, stand_ins: StandIns, adapter: Any) -> World:
    outgoing = []
    for n, one in enumerate(before.outgoing, 1):
        stand_ins.pair(str(one.delivery), str(100 + n))
        stand_ins.pair(str(one.record), str(1000 + n))
        stand_ins.record(one.type, one.body)
    state = None
    if before.state is not None:
        state = {
            k: v if re.fullmatch(r"[a-z_]*|\d{1,3}", v) else stand_ins.of("code", v) for k, v in before.state.items()
        }
    for n, one in enumerate(before.outgoing):
        # Only now, with all originals known, those that stand inside other texts are found too.
        told = replace(
            one, delivery=101 + n, record=1001 + n, body=stand_ins.record(one.type, one.body), key=stand_ins.text(one.key),
            school=stand_ins.text(one.school) if one.school else one.school,
        )  # fmt: skip
        outgoing.append(replace(told, mapped=_mapped(house, found, n, told)))
    call = _render(adapter, outgoing, state)
    mine, theirs = values_of(call).keys(), values_of(before.call).keys()
    if mine != theirs:
        at = min(mine ^ theirs)
        raise Refused(
            f"với giá trị thay thế, cuộc gọi có hình khác ở {at}",
            f"with the stand-ins the call has another shape at {at}",
        )
    return World(adapter=adapter, outgoing=outgoing, state=state, call=call)


def learn(before: Call, after: Call, stand_ins: StandIns) -> None:
    """What an adapter computes from a record (a request's number) has changed with it: the reply names it too."""
    told = values_of(after)
    for at, old in values_of(before).items():
        new = told[at]
        if old == new:
            continue
        if _UUID.fullmatch(old) and _UUID.fullmatch(new):
            stand_ins.pair(old, new)


def _note_references(reading: Reading, stand_ins: StandIns) -> None:
    for outcome in reading.outcomes.values():
        reference = getattr(outcome, "reference", None)
        if isinstance(reference, str) and len(reference) >= SHORTEST and any(c.isdigit() for c in reference):
            stand_ins.of("code", reference)


def reply_retold(retelling: Retelling, reply: Reply, content_type: str) -> Reply:
    given = reply.headers.get("content-type", content_type)
    headers = {k: retelling.header(v) for k, v in reply.headers.items() if _HEADERS.fullmatch(k)}
    return Reply(status=reply.status, body=retelling.body(reply.body, given), headers=headers)


def _same_meaning(was: Reading, now: Reading, before: Call, after: Call) -> None:
    """The adapter must understand the reply told again as it understood the reply that came."""
    for old, new in zip(before.deliveries, after.deliveries, strict=True):
        one, other = was.outcomes.get(old), now.outcomes.get(new)
        for at in ("type", "scope", "cause", "detail"):
            said, says = (type(o).__name__ if at == "type" else getattr(o, at, None) for o in (one, other))
            if said != says and (at != "detail" or str(said).isidentifier()):
                raise Refused(
                    f"trả lời sau khi thay được hiểu khác: {at} của lượt gửi {new}",
                    f"the reply told again is understood differently: {at} of delivery {new}",
                )
    if len(was.records) != len(now.records) or (was.next is None) != (now.next is None):
        raise Refused("trả lời sau khi thay dẫn tới bản ghi khác", "the reply told again gives rise to other records")


def _outcome(manifest: Manifest, read: Reading, operation: str) -> str:
    """The declared outcome this shows: of its kind the one whose samples of this operation say the most alike."""
    kinds = {type(o).__name__ for o in read.outcomes.values()}
    kind = "next" if read.next is not None else next((k for k in _WORST if k in kinds), "Unknown")
    names = [o.name for o in manifest.outcomes if o.kind == kind]
    if not names:
        raise Refused(f"bản khai không có kết cục loại {kind}", f"the manifest declares no outcome of kind {kind}")
    mine = {(k, str(v)) for o in read.outcomes.values() if type(o).__name__ == kind for k, v in plain(o).items()}

    def alike(sample: Sample) -> tuple[bool, int]:
        golden = orjson.loads(sample.golden.read_bytes())
        said = {(k, str(v)) for o in golden["outcomes"].values() if o["type"] == kind for k, v in o.items()}
        return sample.call(sample.adapter()).operation == operation, len(mine & said)

    shown = [s for s in samples(manifest) if s.case.what == "read" and s.case.outcome in names]
    best = max(shown, key=alike, default=None)
    return best.case.outcome or names[0] if best is not None else names[0]


# ------------------------------------------------------------------------------------------ written down


def _files(case: dict[str, Any], world: World, reply: Reply, read: Reading) -> dict[str, bytes]:
    golden = plain({"outcomes": read.outcomes, "records": read.records})
    golden["next"] = plain_call(read.next) if read.next else None
    told = {"outgoing.json": lines(plain(world.outgoing)), "calls.json": lines([plain_call(world.call)])}
    return told | {"reading.json": lines(golden)} | case_files(case) | reply_files(reply)


def lines(value: Any) -> bytes:
    """JSON as samples have it."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def case_files(case: dict[str, Any]) -> dict[str, bytes]:
    """`case.yaml`."""
    Case(**case)
    return {"case.yaml": yaml.safe_dump(case, allow_unicode=True, sort_keys=False).encode()}


def reply_files(reply: Reply) -> dict[str, bytes]:
    """`reply.yaml` and, where there is one, the body beside it."""
    start = reply.body.lstrip()[:1]
    name = "reply.json" if start in (b"{", b"[") else "reply.xml" if start == b"<" else "reply.txt"
    told: dict[str, Any] = {"status": reply.status} | ({"headers": reply.headers} if reply.headers else {})
    told |= {"body": name} if reply.body else {}
    return {"reply.yaml": yaml.safe_dump(told, sort_keys=False).encode()} | ({name: reply.body} if reply.body else {})


def _where(content: bytes, values: list[str]) -> str:
    places = [at for at, told in leaves(content).items() if left_over(told.encode(), values)]
    return f" ({', '.join(places[:3])})" if any(places) else ""
