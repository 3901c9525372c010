"""What file transports can be told: a folder on an SFTP server, or one the hub itself can reach.

One concern: declaring it. A local folder must lie under a root of the hub's own configuration; that is checked where it
is opened, never here: settings cannot widen it.
"""

from __future__ import annotations

import base64
import binascii
from itertools import pairwise
from typing import Literal

from pydantic import field_validator

from connectors.declare import Declared, Secret, require, setting, wrong
from hub.kernel.ports import Text

CAPABILITIES_SFTP = frozenset({"files", "remote"})
CAPABILITIES_FOLDER = frozenset({"files"})

PASSWORD = Secret(name="sftp_password", title=Text("Mật khẩu SFTP", "SFTP password"), required=False)
KEY = Secret(
    name="sftp_key",
    title=Text("Khóa riêng SSH (OpenSSH hoặc PEM)", "SSH private key (OpenSSH or PEM)"),
    required=False,
    lines=True,
)
PASSPHRASE = Secret(
    name="sftp_key_passphrase", title=Text("Mật khẩu của khóa SSH", "Passphrase of the SSH key"), required=False
)
_FOLDER = r"^[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,99}$"


Takes = Literal[
    "none", "learner", "staff", "school", "class", "study_result", "health_check", "code_given", "checkin", "gate_person", "filing",
    "filing_progress",
]  # fmt: skip


class FileSettings(Declared):
    """Where files are dropped and picked up, and how both sides know that one is whole."""

    out_folder: str = setting("Thư mục gửi đi", "Folder for drops", default="out", pattern=_FOLDER)
    in_folder: str = setting("Thư mục nhận về", "Folder for pick-up", default="in", pattern=_FOLDER)
    claimed_folder: str = setting("Thư mục đang xử lý", "Folder of claimed files", default="claimed", pattern=_FOLDER)
    done_folder: str = setting("Thư mục đã nhận", "Folder of files taken", default="done", pattern=_FOLDER)
    failed_folder: str = setting("Thư mục bị từ chối", "Folder of files refused", default="failed", pattern=_FOLDER)
    checksum: Literal["sha256", "none"] = setting(
        "Tệp kiểm tra kèm theo",
        "Checksum file beside each",
        default="sha256",
        help=Text(
            "sha256: gửi kèm <tên>.sha256 sau cùng; khi nhận, tệp chỉ được lấy khi có và đúng",
            "sha256: <name>.sha256 is dropped last; on pick-up a file is taken only once it is there and right",
        ),
    )
    takes: Takes = setting(
        "Loại bản ghi trong tệp nhận về",
        "Record type of files picked up",
        default="none",
        help=Text(
            "none: không lấy tệp nào; khác: mỗi tệp .xlsx, .csv, .zip (các bảng tính), .json, .ndjson được nhận như một lô đẩy vào",
            "none: no file is picked up; else: each .xlsx, .csv, .zip (of workbooks), .json or .ndjson file is taken like a push in bulk",
        ),
    )
    school: str = setting(
        "Trường của các tệp",
        "School the files are of",
        default="",
        example="31HP0123001",
        pattern=r"^[0-9A-Za-z]{0,20}$",
        help=Text(
            "Bắt buộc với bảng tính; trống: mỗi bản ghi tự nêu trường",
            "Needed for workbooks; empty: each record names its own",
        ),
    )
    pick: str = setting(
        "Tên tệp được lấy",
        "Names picked up",
        default="*",
        example="danh-sach-*.xlsx",
        pattern=r"^[^/\\\x00-\x1f]{1,100}$",
    )
    stable_s: float = setting(
        "Coi là đủ sau (giây)",
        "Whole after (seconds)",
        default=10.0,
        ge=0,
        le=3600,
        help=Text("Không có tệp kiểm tra: cỡ không đổi trong chừng này", "Without a checksum: size unchanged so long"),
    )
    claim_s: float = setting(
        "Giữ chỗ tối đa (giây)",
        "A claim holds for (seconds)",
        default=900.0,
        ge=10,
        le=86400,
        help=Text("Sau đó tệp được lấy lại", "After that the file is picked up again"),
    )
    after: Literal["move", "delete"] = setting("Sau khi nhận xong", "Once taken", default="move")
    max_file_bytes: int = setting("Cỡ tệp tối đa (byte)", "Largest file (bytes)", default=64 << 20, ge=1024, le=1 << 30)


class _Folder(Declared):
    path: str = setting(
        "Đường dẫn",
        "Path",
        example="/srv/trao-doi/so-gddt",
        pattern=r"^/[^\x00-\x1f]{1,1000}$",
        help=Text("Phải nằm dưới một thư mục trong outward.folders", "Must lie under one of outward.folders"),
    )


class FolderSettings(FileSettings, _Folder):
    """A folder of this machine, or a share mounted on it."""

    ABOUT = Text("Thư mục trên máy chủ của trục", "Folder on the hub's own machine")
    kind: Literal["folder"] = "folder"


class _Server(Declared):
    host: str = setting("Máy chủ", "Host", example="sftp.example.vn", pattern=r"^[^\s/@:]{1,253}$|^[0-9A-Fa-f:.]+$")
    port: int = setting("Cổng", "Port", default=22, ge=1, le=65535)
    username: str = setting("Tên đăng nhập", "User name", example="so-gddt", pattern=r"^[^\x00-\x20]{1,100}$")
    login: Literal["key", "password"] = setting("Đăng nhập bằng", "Log in with", default="key")
    host_keys: list[str] = setting(
        "Khóa máy chủ được ghim",
        "Pinned host keys",
        example=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…"],
        min_length=1,
        max_length=8,
        help=Text("Như ssh-keyscan in ra: loại và khóa", "As ssh-keyscan prints them: type and key"),
    )
    root: str = setting(
        "Thư mục gốc", "Root folder", default=".", example="/upload/so-gddt", pattern=r"^[^\x00-\x1f\\]{1,500}$"
    )

    @field_validator("host_keys")
    @classmethod
    def _keys(cls, value: list[str]) -> list[str]:
        for line in value:
            if host_key(line) is None:
                raise wrong("host_key", "có dòng không phải khóa máy chủ", "hold a line that is not a host key")
        return value


class SftpSettings(FileSettings, _Server):
    """A folder on an SFTP server whose host key is pinned."""

    ABOUT = Text("Tệp qua SFTP", "Files over SFTP")
    SECRETS = (PASSWORD, KEY, PASSPHRASE)
    kind: Literal["sftp"] = "sftp"

    def needed(self) -> tuple[Secret, ...]:
        """The key or the password, as `login` says."""
        return (PASSWORD, require(KEY), PASSPHRASE) if self.login == "key" else (require(PASSWORD), KEY, PASSPHRASE)


def host_key(line: str) -> tuple[str, bytes] | None:
    """Type and blob of one key line (`ssh-ed25519 AAAA…`, a host name before it allowed); None when it is none."""
    words = line.split()
    for name, text in pairwise(words):
        try:
            blob = base64.b64decode(text, validate=True)
        except binascii.Error:
            continue
        size = int.from_bytes(blob[:4], "big")
        if len(blob) > 4 + size and blob[4 : 4 + size] == name.encode():
            return name, blob
    return None
