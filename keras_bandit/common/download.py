"""Downloads that go on where they were broken off."""

import os
import time

BLOCK = 2**16  # bytes
WAITS = (1, 2, 4)  # seconds before another attempt


def download(url, path):
    """Downloads a file by HTTP, with a progress bar on terminals.

    What has come stays in `<path>.part` if the connection breaks, the process
    is killed or the disk is full, and is not fetched again: pooch (1.9) starts
    anew. Broken connections are taken up again a few times here. A file at
    `path` is complete, and stays as it is.

    Args:
        url: str.
        path: `pathlib.Path`.

    Raises:
        OSError: if it cannot be fetched or written.
    """
    import requests

    if path.exists():
        return
    part = path.with_name(f"{path.name}.part")
    for wait in (*WAITS, None):
        try:
            _go_on(url, part)
            break
        except requests.RequestException as error:
            if wait is None or not _may_pass(error):
                raise ConnectionError(
                    f"{url} cannot be fetched: {_reason(error)}"
                ) from error
            time.sleep(wait)
        except OSError as error:
            if error.errno and error.filename is None:  # a full disk
                error.filename = str(part)
            raise
    os.replace(part, path)


def _may_pass(error):
    """Whether another attempt may succeed."""
    import requests

    if error.response is not None:
        return error.response.status_code in (416, 429, *range(500, 600))
    return isinstance(
        error,
        (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ),
    )


def _go_on(url, part):
    import requests
    import tqdm

    start = part.stat().st_size if part.exists() else 0
    # A byte less than is there, since nobody can ask for none.
    start = max(start - 1, 0)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(
        url, headers=headers, stream=True, timeout=60
    ) as response:
        if response.status_code == 416:  # not of this file
            part.unlink(missing_ok=True)
        response.raise_for_status()
        if response.status_code != 206:  # the server begins anew
            start = 0
        rest = response.headers.get("Content-Length")
        with (
            open(part, "r+b" if start else "wb") as file,
            tqdm.tqdm(
                total=start + int(rest) if rest else None,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=part.stem,
                disable=None,
            ) as bar,
        ):
            file.seek(start)
            # What is less than a block is lost when the connection breaks.
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
            file.truncate()


def _reason(error):
    """What went wrong at last, without where requests came by."""
    while error.__context__ is not None:
        error = error.__context__
    return " ".join(str(error).split()) or type(error).__name__
