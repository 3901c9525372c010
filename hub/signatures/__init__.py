"""Signatures on documents: PAdES in PDF, XAdES in XML. Documents pass untouched; the verdict is kept beside them.

One concern: who signed, when, over what, and whether that holds. It must never change a byte, fetch anything from a network,
call a signature good that covers less than the document, or take the time a signer claims for a time that is proved.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from msgspec import Struct

from hub.kernel.documents import PDF, XML
from hub.kernel.ports import Text

if TYPE_CHECKING:
    from hub.signatures.trust import Trust

_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


class Signature(Struct, frozen=True, kw_only=True):
    """One signature of a document. `problems` is empty when it holds. Times are ISO 8601: `signed_at` is what the signer says,
    `stamped_at` the earliest that a trusted time stamp proves and `stamped_by` whose stamp that is, None when none does. `notes`
    say what holds nothing against it: whose archive time stamps there are, and which of them count for nothing."""

    form: str
    signer: str
    issuer: str
    serial: str
    signed_at: str | None
    stamped_at: str | None = None
    stamped_by: str | None = None
    problems: tuple[Text, ...] = ()
    notes: tuple[Text, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """What was found on a document. One without signatures is `unsigned`: nothing to hold against it."""

    signatures: tuple[Signature, ...] = ()

    @property
    def state(self) -> str:
        """`unsigned`, `good`, or `bad` when any signature does not hold."""
        if not self.signatures:
            return "unsigned"
        return "bad" if any(s.problems for s in self.signatures) else "good"


ALTERED = Text("Nội dung đã bị sửa sau khi ký.", "The content was altered after signing.")
PARTIAL = Text("Chữ ký không bao trùm toàn bộ tài liệu.", "The signature does not cover the whole document.")
UNREADABLE = Text("Không đọc được chữ ký.", "The signature cannot be read.")
UNTRUSTED = Text(
    "Chứng thư không dẫn về một tổ chức chứng thực được tin cậy, hoặc đã hết hạn lúc ký.",
    "The certificate does not lead to a trusted authority, or had expired when it signed.",
)
REVOKED = Text(
    "Chứng thư đã bị thu hồi; không có dấu thời gian nào chứng minh tài liệu được ký trước đó.",
    "The certificate was revoked, and no time stamp proves that it signed before.",
)
STAMP_OTHER = Text(
    "Dấu thời gian không đứng được: không phải của chữ ký này, hoặc đã bị sửa.",
    "The time stamp does not hold: it is not of this signature, or was altered.",
)
STAMP_UNTRUSTED = Text(
    "Dấu thời gian không đứng được: nơi cấp không được tin cậy, không có quyền cấp, hoặc chứng thư đã bị thu hồi.",
    "The time stamp does not hold: its authority is not trusted, may not stamp, or had its certificate revoked.",
)
STAMP_FUTURE = Text(
    "Dấu thời gian không đứng được: thời điểm ghi trong đó chưa tới.",
    "The time stamp does not hold: its time has not come yet.",
)
STAMP_UNREADABLE = Text(
    "Dấu thời gian không đứng được: không đọc được.", "The time stamp does not hold: it cannot be read."
)
ARCHIVE_OLD = Text(
    "Dấu thời gian lưu trữ theo mẫu cũ (XAdES 1.3.2) không được đọc.",
    "An archive time stamp of the older form (XAdES 1.3.2) is not read.",
)
UNCHECKED = Text(
    "Không kiểm tra được thu hồi: có tệp danh sách thu hồi không đọc được.",
    "Revocation cannot be checked: a file that tells of it cannot be read.",
)


def archived_by(authority: str, at: datetime) -> Text:
    """What is said of an archive time stamp that holds."""
    when = f"{at.astimezone(_ZONE):%d/%m/%Y %H:%M:%S}"
    return Text(f"Dấu thời gian lưu trữ: {authority}, {when}.", f"Archive time stamp: {authority}, {when}.")


def not_counted(why: Text) -> Text:
    """What is said of an archive time stamp that does not hold: it proves nothing, and spoils nothing."""
    return Text(f"Dấu thời gian lưu trữ không được tính. {why.vi}", f"An archive time stamp does not count. {why.en}")


async def verify(body: bytes, content_type: str, trust: Trust) -> Verdict:
    """The verdict on a document of one of the kinds the hub keeps. Raises nothing for any bytes.

    It takes milliseconds to seconds: call it in a thread of its own.
    """
    # The libraries behind it are large: they come with the first signed document.
    if content_type == PDF and b"/ByteRange" in body:
        from hub.signatures import pades

        return Verdict(signatures=await pades.signatures(body, trust))
    if content_type == XML and b"http://www.w3.org/2000/09/xmldsig#" in body:
        from hub.signatures import xades

        return Verdict(signatures=await xades.signatures(body, trust))
    return Verdict()
