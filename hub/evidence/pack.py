"""The evidence pack of one record, or of a whole filing: what the ledger gathered, as files in one ZIP beside their verifier.

One concern: the form. It must never leave out that something is missing, nor add a word that the ledger does not hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set as AbstractSet
from datetime import datetime
from pathlib import Path
from typing import Any

from hub.evidence import verify
from hub.kernel.ledger.core import content_hash, sorted_json
from hub.kernel.ledger.evidence import Gathered, Whole
from hub.kernel.ledger.mappings import digest_of
from hub.kernel.ledger.upkeep import entry_bytes
from hub.kernel.lifecycle import State

_README = """\
GÓI BẰNG CHỨNG / EVIDENCE PACK

Bản ghi / record: {type} {key}, phiên bản / version {version}

Kiểm tra, không cần mạng / check it, without a network:

    python3 verify.py <tệp .zip này / this .zip>

message/   thông điệp như đã nhận và lưu (ảnh khuôn mặt đã bị loại trước khi lưu) / the message as received and stored (faces were taken out before)
record/    bản ghi chuẩn hóa / the canonical record
calls/     yêu cầu đã gửi và trả lời đã nhận / requests as sent and replies as received
mappings/  ánh xạ đã tạo ra yêu cầu (“mapping” trong call.json): bảng ghép trường, bảng mã, bảng quy đổi, mã đã duyệt / what made the requests ("mapping" in
           call.json): field map, code tables, crosswalks, approved codes
timeline.json   các lần gửi và kết quả / tries and outcomes
chain/     các dòng nhật ký, niêm phong và chuỗi tới mốc neo / the journal's entries, their seals, and the chain to the anchor

Chuỗi chứng minh thông điệp, nội dung bản ghi, yêu cầu, ánh xạ đã tạo ra nó, trả lời và kết quả, và kết quả của bản ghi nào (“record” trong timeline.json;
dòng nhật ký cũ không nói về bản ghi và ánh xạ: đọc trong chính yêu cầu). Các phần khác chỉ kèm theo cho dễ đọc.
Khi ngày nhận bản ghi hết hạn lưu, bản ghi được sao sang số mới: nhật ký ghi số cũ, số mới, nội dung và thông điệp nào tạo ra nó
(dòng cũ chỉ ghi hai số), nên lượt gửi mang số mới vẫn dẫn về đúng bản ghi này.
The chain proves message, record's content, requests, the mappings that made them, replies and outcomes, and whose outcome each is
("record" in timeline.json; older entries say neither this nor the mapping: read it in the request itself). Everything else is
there to be read.
When the day a record came on is dropped, it is copied under a new number: the journal holds the old and the new one, the content
and which message it was made of (older entries the two numbers alone), so what was sent under the new one leads to this record.
"""

_README_OF_FILING = """\
GÓI BẰNG CHỨNG CỦA HỒ SƠ / EVIDENCE PACK OF A FILING

Hồ sơ / filing: {key}: {count} bản ghi / records; {left_out} bản ghi cũ hơn không có trong gói / older ones are not in the pack

Kiểm tra, không cần mạng / check it, without a network:

    python3 verify.py <tệp .zip này / this .zip>

records/   mỗi phiên bản của hồ sơ và mỗi bước xử lý được báo, từ cũ đến mới; mỗi tệp tự nó là một gói bằng chứng, kiểm tra riêng được
           each version of the filing and each step told of it, oldest first; each file is an evidence pack of its own, to be
           checked by itself as well

Chuỗi chứng minh điều có trong gói; không chuỗi nào chứng minh được rằng gói không thiếu bản ghi nào.
The chain proves what is in the pack; no chain can prove that none was left out of it.
"""

_TELLING = {"key", "meta", "path"}
"""Columns of a call that may name others than the record asked about."""


def pack(found: Gathered | Whole) -> bytes:
    """The ZIP's bytes. `hub.evidence.verify.check` says of them what is proven, not proven, or not sealed yet."""
    return _of_filing(found) if isinstance(found, Whole) else _of_record(found)


def _of_filing(found: Whole) -> bytes:
    told = {"key": found.key, "count": len(found.records), "left_out": found.left_out}
    files: dict[str, bytes] = {
        "README.txt": _README_OF_FILING.format(**told).encode(),
        "verify.py": Path(verify.__file__).read_bytes(),
    }
    listed: list[dict[str, Any]] = []
    for n, one in enumerate(found.records, 1):
        r = one.record
        name = f"records/{n:03}-{r['type']}-{r['id']}.zip"
        files[name] = _of_record(one)
        listed.append({"file": name} | {k: r[k] for k in ("id", "type", "key", "version", "event")})
    files["manifest.json"] = verify.written(
        {
            "format": verify.FILING,
            "filing": found.key,
            "records": listed,
            "left_out": found.left_out,
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }
    )
    return verify.packed(files)


def _of_record(found: Gathered) -> bytes:
    r = found.record
    files: dict[str, bytes] = {
        "README.txt": _README.format(type=r["type"], key=r["key"], version=r["version"]).encode(),
        "verify.py": Path(verify.__file__).read_bytes(),
        "record/record.json": verify.written(_plain(r, without={"body"})),
    }
    missing: list[str] = []
    body = sorted_json(r["body"]) if r["body"] is not None else None
    if body is not None and content_hash(r["event"], body) == r["content"]:
        files["record/canonical.json"] = body
    else:
        missing.append("record/canonical.json")
    _message(found, files, missing)
    _calls(found, files, missing)
    outcomes = _outcomes(found)
    for mapping in sorted({said["mapping"] for said in outcomes if "mapping" in said}):
        parts = found.mappings.get(bytes.fromhex(mapping))
        if parts is None:
            missing.append(f"mappings/{mapping}")
        else:
            files |= {f"mappings/{mapping}/{name}": data for name, data in parts.items()}
    files["timeline.json"] = verify.written(
        {
            "deliveries": [_plain(d) | {"state": State(d["state"]).word} for d in found.deliveries],
            "attempts": [_plain(a) for a in found.attempts],
            "outcomes": outcomes,
        }
    )
    files["chain/entries.json"] = verify.written(
        [
            {"entry": entry_bytes(e).decode(), "leaves": e["leaves"].hex() if e["leaves"] else None}
            for e in found.entries
        ]
    )
    files["chain/seals.json"] = verify.written(
        {
            "before": found.chain.before.hex(),
            "links": [[number, root.hex()] for number, root in found.chain.links],
            "anchor": found.chain.anchor,
            "seals": [
                {"number": s.number, "root": s.root.hex(), "entries": [h.hex() for h in s.entries], "holds": s.holds}
                for s in found.chain.seals
            ],
        }
    )
    files["manifest.json"] = verify.written(
        {
            "format": verify.FORMAT,
            "record": {"id": r["id"], "type": r["type"], "key": r["key"], "version": r["version"]},
            "copies": sorted({d["record"] for d in found.deliveries} - {r["id"]}),
            "missing": sorted(missing),
            "withheld": sorted(found.withheld),
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }
    )
    return verify.packed(files)


_RESULT = ("outcome", "items", "rejected", "records")
"""What became of a message: its receipt's, and for some kept elsewhere."""


def _message(found: Gathered, files: dict[str, bytes], missing: list[str]) -> None:
    m = found.message
    if m is None:
        missing.append("message")
        return
    # A message decoded later has two: the second one knows its records.
    speaking = [e for e in found.entries if e["kind"] in verify.TAKEN and m["id"] in (e["ids"] or ())]
    entry = speaking[-1] if speaking else None
    stored = _stored_hash(m)
    files["message/message.json"] = verify.written(
        _plain(m, without={"body", "body_hash", *_RESULT})
        | {"stored": stored.hex(), "entry": entry["id"] if entry is not None else None}
    )
    files["message/records.json"] = verify.written([[number, content.hex()] for number, content in found.siblings])
    if m["body"] is None:
        missing.append("message/body")
    elif "message" not in found.withheld:
        files["message/body"] = bytes(m["body"])


def _stored_hash(m: Any) -> bytes:
    """SHA-256 of the stored bytes: of the bytes themselves while they are kept, else as noted when they went."""
    if m["body"] is not None:
        return hashlib.sha256(m["body"]).digest()
    return bytes(m["body_hash"] or b"")


def _calls(found: Gathered, files: dict[str, bytes], missing: list[str]) -> None:
    replies: dict[int, list[Any]] = {}
    for reply in found.replies:
        replies.setdefault(reply["call"], []).append(reply)
    for c in found.calls:
        place = f"calls/{c['id']}"
        files[f"{place}/call.json"] = verify.written(
            _plain(c, without={"body", "digest"} | (_TELLING if place in found.withheld else set()))
            | {
                "request": c["digest"].hex(),
                "replies": [_plain(x, without={"body"}) for x in replies.get(c["id"], [])],
            }
        )
        answers = [x for x in replies.get(c["id"], []) if x["digest"]]
        for name, row in (("request", c), *((f"reply-{x['id']}", x) for x in answers)):
            if row["body"] is None:
                missing.append(f"{place}/{name}")
            elif place not in found.withheld:
                files[f"{place}/{name}"] = bytes(row["body"])


def _outcomes(found: Gathered) -> list[dict[str, Any]]:
    """Each concluded try with the entry that proves it. A call with several replies is told by the one that fits."""
    calls = {c["id"]: c for c in found.calls}
    digests: dict[int | None, list[bytes]] = {None: [b""]}
    for c in calls:
        digests[c] = [bytes(x["digest"]) for x in found.replies if x["call"] == c and x["digest"]] + [b""]
    records = {d["id"]: d["record"] for d in found.deliveries}
    outcomes: list[dict[str, Any]] = []
    for e in found.entries:
        if e["kind"] != "conclude" or e["leaves"] is None:
            continue
        for place, delivery in enumerate(e["ids"]):
            if delivery not in records:
                continue
            leaf = e["leaves"][32 * place : 32 * place + 32]
            tried = [a["call"] for a in found.attempts if a["delivery"] == delivery]
            fit = _fitting(leaf, delivery, records[delivery], tried, calls, digests)
            if fit is not None:
                outcomes.append({"delivery": delivery, "entry": e["id"], "at": e["at"].isoformat(), **fit})
    return outcomes


def _fitting(
    leaf: bytes, delivery: int, record: int, tried: list[int | None], calls: dict[int, Any],
    digests: dict[int | None, list[bytes]],
) -> dict[str, Any] | None:  # fmt: skip
    """What a leaf says of a delivery, in the form of its time: older entries do not say which record it is of, nor what mapped it."""
    for call in dict.fromkeys((*tried, None)):
        request = bytes(calls[call]["digest"]) if call in calls else b""
        mapped = digest_of(calls[call]["mapping"]) if call in calls else b""
        for reply in digests.get(call, [b""]):
            for state in State:
                for named, mapping in dict.fromkeys(((record, mapped), (record, b""), (None, b""))):
                    if verify.outcome_leaf(delivery, named, int(state), request, reply, mapping) != leaf:
                        continue
                    said = {"record": named, "mapping": mapping.hex()}
                    return {k: v for k, v in said.items() if v} | {
                        "call": call if call in calls else None, "state": int(state), "word": state.word,
                        "request": request.hex(), "reply": reply.hex(),
                    }  # fmt: skip
    return None


def _plain(row: Any, without: AbstractSet[str] = frozenset()) -> dict[str, Any]:
    """A row as JSON holds it: bytes in hex, times with their zone."""
    return {k: _json(v) for k, v in dict(row).items() if k not in without}


def _json(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return value
