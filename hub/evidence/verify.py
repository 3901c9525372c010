#!/usr/bin/env python3
"""Kiểm tra một gói bằng chứng, không cần mạng hay cài đặt gì. / Check an evidence pack: no network, nothing to install.

    python3 verify.py evidence-….zip [--anchor HEX]

Says what each file proves and finds any altered byte. It needs Python 3.9 or later and its standard library alone. It
must never trust a word of the pack that it can compute itself.

How it is known: the file must be, byte for byte, what `packed` makes of its contents; each content must have the hash the
manifest gives; and the message, the record, the requests and the replies must lead through the journal's entry, its seal
and the chain of seals to an anchor. Whoever makes a whole pack anew can make all of that agree but for the anchor: compare
it with the one published on the day, or give it with --anchor.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
import zipfile
import zlib
from typing import Any

FORMAT = "lien-thong-evidence/1"


class Altered(Exception):
    """Gói đã bị sửa. / The pack was altered."""


def packed(files: dict[str, bytes]) -> bytes:
    """A ZIP of `{name: bytes}`, the same for the same contents everywhere: sorted, uncompressed, no clock, no owner."""
    body, index = io.BytesIO(), io.BytesIO()
    for name in sorted(files):
        data, raw = files[name], name.encode()
        # Version 2.0, names in UTF-8, stored, 1 January 1980.
        common = struct.pack("<HHHHHIIIHH", 20, 0x800, 0, 0, 0x21, zlib.crc32(data), len(data), len(data), len(raw), 0)
        index.write(b"PK\1\2" + struct.pack("<H", 20) + common)
        index.write(struct.pack("<HHHII", 0, 0, 0, 0, body.tell()) + raw)
        body.write(b"PK\3\4" + common + raw + data)
    start, size = body.tell(), index.tell()
    end = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), size, start, 0)
    return body.getvalue() + index.getvalue() + b"PK\5\6" + end


def written(value: Any) -> bytes:
    """JSON as every JSON file of a pack is written: one way only."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def message_leaf(message: int, digest: bytes, body: bytes, records: list[tuple[int, bytes]]) -> bytes:
    """What the journal holds of a message: its number, the keyed hash of what was sent, the stored bytes (their SHA-256),
    and each record made of it with its content's hash."""
    made = b"".join(number(r) + content for r, content in records)
    return sha256(b"message", number(message), digest, body, sha256(made))


def outcome_leaf(delivery: int, state: int, request: bytes, reply: bytes) -> bytes:
    """What the journal holds of a delivery's outcome: the state it went to, the SHA-256 of request and reply (or nothing)."""
    return sha256(b"outcome", number(delivery), bytes([state]), request, reply)


def content_hash(cancelled: bool, body: bytes) -> bytes:
    """A record's content, as the ledger compares versions by it."""
    return hashlib.blake2b((b"[true,%b]" if cancelled else b"[false,%b]") % body, digest_size=16).digest()


def link(before: bytes, seal: int, root: bytes) -> bytes:
    """The chain's next value."""
    return sha256(before, number(seal), root)


class Pack:
    """The contents, checked against the manifest."""

    def __init__(self, data: bytes) -> None:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                names = archive.namelist()
                if len(set(names)) != len(names):
                    raise Altered("two files of one name")
                self.files = {name: archive.read(name) for name in names}
        except Altered:
            raise
        except Exception as error:
            raise Altered(f"not a readable ZIP: {error}") from None
        if packed(self.files) != data:
            raise Altered("the ZIP itself is not as it was written")
        self.manifest = self.json("manifest.json")
        if self.manifest.get("format") != FORMAT:
            raise Altered("manifest.json: unknown format")
        hashes = {n: hashlib.sha256(b).hexdigest() for n, b in self.files.items() if n != "manifest.json"}
        for name in sorted(hashes.keys() | self.manifest["files"].keys()):
            if hashes.get(name) != self.manifest["files"].get(name):
                raise Altered(f"{name}: not what the manifest says")

    def raw(self, name: str) -> bytes:
        if name not in self.files:
            raise Altered(f"{name} is missing")
        return self.files[name]

    def json(self, name: str) -> Any:
        data = self.raw(name)
        try:
            value = json.loads(data)
        except ValueError:
            raise Altered(f"{name}: no JSON") from None
        if written(value) != data:
            raise Altered(f"{name}: not as it was written")
        return value


def check(data: bytes, anchor: str | None = None) -> tuple[list[str], str | None]:
    """Check a pack's bytes. Returns `(lines, anchor)`: what was found, and the anchor it all leads to (hex, or None).

    Raises `Altered` with the first thing that does not agree.
    """
    pack = Pack(data)
    lines = [f"✔ {len(pack.files)} tệp đúng như bảng kê / files are what the manifest says"]
    entries, head = _chain(pack, lines, anchor)
    _subject(pack, lines)
    _message(pack, lines, entries)
    _calls(pack, lines, entries)
    return lines, head


def _chain(pack: Pack, lines: list[str], anchor: str | None) -> tuple[dict[int, Any], str | None]:
    """The journal's entries, each led to its seal, and the seals to the anchor. Returns entries by number, and the anchor."""
    entries = {}
    hashes = {}
    for item in pack.json("chain/entries.json"):
        content = json.loads(item["entry"])
        entries[content[0]] = {"content": content, "leaves": bytes.fromhex(item["leaves"] or "")}
        hashes[content[0]] = sha256(item["entry"].encode())
        root = content[8].get("root") if isinstance(content[8], dict) else None
        if item["leaves"] and sha256(bytes.fromhex(item["leaves"])).hex() != root:
            raise Altered(f"chain/entries.json: the leaves of entry {content[0]} do not give its root")
    chain = pack.json("chain/seals.json")
    sealed = {}
    for seal in chain["seals"]:
        rows = [bytes.fromhex(h) for h in seal["entries"]]
        for at, entry in seal["holds"]:
            if entry not in hashes or not 0 <= at < len(rows) or rows[at] != hashes[entry]:
                raise Altered(f"chain/seals.json: entry {entry} is not in seal {seal['number']}")
            sealed[entry] = seal["number"]
        if sha256(*rows).hex() != seal["root"]:
            raise Altered(f"chain/seals.json: the entries of seal {seal['number']} do not give its root")
    if not chain["links"]:
        if anchor is not None:
            raise Altered("the pack leads to no anchor yet")
        lines.append("• Nhật ký chưa niêm phong / the journal is not sealed yet")
        return entries, None
    roots = {}
    value = bytes.fromhex(chain["before"])
    expected = chain["links"][0][0]
    for seal, root in chain["links"]:
        if seal != expected:
            raise Altered(f"chain/seals.json: seal {expected} is missing from the chain")
        value = link(value, seal, bytes.fromhex(root))
        roots[seal] = root
        expected += 1
    for seal in chain["seals"]:
        if roots.get(seal["number"]) != seal["root"]:
            raise Altered(f"chain/seals.json: seal {seal['number']} is not in the chain")
    if value.hex() != chain["anchor"]["chain"] or chain["links"][-1][0] != chain["anchor"]["seal"]:
        raise Altered("chain/seals.json: the chain does not lead to its anchor")
    if anchor is not None and anchor.lower() != chain["anchor"]["chain"]:
        raise Altered("the chain leads to another anchor than the one given")
    lines.append(
        f"✔ {len(sealed)}/{len(entries)} dòng nhật ký nằm trong chuỗi niêm phong / journal entries are in the chain of seals"
    )
    return {n: e for n, e in entries.items() if n in sealed}, chain["anchor"]["chain"]


def _subject(pack: Pack, lines: list[str]) -> None:
    record = pack.json("record/record.json")
    if "record/canonical.json" not in pack.files:
        lines.append(
            "• Nội dung bản ghi đã hết hạn lưu, còn mã băm / the record's content has expired, its hash remains"
        )
        return
    body = pack.raw("record/canonical.json")
    if content_hash(record["event"] == "CANCEL", body).hex() != record["content"]:
        raise Altered("record/canonical.json: not the content the record's hash names")
    lines.append("✔ Nội dung chuẩn hóa khớp mã băm của bản ghi / the canonical content is what the record's hash names")


def _message(pack: Pack, lines: list[str], entries: dict[int, Any]) -> None:
    record = pack.json("record/record.json")
    if "message/message.json" not in pack.files:
        lines.append("• Thông điệp gốc đã hết hạn lưu / the message has expired")
        return
    message = pack.json("message/message.json")
    made = [(r, bytes.fromhex(c)) for r, c in pack.json("message/records.json")]
    if (record["id"], bytes.fromhex(record["content"])) not in made:
        raise Altered("message/records.json: the record is not among those made of the message")
    stored = bytes.fromhex(message["stored"])
    if "message/body" in pack.files and sha256(pack.raw("message/body")) != stored:
        raise Altered("message/body: not the bytes that were stored")
    leaf = message_leaf(message["id"], bytes.fromhex(message["digest"]), stored, made)
    if message["entry"] is None:
        lines.append(
            "• Dòng nhật ký của thông điệp không còn hoặc chưa niêm phong / the journal's entry of the message is gone or not sealed"
        )
        return
    if _has(entries, ("intake", "decoded"), message["id"], leaf) is None:
        raise Altered("message/message.json: the journal holds another message")
    lines.append(
        "✔ Thông điệp và bản ghi đúng như nhật ký đã ghi khi nhận / message and record are what the journal wrote at intake"
    )


def _calls(pack: Pack, lines: list[str], entries: dict[int, Any]) -> None:
    proven = 0
    outcomes = pack.json("timeline.json")["outcomes"]
    for outcome in outcomes:
        request, reply = bytes.fromhex(outcome["request"]), bytes.fromhex(outcome["reply"])
        if outcome["call"] is not None:
            _call(pack, f"calls/{outcome['call']}", request, reply)
        leaf = outcome_leaf(outcome["delivery"], outcome["state"], request, reply)
        if _has(entries, ("conclude",), outcome["delivery"], leaf) is None:
            raise Altered(f"timeline.json: the journal holds another outcome of delivery {outcome['delivery']}")
        proven += 1
    lines.append(
        f"✔ {proven}/{len(outcomes)} kết quả gửi khớp nhật ký / outcomes of sending are what the journal wrote"
    )


def _call(pack: Pack, place: str, request: bytes, reply: bytes) -> None:
    call = pack.json(f"{place}/call.json")
    if bytes.fromhex(call["request"]) != request:
        raise Altered(f"{place}/call.json: another request than the one that was concluded")
    kept = {r["digest"]: r["id"] for r in call["replies"] if r["digest"]}
    if reply and reply.hex() not in kept:
        raise Altered(f"{place}/call.json: the reply that was concluded is missing")
    for name, digest in (("request", request.hex()), *((f"reply-{i}", d) for d, i in kept.items())):
        if f"{place}/{name}" in pack.files and hashlib.sha256(pack.raw(f"{place}/{name}")).hexdigest() != digest:
            raise Altered(f"{place}/{name}: not the bytes whose hash was kept")


def _named(entries: dict[int, Any], kinds: tuple[str, ...], subject: int) -> list[Any]:
    return [e for e in entries.values() if e["content"][4] in kinds and subject in (e["content"][7] or ())]


def _has(entries: dict[int, Any], kinds: tuple[str, ...], subject: int, leaf: bytes) -> Any:
    """The entry of one of these kinds whose leaf for the subject is this one, or None."""
    for entry in _named(entries, kinds, subject):
        ids, leaves = entry["content"][7], entry["leaves"]
        if len(leaves) == 32 * len(ids) and any(
            leaves[32 * i : 32 * i + 32] == leaf for i, n in enumerate(ids) if n == subject
        ):
            return entry
    return None


def main(arguments: list[str]) -> int:
    anchor = None
    if "--anchor" in arguments:
        at = arguments.index("--anchor")
        anchor = arguments[at + 1] if at + 1 < len(arguments) else ""
        arguments = arguments[:at] + arguments[at + 2 :]
    if len(arguments) != 1:
        print(__doc__)
        return 2
    with open(arguments[0], "rb") as file:
        data = file.read()
    try:
        lines, head = check(data, anchor)
    except Altered as error:
        print(f"✘ GÓI ĐÃ BỊ SỬA / THE PACK WAS ALTERED: {error}")
        return 1
    except Exception as error:
        print(f"✘ GÓI ĐÃ BỊ SỬA / THE PACK WAS ALTERED: unreadable ({type(error).__name__}: {error})")
        return 1
    for line in lines:
        print(line)
    if head is not None:
        print(f"  Mốc neo / anchor: {head}")
        if anchor is None:
            print("  So mốc này với mốc đã công bố trong ngày. / Compare it with the anchor published that day.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
