"""`keras-bandit serve`: a page to drop films on, and to hear their stems."""

import argparse
import functools
import os
import secrets
import socket

from keras_bandit.cli.arguments import path, whole
from keras_bandit.cli.backend import choose_backend
from keras_bandit.cli.console import CommandError, explain, say, user_errors
from keras_bandit.cli.model import load_on_engine, resolve_engine
from keras_bandit.common.extras import require
from keras_bandit.common.files import check_writable

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_HOURS = 24


def amount(text):
    """Parses a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(
            f"must be a positive number; got {text!r}"
        )
    return value


def port(text):
    """Parses a port; 0 is any that is free."""
    return whole(text, most=65_535)


def credentials(text):
    """Parses `user:password`."""
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("must be USER:PASSWORD")
    return text


def add_serve(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "serve",
        help="open a web page to separate files, and to hear the stems",
        description="Serves a web page (extra web): drop a film or a "
        "recording, hear the stems in sync, mute and solo, download. It is for "
        "this machine alone, unless --host says otherwise.",
    )
    parser.set_defaults(command=serve_command)
    option, flag = parser.option, parser.flag
    option(
        "--preset",
        "NAME_OR_DIR",
        path,
        "preset that the page offers, as separate takes it; may be given more "
        "than once (all whose weights are on this machine)",
        action="append",
        default=[],
    )
    option("--port", "N", port, "port (%(default)s; 0: any)", default=7860)
    option(
        "--host",
        "NAME",
        str,
        "address to listen on, such as 0.0.0.0 for the network; takes --token, "
        "--auth or --public (%(default)s)",
        default="127.0.0.1",
    )
    option(
        "--token",
        "TEXT",
        str,
        "what the link must end in; new makes one (KERAS_BANDIT_TOKEN)",
        default=os.environ.get("KERAS_BANDIT_TOKEN"),
    )
    option("--auth", "USER:PASSWORD", credentials, "ask for name and password")
    flag(
        "--public",
        "let anybody in who can reach the address, also inside other sites",
    )
    option("--root", "DIR", path, "folder whose films and sounds may be picked")
    option(
        "--jobs",
        "DIR",
        path,
        "where uploads and results are kept (jobs/ in KERAS_BANDIT_CACHE)",
    )
    option(
        "--keep-days",
        "N",
        amount,
        "how long results are kept (%(default)g)",
        default=7.0,
    )
    option(
        "--max-hours",
        "N",
        amount,
        "longest sound that is taken (%(default)g)",
        default=4.0,
    )
    option(
        "--max-gigabytes",
        "N",
        amount,
        "largest upload that is taken (%(default)g)",
        default=20.0,
    )
    parser.add_engine()
    option(
        "--engine-cache",
        "DIR",
        path,
        "keep OpenVINO's compiled models here, for a quicker start (nowhere)",
    )
    parser.add_backend()


def load_preset(args, engine, preset):
    """A separator, in the process that computes; errors are `ValueError`."""
    values = {**vars(args), "preset": preset, "quiet": True}
    try:
        choose_backend(args.backend)
        return load_on_engine(argparse.Namespace(**values), engine)
    except CommandError as error:
        raise ValueError(str(error)) from error


def _check_open(args):
    """Refuses to let in the network by accident."""
    if args.host in _LOOPBACK or args.token or args.auth or args.public:
        return
    raise CommandError(
        f"--host {args.host} lets others in: give --token new, --auth "
        "USER:PASSWORD, or --public"
    )


def _listen(args):
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    try:
        return socket.create_server((args.host, args.port), family=family)
    except OSError as error:
        raise CommandError(
            f"cannot listen on {args.host}, port {args.port}: {explain(error)}"
        ) from error


def serve_command(args):
    """Runs `keras-bandit serve`; returns the exit status."""
    _check_open(args)
    engine = resolve_engine(args)
    with user_errors(ImportError):
        require("starlette", "web", "keras-bandit serve")
        uvicorn = require("uvicorn", "web", "keras-bandit serve")
    from keras_bandit.common.cache import cache_directory
    from keras_bandit.serve.app import Server, make_app
    from keras_bandit.serve.choices import models_on_offer
    from keras_bandit.serve.jobs import JobStore
    from keras_bandit.serve.probe import Probe
    from keras_bandit.serve.runner import Runner
    from keras_bandit.serve.safety import Root

    token = secrets.token_urlsafe(16) if args.token == "new" else args.token
    max_seconds = 3600 * args.max_hours
    with user_errors(OSError, ValueError):
        models = models_on_offer(args.preset)
        root = Root(args.root) if args.root else None
        folder = args.jobs or cache_directory() / "jobs"
        check_writable(folder)
        store = JobStore(folder, args.keep_days)
    listener = _listen(args)
    load = functools.partial(load_preset, args, engine)
    runner = Runner(store, models, load, max_seconds)
    probe = Probe(max_seconds)
    server = Server(
        store,
        runner,
        probe,
        models,
        root,
        max_bytes=round(args.max_gigabytes * 1e9),
        max_seconds=max_seconds,
        hosts=_LOOPBACK if args.host in _LOOPBACK else None,
        token=token,
        auth=args.auth,
        framed=args.public,
    )
    host = f"[{args.host}]" if ":" in args.host else args.host
    ending = f"?token={token}" if token else ""
    address = f"http://{host}:{listener.getsockname()[1]}/{ending}"
    say(f"open {address} (Ctrl-C ends; jobs are kept in {store.folder})")
    config = uvicorn.Config(
        make_app(server),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
        server_header=False,
        lifespan="off",
        ws="none",
    )
    runner.start()
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        runner.stop()
        probe.stop()
        store.close()
    return 0
