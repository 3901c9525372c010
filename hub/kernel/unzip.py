"""Archives from outside, opened only when their directory is of a size that can be read.

One concern: that measure, the same for every archive the hub opens. Pure. It must never leave a directory of hundreds of
thousands of entries to the library, which reads it whole, in Python, before anybody can count.
"""

from __future__ import annotations

import io
import zipfile

ENTRY_BYTES = 400
"""What an entry of the directory may have, taken all together: 46 bytes, its name with folders, and what packers add."""


class TooManyEntries(Exception):
    """Tệp nén có quá nhiều mục. / The archive has too many entries; none of them was read."""


def opened(body: bytes, most: int) -> zipfile.ZipFile:
    """The archive, to be closed by the caller. `most`: entries it may have, folders and whatever is passed over among them.

    Raises `TooManyEntries` before the first entry is read when the directory is larger than so many could need, and what
    `zipfile.ZipFile` raises for what is no archive. One that opens may still have a few times as many entries: count them.
    """
    file = _Measured(body, most * ENTRY_BYTES)
    archive = zipfile.ZipFile(file)
    file.most = None
    if not all(entry.filename for entry in archive.infolist()):
        raise zipfile.BadZipFile("an entry without a name")  # the library stumbles over it later
    return archive


class _Measured(io.BytesIO):
    """The bytes of an archive. Until it is open, nobody may read more of them at once than its directory may have: the
    library finds the directory (in either form, behind anything) and reads it in one piece, so nothing here can take
    another place or another size for it than the library does."""

    def __init__(self, body: bytes, most: int) -> None:
        super().__init__(body)
        self._size = len(body)
        self.most: int | None = most

    def read(self, size: int | None = -1, /) -> bytes:
        if self.most is not None and size is not None and min(size, self._size - self.tell()) > self.most:
            raise TooManyEntries
        return super().read(size)
