"""The speakers of a FLAC file's channels.

A number of channels means a layout (RFC 9639, section 9.1.3), which does not
tell "back" from "side": FFmpeg takes them for side, the tool `flac` and this
module for back. A comment, WAVEFORMATEXTENSIBLE_CHANNEL_MASK, tells all three.
"""

import re
import struct

from keras_bandit.media.layouts import LAYOUTS

_MEANT = {
    1: "mono",
    2: "stereo",
    3: "3.0",
    4: "quad",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
}
_TAG = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK"
_COMMENTS = 4  # type of a metadata block


def _find_comments(file):
    """The bytes of the comments, and their place; `(b"", 0)` if none."""
    last = file.read(4) != b"fLaC"
    while not last:
        head = file.read(4)
        if len(head) < 4:
            break
        size = int.from_bytes(head[1:], "big")
        if head[0] & 127 == _COMMENTS:
            return file.read(size), file.tell() - size
        last = head[0] & 128
        file.seek(size, 1)
    return b"", 0


def read_flac_mask(path, num_channels):
    """The mask of a FLAC file's speakers; 0 if it does not tell."""
    with open(path, "rb") as file:
        comments, _ = _find_comments(file)
    # Each comment follows its length, of four bytes.
    tag = re.compile(_TAG.encode() + b"=0x([0-9A-Fa-f]{1,8})")
    if (found := tag.search(comments)) and found.start() >= 4:
        (size,) = struct.unpack_from("<I", comments, found.start() - 4)
        if size == len(found[0]):
            return int(found[1], 16)
    return LAYOUTS.get(_MEANT.get(num_channels), 0)


class FlacMask:
    """A comment that tells the speakers, for libsndfile, which writes no such.

    libsndfile is given another comment of the same length, in whose place
    `write` puts this one when the file is complete.

    Attributes:
        needed: bool. Whether there is something to tell.
        placeholder: str. What libsndfile is to write as its "COMMENT".
    """

    def __init__(self, num_channels, mask):
        self.needed = bool(mask) and num_channels > 2
        self._comment = f"{_TAG}=0x{mask or 0:08X}".encode()
        rest = len(self._comment) - len("COMMENT=")
        self.placeholder = "channel layout ".ljust(rest, "-")

    def write(self, path):
        """Puts the comment in a closed file."""
        written = b"COMMENT=" + self.placeholder.encode()
        with open(path, "r+b") as file:
            comments, place = _find_comments(file)
            at = comments.upper().index(written.upper())
            file.seek(place + at)
            file.write(self._comment)
