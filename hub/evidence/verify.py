#!/usr/bin/env python3
"""Kiểm tra một gói bằng chứng, không cần mạng hay cài đặt gì. / Check an evidence pack: no network, nothing to install.

    python3 verify.py evidence-….zip [--anchor HEX]…

Says what each file proves and finds any altered byte. It needs Python 3.9 or later and its standard library alone. It
must never trust a word of the pack that it can compute itself.

How it is known: the file must be, byte for byte, what `packed` makes of its contents; each content must have the hash the
manifest gives; and the message, the record, the requests and the replies must lead through the journal's entry, its seal
and the chain of seals to an anchor. Whoever makes a whole pack anew can make all of that agree but for the anchor: compare
it with the one published on the day, or give it with --anchor. What no entry of the journal speaks of is not proven,
whatever else agrees.

The pack of a whole filing holds a pack like that for each version of it and each step told of it: each is checked, and must
speak of that filing. Days apart, they lead to different anchors: give --anchor for each. That none was left out no chain
can prove; how many older ones were is told.

Exit code: 0 everything is proven; 1 altered; 2 wrongly called; 3 something is not proven; 4 something is not sealed yet
(the record is seconds old), or with --anchor not anchored yet (no anchor was set since): ask for a new pack later; until
then nothing of that is proven.
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

FORMAT = "lien-thong-evidence/3"
FORMATS = ("lien-thong-evidence/1", "lien-thong-evidence/2", FORMAT)
"""In packs of the first one no outcome names the record it is of, in those of the first two none what mapped it."""
FILING = "lien-thong-evidence-filing/3"
FILINGS = ("lien-thong-evidence-filing/1", "lien-thong-evidence-filing/2", FILING)
"""Of a whole filing: packs of single records, oldest first."""


class Altered(Exception):
    """Gói đã bị sửa. / The pack was altered."""


class NotProven(Exception):
    """Gói chưa được chứng minh. / Not everything in the pack leads to the anchor; `found` says what does not."""

    def __init__(self, found: Found) -> None:
        super().__init__(", ".join((*found.unproven, *found.unsealed)))
        self.found = found


def packed(files: dict[str, bytes]) -> bytes:
    """A ZIP of `{name: bytes}`, the same for the same contents everywhere: sorted, uncompressed, no clock, no owner."""
    body: list[bytes] = []
    index: list[bytes] = []
    start = 0
    for name in sorted(files):
        data, raw = files[name], name.encode()
        # Version 2.0, names in UTF-8, stored, 1 January 1980.
        common = struct.pack("<HHHHHIIIHH", 20, 0x800, 0, 0, 0x21, zlib.crc32(data), len(data), len(data), len(raw), 0)
        index.append(b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, start) + raw)
        head = b"PK\3\4" + common + raw
        body += (head, data)
        start += len(head) + len(data)
    end = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), sum(map(len, index)), start, 0)
    # Joined once: a pack may be large, and is held in memory as it is.
    return b"".join((*body, *index, b"PK\5\6", end))


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


def outcome_leaf(
    delivery: int, record: int | None, state: int, request: bytes, reply: bytes, mapping: bytes = b""
) -> bytes:
    """What the journal holds of a delivery's outcome: the record it is of (not in older entries: None), the state it went to,
    the SHA-256 of request and reply (or nothing), and of the document of what mapped the request (not in older entries)."""
    if record is None:
        return sha256(b"outcome", number(delivery), bytes([state]), request, reply)
    if mapping:
        return sha256(b"mapped", number(delivery), number(record), bytes([state]), request, reply, mapping)
    return sha256(b"concluded", number(delivery), number(record), bytes([state]), request, reply)


def carried_leaf(copy: int, old: int, message: int, content: bytes) -> bytes:
    """What the journal holds of a record kept when its day was dropped: the copy's number, the number it had, the message it
    was made of, its content's hash."""
    return sha256(b"carried", number(copy), number(old), number(message), content)


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
                self.files = {name: archive.read(name) for name in archive.namelist()}
        except Exception as error:
            raise Altered(f"not a readable ZIP: {error}") from None
        if packed(self.files) != data:
            raise Altered("the ZIP itself is not as it was written")
        self.manifest = self.json("manifest.json")
        if self.manifest.get("format") not in (*FORMATS, *FILINGS):
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


class Found:
    """What a check found. `unproven` is what no entry of the journal speaks of, `unsealed` what one speaks of that is in no seal
    yet, or under none of the anchors given (anybody could have written it), `anchors` what the chains lead to (hex)."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.unproven: list[str] = []
        self.unsealed: list[str] = []
        self.anchors: list[str] = []

    @property
    def anchor(self) -> str | None:
        """What the last chain leads to; a single record's pack has one chain."""
        return self.anchors[-1] if self.anchors else None

    @property
    def state(self) -> str:
        return "unproven" if self.unproven else "unsealed" if self.unsealed else "proven"

    def note(self, proof: str, what: str) -> None:
        if proof != "sealed":
            (self.unsealed if proof == "unsealed" else self.unproven).append(what)


class Journal:
    """The pack's entries of the journal: those a seal of the chain holds, and those none holds yet."""

    def __init__(self) -> None:
        self.content: dict[int, Any] = {}
        self.leaves: dict[int, bytes] = {}
        self.hashes: dict[int, bytes] = {}
        self.sealed: set[int] = set()

    def proof(self, kinds: tuple[str, ...], subject: int, leaf: bytes) -> str:
        """`sealed`, `unsealed`, `other` (entries speak of the subject, and say something else) or `none`."""
        found = "none"
        for number, content in self.content.items():
            ids, leaves = content[7] or (), self.leaves[number]
            if content[4] not in kinds or len(leaves) != 32 * len(ids):
                continue
            said = [leaves[32 * i : 32 * i + 32] for i, n in enumerate(ids) if n == subject]
            if leaf in said:
                if number in self.sealed:
                    return "sealed"
                found = "unsealed"
            elif said and found == "none":
                found = "other"
        return found

    def carried(self, copy: int) -> tuple[int, bytes | None, str] | None:
        """Of a number a record got when its day was dropped: the one it had, the entry's leaf of it (None in older entries), and
        `sealed` or `unsealed`. None: no entry speaks of it."""
        found = None
        for entry, content in self.content.items():
            ids, leaves = content[7] or (), self.leaves[entry]
            if content[4] != "carried" or copy not in ids or (leaves and len(leaves) != 32 * len(ids)):
                continue
            at, had = ids.index(copy), content[8]["from"]
            if len(had) != len(ids):
                raise Altered(f"chain/entries.json: entry {entry} does not say of each copy what it is of")
            told = had[at], leaves[32 * at : 32 * at + 32] if leaves else None
            if entry in self.sealed:
                return (*told, "sealed")
            found = (*told, "unsealed")
        return found

    def copied(self, copy: int, record: Any) -> str:
        """How the journal says that a number is one this record had later: `sealed`, `unsealed`, `none`, or `other` where it says
        something else. A copy may be a copy's: each is newer than what it is of."""
        own, content, proof = record["id"], _exactly(record["content"], 16), "sealed"
        while copy != own:
            said = self.carried(copy)
            if said is None:
                return "none"
            old, leaf, sealed = said
            if not own <= old < copy or leaf not in (None, carried_leaf(copy, old, record["message"], content)):
                return "other"
            copy, proof = old, "unsealed" if sealed == "unsealed" else proof
        return proof


def check(data: bytes, *anchors: str) -> Found:
    """Check a pack's bytes, against anchors (hex) if any are given. Look at the `state` of what is returned.

    Raises `Altered` with the first thing that does not agree, and `NotProven` when an anchor was given and not everything
    in the pack leads to one given.
    """
    pack, found = Pack(data), Found()
    found.lines.append(f"✔ {len(pack.files)} tệp đúng như bảng kê / files are what the manifest says")
    if pack.manifest["format"] in FILINGS:
        _filing(pack, found, anchors)
    else:
        _record(pack, found, anchors)
    if anchors and found.state != "proven":
        raise NotProven(found)
    return found


def _record(pack: Pack, found: Found, anchors: tuple[str, ...]) -> None:
    """The pack of one record."""
    journal = _chain(pack, found, anchors)
    record = _subject(pack, found)
    _message(pack, found, journal, record)
    _calls(pack, found, journal, record)
    others = pack.files.keys() - _PLAIN - set(_SUBJECT)
    found.unproven += sorted(n for n in others if not n.startswith(("calls/", "mappings/")))


def _filing(pack: Pack, found: Found, anchors: tuple[str, ...]) -> None:
    """The packs of a filing's versions and steps: each must check out by itself, be the one the manifest names, and speak of
    this filing."""
    number = pack.manifest["filing"]
    seen: set[int] = set()
    for said in pack.manifest["records"]:
        name = said["file"]
        try:
            inner, part = Pack(pack.raw(name)), Found()
            if inner.manifest["format"] not in FORMATS:
                raise Altered("not the pack of one record")
            _record(inner, part, anchors)
            record = inner.json("record/record.json")
            if any(said[k] != record[k] for k in ("id", "type", "key", "version", "event")) or record["id"] in seen:
                raise Altered("not the record the manifest names")
            own = record["type"] == "filing" and record["key"] == number
            if not own and not (record["type"] == "filing_progress" and record["key"].startswith(number + "/")):
                raise Altered("of another filing")
            if "record/canonical.json" in inner.files:
                if json.loads(inner.raw("record/canonical.json")).get("file_number") != number:
                    raise Altered("its content is another filing's")
            else:
                # What else names the filing (type, key) is in no entry of the journal: anybody could have written it.
                part.unproven.append("record/record.json: filing number")
        except Altered as error:
            raise Altered(f"{name}: {error}") from None
        seen.add(record["id"])
        mark = {"proven": "✔", "unproven": "✘", "unsealed": "…"}[part.state]
        found.lines.append(f"{mark} {name}: {record['type']} {record['key']}, v{record['version']} {record['event']}")
        found.lines += [f"    {line}" for line in part.lines]
        found.unproven += [f"{name}: {what}" for what in part.unproven]
        found.unsealed += [f"{name}: {what}" for what in part.unsealed]
        found.anchors += [a for a in part.anchors if a not in found.anchors]
    if not seen:
        raise Altered("manifest.json: no record")
    named = {said["file"] for said in pack.manifest["records"]}
    found.unproven += sorted(pack.files.keys() - {"README.txt", "verify.py", "manifest.json"} - named)
    found.lines.append(f"• {len(seen)} bản ghi của hồ sơ / records of filing {number}")
    if pack.manifest["left_out"]:
        found.lines.append(
            f"• {pack.manifest['left_out']} bản ghi cũ hơn không có trong gói / older records are not in the pack"
        )


# What proves or is there to be read; then the files of the record and of the message it came in.
_PLAIN = {"README.txt", "verify.py", "manifest.json", "timeline.json", "chain/entries.json", "chain/seals.json"}
_SUBJECT = (
    "record/record.json", "record/canonical.json", "message/message.json", "message/records.json", "message/body",
)  # fmt: skip


def _chain(pack: Pack, found: Found, anchors: tuple[str, ...]) -> Journal:
    """The journal's entries, each led to its seal, and the seals to the anchor; of those given, if any are. A chain that no
    anchor was set on yet leads to none of them: then its entries count as not sealed."""
    journal = Journal()
    for item in pack.json("chain/entries.json"):
        content = json.loads(item["entry"])
        line, leaves = content[0], bytes.fromhex(item["leaves"] or "")
        if line in journal.content:
            raise Altered(f"chain/entries.json: entry {line} is there twice")
        root = content[8].get("root") if isinstance(content[8], dict) else None
        if leaves and sha256(leaves).hex() != root:
            raise Altered(f"chain/entries.json: the leaves of entry {line} do not give its root")
        journal.content[line], journal.leaves[line] = content, leaves
        journal.hashes[line] = sha256(item["entry"].encode())
    chain = pack.json("chain/seals.json")
    for seal in chain["seals"]:
        rows = [_exactly(h, 32) for h in seal["entries"]]
        for at, entry in seal["holds"]:
            if entry not in journal.hashes or not 0 <= at < len(rows) or rows[at] != journal.hashes[entry]:
                raise Altered(f"chain/seals.json: entry {entry} is not in seal {seal['number']}")
            journal.sealed.add(entry)
        if sha256(*rows).hex() != seal["root"]:
            raise Altered(f"chain/seals.json: the entries of seal {seal['number']} do not give its root")
    if not chain["links"]:
        if chain["seals"]:
            raise Altered("chain/seals.json: it leads to no anchor")
        return journal
    roots = {}
    value = bytes.fromhex(chain["before"])
    expected = chain["links"][0][0]
    for seal, root in chain["links"]:
        if seal != expected:
            raise Altered(f"chain/seals.json: seal {expected} is missing from the chain")
        value = link(value, seal, _exactly(root, 32))
        roots[seal] = root
        expected += 1
    for seal in chain["seals"]:
        if roots.get(seal["number"]) != seal["root"]:
            raise Altered(f"chain/seals.json: seal {seal['number']} is not in the chain")
    if value.hex() != chain["anchor"]["chain"] or chain["links"][-1][0] != chain["anchor"]["seal"]:
        raise Altered("chain/seals.json: the chain does not lead to its anchor")
    if anchors and chain["anchor"]["chain"] not in [a.lower() for a in anchors]:
        if chain["anchor"]["anchored"] is not False:
            raise Altered("the chain leads to another anchor than the one given")
        # No anchor was set since: it leads to the chain's head of that moment, which proves nothing against those given.
        journal.sealed.clear()
        found.unsealed.append("chain/seals.json: chưa có mốc neo nào sau đó / not anchored yet")
        return journal
    found.anchors.append(chain["anchor"]["chain"])
    held = f"{len(journal.sealed)}/{len(journal.content)}"
    found.lines.append(f"• {held} dòng nhật ký nằm trong chuỗi niêm phong / journal entries are in the chain of seals")
    return journal


def _subject(pack: Pack, found: Found) -> Any:
    """The record. Its content must be what its hash names; that the hash is the journal's is for `_message` to find."""
    record = pack.json("record/record.json")
    if "record/canonical.json" not in pack.files:
        found.lines.append("• Nội dung bản ghi đã hết hạn lưu, còn mã băm / the record's content has expired")
    elif content_hash(record["event"] == "CANCEL", pack.raw("record/canonical.json")).hex() != record["content"]:
        raise Altered("record/canonical.json: not the content the record's hash names")
    return record


def _message(pack: Pack, found: Found, journal: Journal, record: Any) -> None:
    if "message/message.json" not in pack.files:
        # What ties the record to the journal went with it, but for what was written of a copy when it was made.
        proof, line = "none", "• Không có thông điệp gốc / the message is not there"
        if record.get("disposition") == 4:
            proof = _kept(journal, record)
            line = _COPY if proof == "none" else _COPY_TOLD
        found.lines.append(line)
        for name in _SUBJECT:
            if name in pack.files:
                found.note(proof if name.startswith("record/") else "none", name)
        return
    message = pack.json("message/message.json")
    made = [(r, _exactly(c, 16)) for r, c in pack.json("message/records.json")]
    if (record["id"], bytes.fromhex(record["content"])) not in made:
        raise Altered("message/records.json: the record is not among those made of the message")
    stored = bytes.fromhex(message["stored"])
    if "message/body" in pack.files and sha256(pack.raw("message/body")) != stored:
        raise Altered("message/body: not the bytes that were stored")
    leaf = message_leaf(message["id"], bytes.fromhex(message["digest"]), stored, made)
    proof = journal.proof(TAKEN, message["id"], leaf)
    if proof == "other":
        raise Altered("message/message.json: the journal holds another message")
    for name in _SUBJECT:
        if name in pack.files:
            found.note(proof, name)
    if proof == "sealed":
        found.lines.append("✔ Thông điệp, bản ghi đúng như nhật ký khi nhận / message and record are the journal's")


def _kept(journal: Journal, record: Any) -> str:
    """How the journal says what a copy holds; older entries say only of which record it is one."""
    said = journal.carried(record["id"])
    if said is None or said[1] is None:
        return "none"
    if said[1] != carried_leaf(record["id"], said[0], record["message"], _exactly(record["content"], 16)):
        raise Altered("record/record.json: the journal says that the copy holds something else")
    return said[2]


_COPY_TOLD = (
    "• Bản sao của bản ghi, được giữ lại khi ngày nhận bản ghi hết hạn lưu: thông điệp gốc không còn; nội dung và thông điệp "
    "nào tạo ra nó thì nhật ký đã ghi lúc sao, và những lần gửi từ đó về sau vẫn được chứng minh / a copy of the record, kept when the day it came "
    "on was dropped: its message is gone; its content, and which message it was made of, the journal said when it was "
    "copied, and what was sent of it since is still proven"
)
_COPY = (
    "• Bản sao của bản ghi, được giữ lại khi ngày nhận bản ghi hết hạn lưu: thông điệp gốc và phần chứng minh không "
    "còn; những lần gửi từ đó về sau vẫn được chứng minh / a copy of the record, kept when the day it came on was dropped: its message, and "
    "what proved it, are gone; what was sent of it since is still proven"
)
TAKEN = ("intake", "decoded", "judged_again")  # the kinds of entries that speak of messages
_WORDS = {1: "held", 2: "ready", 3: "sending", 4: "waiting", 5: "parked", 6: "uncertain"}
_WORDS |= {7: "delivered", 8: "dead", 9: "cancelled"}


def _calls(pack: Pack, found: Found, journal: Journal, record: Any) -> None:
    timeline = pack.json("timeline.json")
    _whose(pack, found, journal, timeline, record)
    proofs: dict[tuple[Any, str, bytes], set[str]] = {}  # (call, request or reply, SHA-256): how it is proven
    ended: set[tuple[Any, str]] = set()
    mapped: dict[Any, dict[str, set[str]]] = {}  # call: what mapped it: how it is proven
    proven = 0
    for said in timeline["outcomes"]:
        request, reply, proof = _outcome(said, journal)
        if said.get("mapping"):
            mapped.setdefault(said["call"], {}).setdefault(said["mapping"], set()).add(proof)
        found.note(proof, f"timeline.json: {said['delivery']} {said['word']}")
        proven += proof == "sealed"
        ended.add((said["delivery"], said["word"]))
        for role, digest in (("request", request), ("reply", reply)):
            proofs.setdefault((said["call"], role, digest), set()).add(proof)
    for one in timeline["deliveries"]:
        if one["state"] == "delivered" and (one["id"], "delivered") not in ended:
            found.unproven.append(f"timeline.json: {one['id']} delivered")
    calls = {n.split("/")[1] for n in pack.files if n.startswith("calls/")}
    calls |= {str(said["call"]) for said in timeline["outcomes"] if said["call"] is not None}
    for call in sorted(calls):
        _call(pack, found, call, proofs)
    _mappings(pack, found, calls, mapped)
    held = f"{proven}/{len(timeline['outcomes'])}"
    found.lines.append(f"• {held} kết quả gửi đúng như nhật ký / outcomes are the journal's")


def _whose(pack: Pack, found: Found, journal: Journal, timeline: Any, record: Any) -> None:
    """Each delivery must be the record's. Where its outcome's entry says whose it is, that is what it has to say; where it names
    a copy of the record, the entry written when the copy was made has to say that it is one."""
    own, copies = record["id"], pack.manifest.get("copies", [])
    said = {one["id"]: one.get("record", own) for one in timeline["deliveries"]}
    tied = set()
    kept: dict[int, str] = {}  # what the journal says of each copy
    for outcome in timeline["outcomes"]:
        delivery, named = outcome["delivery"], outcome.get("record")
        if named is None:
            continue
        tied.add(delivery)
        if named == own and said.get(delivery, own) == own:
            continue
        if said.get(delivery, own) != named or named not in copies:
            raise Altered(f"timeline.json: delivery {delivery} is of another record")
        if named not in kept:
            kept[named] = journal.copied(named, record)
        if kept[named] == "other":
            raise Altered(
                f"timeline.json: delivery {delivery} is of record {named}, a copy of another record than this"
            )
        what = f"timeline.json: {delivery}: bản ghi {named} là bản sao / record {named} is a copy"
        found.note(kept[named], what)
    if kept:
        shown = sum(proof == "sealed" for proof in kept.values())
        found.lines.append(
            f"• {shown}/{len(kept)} bản sao: nhật ký nói rõ là của bản ghi này / copies: the journal says they are this record's"
        )
    if told := {outcome["delivery"] for outcome in timeline["outcomes"]}:
        found.lines.append(
            f"• {len(tied)}/{len(told)} lượt gửi: dòng nhật ký nói rõ của bản ghi nào / deliveries: their entries say whose"
        )


def _outcome(said: Any, journal: Journal) -> tuple[bytes, bytes, str]:
    """An outcome's request and reply (their SHA-256, or nothing), and its proof."""
    request, reply, mapping = (bytes.fromhex(said.get(k, "")) for k in ("request", "reply", "mapping"))
    # The leaf holds them end to end: could a call's request be nothing, its reply alone would hash as a request alone.
    sizes = (32, (0, 32), (0, 32)) if said["call"] is not None else (0, (0,), (0,))
    fit = len(request) == sizes[0] and len(reply) in sizes[1] and len(mapping) in sizes[2]
    if said["word"] != _WORDS.get(said["state"]) or not fit or (mapping and said.get("record") is None):
        raise Altered(f"timeline.json: an outcome of delivery {said['delivery']} is not as it was written")
    leaf = outcome_leaf(said["delivery"], said.get("record"), said["state"], request, reply, mapping)
    proof = journal.proof(("conclude",), said["delivery"], leaf)
    if proof == "other":
        raise Altered(f"timeline.json: the journal holds another outcome of delivery {said['delivery']}")
    return request, reply, proof


def _call(pack: Pack, found: Found, call: str, proofs: dict[tuple[Any, str, bytes], set[str]]) -> None:
    """One call's files: each what its hash names, and each hash one an outcome speaks of, as request or as reply."""
    place = f"calls/{call}"
    said = pack.json(f"{place}/call.json")
    if str(said["id"]) != call:
        raise Altered(f"{place}/call.json: another call")
    files = {"request": ("request", bytes.fromhex(said["request"]))}
    files |= {f"reply-{r['id']}": ("reply", bytes.fromhex(r["digest"])) for r in said["replies"] if r["digest"]}
    shown = {*files.values(), ("reply", b"")}  # a call may have been concluded without a reply
    if any(c == said["id"] and (role, digest) not in shown for c, role, digest in proofs):
        raise Altered(f"{place}/call.json: not the request and the reply that were concluded")
    for name, (role, digest) in files.items():
        if f"{place}/{name}" in pack.files and sha256(pack.raw(f"{place}/{name}")) != digest:
            raise Altered(f"{place}/{name}: not the bytes whose hash was kept")
        proof = proofs.get((said["id"], role, digest), set())
        found.note(next((p for p in ("sealed", "unsealed") if p in proof), "none"), f"{place}/{name}")
    own = {f"{place}/{name}" for name in ("call.json", *files)}
    found.unproven += sorted(n for n in pack.files if n.startswith(f"{place}/") and n not in own)


def _mappings(pack: Pack, found: Found, calls: set[str], mapped: dict[Any, dict[str, set[str]]]) -> None:
    """What mapped the calls: each must be called in its call.json what an outcome names, and its files must be what its document
    says, which is what it is called by: an outcome's entry holds the document's hash alone, so one that is not there is not proven.
    A call whose outcomes name none only states it, as older entries do."""
    proofs: dict[str, set[str]] = {}
    names: dict[str, str] = {}
    proven = 0
    for call, by in mapped.items():
        name = pack.json(f"calls/{call}/call.json")["mapping"]
        for digest, how in by.items():
            proofs.setdefault(digest, set()).update(how)
            proven += "sealed" in how
            if name.rpartition("@")[2] != digest or names.setdefault(digest, name) != name:
                raise Altered(f"calls/{call}/call.json: not what the request was mapped by")
    for digest in sorted(names.keys() | {n.split("/")[1] for n in pack.files if n.startswith("mappings/")}):
        place = f"mappings/{digest}"
        if not any(n.startswith(f"{place}/") for n in pack.files):
            name = names[digest].rpartition("@")[0]
            found.unproven.append(f"{place} ({name}): không có trong gói / not in the pack")
            continue
        document = pack.raw(f"{place}/mapping.json")
        if sha256(document).hex() != digest:
            raise Altered(f"{place}/mapping.json: not what its name says")
        told = json.loads(document)
        if names.get(digest, f"{told['map']}@{digest}") != f"{told['map']}@{digest}":
            raise Altered(f"{place}/mapping.json: the calls name another map")
        for name, hashed in told["files"].items():
            if sha256(pack.raw(f"{place}/{name}")).hex() != hashed:
                raise Altered(f"{place}/{name}: not what the mapping consists of")
        proof = proofs.get(digest, set())
        own = {f"{place}/{name}" for name in ("mapping.json", *told["files"])}
        for name in sorted(own):
            found.note(next((p for p in ("sealed", "unsealed") if p in proof), "none"), name)
        found.unproven += sorted(n for n in pack.files if n.startswith(f"{place}/") and n not in own)
    if calls:
        found.lines.append(
            f"• {proven}/{len(calls)} lời gọi: nhật ký nói rõ ánh xạ nào đã tạo ra / calls: their entries say what mapped them"
        )


def _exactly(text: str, size: int) -> bytes:
    """Bytes written in hex: so many, or where one ends and the next begins would be anybody's choice."""
    data = bytes.fromhex(text)
    if len(data) != size:
        raise Altered("a hash of another length than hashes have")
    return data


def main(arguments: list[str]) -> int:
    anchors: list[str] = []
    while "--anchor" in arguments:
        at = arguments.index("--anchor")
        anchors.append(arguments[at + 1] if at + 1 < len(arguments) else "")
        arguments = arguments[:at] + arguments[at + 2 :]
    if len(arguments) != 1:
        print(__doc__)
        return 2
    with open(arguments[0], "rb") as file:
        data = file.read()
    try:
        found = check(data, *anchors)
    except NotProven as error:
        found = error.found
    except Exception as error:
        why = error if isinstance(error, Altered) else f"unreadable ({type(error).__name__}: {error})"
        print(f"✘ GÓI ĐÃ BỊ SỬA / THE PACK WAS ALTERED: {why}")
        return 1
    for line in told(found):
        print(line)
    if found.state == "proven" and not anchors:
        print("  So mốc này với mốc đã công bố trong ngày. / Compare it with the anchor published that day.")
    return EXIT[found.state]


def told(found: Found) -> list[str]:
    """What was found, as lines for people: the verdict last."""
    lines = list(found.lines)
    lines += [f"✘ không chứng minh được / not proven: {what}" for what in found.unproven]
    lines += [f"… chưa niêm phong / not sealed yet: {what}" for what in found.unsealed]
    lines += [f"  Mốc neo / anchor: {anchor}" for anchor in found.anchors]
    return [*lines, _VERDICTS[found.state]]


EXIT = {"proven": 0, "unproven": 3, "unsealed": 4}
_VERDICTS = {
    "proven": "✔ ĐÃ CHỨNG MINH tới mốc neo / PROVEN up to the anchor",
    "unproven": "✘ KHÔNG CHỨNG MINH ĐƯỢC: nhật ký không nói về những mục trên / NOT PROVEN: the journal does not speak of these",
    "unsealed": "✘ CHƯA NIÊM PHONG (hoặc chưa có mốc neo), chưa chứng minh được gì cho các mục trên: xin gói mới sau ít phút, "
    "hoặc sau mốc neo kế tiếp / NOT SEALED YET (or not anchored yet), nothing of these is proven: ask for a new pack in some "
    "minutes, or after the next anchor",
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
