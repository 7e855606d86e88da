"""The routes of the page and their answers.

Not Gradio 6.31, which was tried first. Its `gr.HTML` can hold the mixer. But it
keeps uploads outside of jobs, under the sender's names, and serves them to
whoever has the path; its queue is in memory; after a restart its page keeps what
it showed before; and axe-core finds a serious fault of contrast in its file field.
"""

import asyncio
import contextlib
import dataclasses
import errno
import importlib.resources
import json
import pathlib
import re
import shutil

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import (
    FileResponse,
    JSONResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from keras_bandit.common.files import read_json
from keras_bandit.media.audio import AudioFileError
from keras_bandit.serve.archive import zip_stream
from keras_bandit.serve.choices import (
    FORMATS,
    check_request,
    check_track,
    remuxes_on_offer,
)
from keras_bandit.serve.guard import Guard
from keras_bandit.serve.jobs import DONE
from keras_bandit.serve.look import ORIGINAL, piece
from keras_bandit.serve.mixing import write_mix
from keras_bandit.serve.safety import Refused, file_inside, title_of

_BLOCK = 2**20
_CLOSING = (413, 503, 507)  # too large, too many jobs, disk full
_PAGE = pathlib.Path(
    str(importlib.resources.files("keras_bandit.serve").joinpath("page"))
)

# For report.html, whose style and pictures are inline.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "media-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_MOST_BYTES = 10_000  # of a JSON body

# The browser tries to play these; the page says when it cannot. Others: MP4.
_PICTURE_TYPES = {
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
}


@dataclasses.dataclass
class Server:
    """What the answers need.

    Args:
        store: `JobStore`.
        runner: `Runner`.
        probe: `Probe`.
        models: dict of `Model`s.
        root: `Root`, or `None`: nothing of the server can be picked.
        max_bytes: int. Largest upload.
        max_seconds: float. Longest sound.
        hosts, token, auth, framed: see `Guard`.
    """

    store: object
    runner: object
    probe: object
    models: dict
    root: object
    max_bytes: int
    max_seconds: float
    hosts: list | None = None
    token: str | None = None
    auth: str | None = None
    framed: bool = False

    def __post_init__(self):
        # Requests that wait for the probe leave threads for the others.
        self._probing = asyncio.Semaphore(2)
        self._mixing = asyncio.Semaphore(1)

    def choices(self, request):
        """What the form offers."""
        return JSONResponse(
            {
                "models": [m.describe() for m in self.models.values()],
                "formats": list(FORMATS),
                "remuxes": remuxes_on_offer(),
                "has_root": self.root is not None,
                "max_bytes": self.max_bytes,
                "max_seconds": self.max_seconds,
            }
        )

    def list_root(self, request):
        """A folder of the server, below the root."""
        if self.root is None:
            raise Refused("no folder of this server is open", 404)
        return JSONResponse(
            self.root.list(request.query_params.get("path", ""))
        )

    async def create(self, request):
        """Makes a job of the body, or of a file of the server (`path`).

        The query has `name`, what the file is called, and `request`, JSON.
        """
        query = request.query_params
        try:
            wanted = json.loads(query.get("request", "{}"))
            wanted = check_request(wanted, self.models)
        except (RecursionError, ValueError) as error:
            raise Refused(str(error), 400) from error
        if "path" in query:
            job = await self._pick(query["path"], wanted)
        else:
            job = await self._receive(request, wanted)
        return JSONResponse({"id": job.id}, 201)

    async def _look_at(self, path, title, track):
        async with self._probing:
            return await run_in_threadpool(self.probe.look, path, title, track)

    async def _pick(self, relative, wanted):
        if self.root is None:
            raise Refused("no folder of this server is open", 404)
        path = await run_in_threadpool(self.root.file, relative)
        title = title_of(path.name)
        with self.store.new_folder() as folder:
            media = await self._look_at(path, title, wanted["track"])
            return self.store.add(folder, title, wanted, media, str(path))

    async def _receive(self, request, wanted):
        title = title_of(request.query_params.get("name", ""))
        announced = request.headers.get("content-length", "0")
        self._check_size(int(announced) if announced.isdecimal() else 0)
        with self.store.new_folder() as folder:
            path, size, held = folder / "input", 0, bytearray()
            written = 0
            with open(path, "wb") as file:
                async for block in request.stream():
                    size += len(block)
                    self._check_size(size, written)
                    held += block
                    if len(held) >= _BLOCK:
                        await run_in_threadpool(file.write, held)
                        held, written = bytearray(), size
                file.write(held)
            if not size:
                raise Refused(f"{title} is empty")
            media = await self._look_at(path, title, wanted["track"])
            if await request.is_disconnected():
                raise ClientDisconnect  # a job that nobody knows would run
            return self.store.add(folder, title, wanted, media)

    def _check_size(self, size, written=0):
        if size > self.max_bytes:
            limit = self.max_bytes / 1e9
            raise Refused(
                f"the file is too large: this server takes {limit:g} GB", 413
            )
        if size - written > shutil.disk_usage(self.store.folder).free:
            raise Refused("the server's disk is full", 507)

    def _job(self, request):
        return self.store.get(request.path_params["id"])

    def show(self, request):
        """The state of a job, its files and its progress."""
        job = self._job(request)
        known = ("id", "title", "request", "media", "created", "state")
        known += ("error", "warnings", "sounds", "started", "ended", "mix")
        files = {}
        for name, file in job.files.items():
            with contextlib.suppress(OSError):
                path = self.store.path(job, "stems", file)
                files[name] = {"file": file, "bytes": path.stat().st_size}
        return JSONResponse(
            {
                **{name: getattr(job, name) for name in known},
                "files": files,
                **self.runner.describe(job),
            }
        )

    async def choose_track(self, request):
        """Chooses the sound track of a job that asks: JSON, `{"track": 2}`."""
        job, track = self._job(request), (await _json(request)).get("track")
        try:
            check_track(track)
        except ValueError as error:
            raise Refused(str(error), 400) from error
        path = self.store.source(job)
        media = await self._look_at(path, job.title, track)
        self.store.answer(job, media)
        return Response(status_code=204)

    async def mix(self, request):
        """Saves a mix of a job's sounds: JSON, `{"gains_db": {"speech": -3}}`."""
        job, gains = self._job(request), (await _json(request)).get("gains_db")
        known = [n for n in job.sounds if n in job.files]
        usable = job.state == DONE and "mix" not in known
        if not usable or not isinstance(gains, dict) or not gains:
            raise Refused("a mix is made of a finished job's sounds", 400)
        for name, db in gains.items():
            number = isinstance(db, (int, float)) and -100 <= db <= 100
            if name not in known or not number:
                raise Refused(f"gains_db must be dB of {', '.join(known)}", 400)
        paths = {name: self._result(job, name)[0] for name in gains}
        target = self.store.path(job, "stems", "mix.wav")
        async with self._mixing:
            try:
                await run_in_threadpool(write_mix, paths, gains, target)
            except (AudioFileError, OSError) as error:
                # Removed meanwhile, or the disk is full.
                reason = getattr(error, "strerror", None)
                raise Refused(reason or "cannot be mixed", 507) from None
            files = {**job.files, "mix": target.name}
            self.store.change(job, files=files, mix=gains)
        return Response(status_code=204)

    def remove(self, request):
        """Cancels a job, or removes its results."""
        self.runner.cancel(self._job(request))
        return Response(status_code=204)

    def download(self, request):
        """One of a job's files."""
        job = self._job(request)
        path, name = self._result(job, request.path_params["name"])
        return FileResponse(path, filename=name)

    def _result(self, job, name):
        """The path of a job's file, and its name for who downloads it."""
        if name not in job.files:
            raise Refused("there is no such file", 404)
        path = file_inside(self.store.path(job, "stems"), job.files[name])
        return path, f"{pathlib.PurePath(job.title).stem}_{path.name}"

    def download_all(self, request):
        """All of a job's files as a zip."""
        job = self._job(request)
        results = [self._result(job, name)[0] for name in job.files]
        # In a folder, by their own names: the report's page plays the stems.
        stem = pathlib.PurePath(job.title).stem
        paths = {f"{stem}/{path.name}": path for path in results}
        headers = _attachment(f"{stem}_stems.zip")
        return StreamingResponse(
            zip_stream(paths), media_type="application/zip", headers=headers
        )

    def report(self, request):
        """The report's page, and the files that it plays and links to."""
        job, file = self._job(request), request.path_params["file"]
        names = [name for name in job.files if job.files[name] == file]
        path, _ = self._result(job, names[0] if names else "")
        headers = None
        if path.suffix == ".html":
            headers = {"Content-Security-Policy": _REPORT_POLICY}
        return FileResponse(path, headers=headers)

    def look(self, request):
        """Envelopes of a job's sounds."""
        job = self._job(request)
        path = file_inside(self.store.path(job, "look"), "look.json")
        return JSONResponse(read_json(path))

    def spectrogram(self, request):
        """The picture of a sound."""
        job, name = self._job(request), request.path_params["name"]
        if name not in job.sounds:
            raise Refused("there is no such sound", 404)
        path = file_inside(self.store.path(job, "look"), f"{name}.png")
        return FileResponse(path, headers={"Cache-Control": "private"})

    def piece(self, request):
        """A piece of a sound, to be played."""
        job, name = self._job(request), request.path_params["name"]
        index = request.path_params["index"]
        if name not in job.sounds or not re.fullmatch("[0-9]{1,9}", index):
            raise Refused("there is no such sound", 404)
        if name == ORIGINAL:
            path = file_inside(self.store.path(job, "look"), "original.flac")
        else:
            path, _ = self._result(job, name)
        content = piece(path, int(index))
        if content is None:
            raise Refused("the sound is over", 404)
        return Response(content, media_type="audio/flac")

    def picture(self, request):
        """The film, for its picture."""
        job = self._job(request)
        if not job.media["has_picture"]:
            raise Refused("there is no picture", 404)
        suffix = pathlib.PurePath(job.title).suffix.lower()
        kind = _PICTURE_TYPES.get(suffix, "video/mp4")
        return FileResponse(self.store.source(job), media_type=kind)


async def _json(request):
    """The object of a short body."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > _MOST_BYTES:
            raise Refused("the request is too long", 413)
    try:
        found = json.loads(body)
    except (RecursionError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise Refused("the request must be an object", 400)
    return found


def _attachment(name):
    """The header that makes a browser save an answer, by Starlette's rules."""
    value = FileResponse("-", filename=name).headers["content-disposition"]
    return {"Content-Disposition": value}


def _page(request):
    return FileResponse(_PAGE / "index.html")


def _refused(request, error):
    # The sender would go on sending.
    headers = {"Connection": "close"} if error.status in _CLOSING else None
    return JSONResponse({"error": str(error)}, error.status, headers)


def _gone(request, error):
    return Response(status_code=400)


def _full(request, error):
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return _refused(request, Refused("the server's disk is full", 507))


def make_app(server):
    """The ASGI application of a `Server`."""
    job = "/api/jobs/{id}"
    routes = [
        Route("/", _page),
        Route("/job/{id}", _page),
        Route("/api/choices", server.choices),
        Route("/api/root", server.list_root),
        Route("/api/jobs", server.create, methods=["POST"]),
        Route(job, server.show),
        Route(job, server.remove, methods=["DELETE"]),
        Route(f"{job}/files/{{name}}", server.download),
        Route(f"{job}/zip", server.download_all),
        Route(f"{job}/report/{{file}}", server.report),
        Route(f"{job}/track", server.choose_track, methods=["POST"]),
        Route(f"{job}/mix", server.mix, methods=["POST"]),
        Route(f"{job}/look", server.look),
        Route(f"{job}/look/{{name}}", server.spectrogram),
        Route(f"{job}/sounds/{{name}}/{{index}}", server.piece),
        Route(f"{job}/picture", server.picture),
        Mount("/page", StaticFiles(directory=_PAGE)),
    ]
    handlers = {Refused: _refused, ClientDisconnect: _gone, OSError: _full}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return Guard(app, server.hosts, server.token, server.auth, server.framed)
