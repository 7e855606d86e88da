"""Files as one zip that is made while it is sent: no room on the disk."""

import zipfile

_BLOCK = 2**20


class _Sink:
    """A file for `zipfile` that cannot seek and keeps nothing once taken."""

    def __init__(self):
        self._held = []

    def write(self, data):
        self._held.append(bytes(data))
        return len(data)

    def flush(self):
        """Nothing waits."""

    def take(self):
        """What was written since the last call."""
        data, self._held = b"".join(self._held), []
        return data


def zip_stream(paths):
    """Yields the bytes of a zip, uncompressed: sound hardly gets smaller.

    `paths` is a dict of the path of each name inside.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, path in paths.items():
            entry = zipfile.ZipInfo.from_file(path, name)
            with (
                open(path, "rb") as file,
                archive.open(entry, "w", force_zip64=True) as inside,
            ):
                while block := file.read(_BLOCK):
                    inside.write(block)
                    yield sink.take()
            yield sink.take()
    yield sink.take()
