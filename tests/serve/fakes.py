"""A quick model for a server, and the server, in this process."""

import os
import socket
import threading
import time

import numpy as np
import requests
import soundfile
import uvicorn

from keras_bandit.serve.app import Server, make_app
from keras_bandit.serve.choices import Model
from keras_bandit.serve.jobs import JobStore
from keras_bandit.serve.probe import Probe
from keras_bandit.serve.runner import Runner

from ..gains import Gains

SECONDS = 60.0  # until a test gives up


class Quick(Gains):
    """Has what a job that can be resumed says of its model."""

    engine, precision, description = "numpy", "float32", {}
    seconds = 0.0

    def predict_on_batch(self, batch):
        time.sleep(self.seconds)
        return super().predict_on_batch(batch)


def load(preset):
    """Stands in for `load_preset`, in the process that computes."""
    if preset == "dies":
        os._exit(3)
    if preset == "bad":
        raise ValueError("cannot load preset bad")
    model = Quick()
    model.seconds = {"slow": 0.1, "stuck": 60.0}.get(preset, 0.0)
    if preset == "long":
        model.chunk_seconds, model.sample_rate = 10.0, 4000
    return model


STEMS = ["speech", "music", "effects"]
MODELS = {
    name: Model(name, name, f"A {name} model", "Apache-2.0", STEMS, 1)
    for name in ("quick", "slow", "stuck", "long", "dies", "bad")
}


def write(path, seconds=1.0, rate=8000, channels=1, **options):
    """Writes noise; returns the path."""
    shape = round(seconds * rate), channels
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
    soundfile.write(path, audio, rate, **{"subtype": "PCM_16", **options})
    return path


class Running:
    """A server in this process.

    Attributes:
        address: str.
        store, runner: as the server has them.
    """

    def __init__(self, folder, start=True, **options):
        max_seconds = options.pop("max_seconds", 3600.0)
        self.store = JobStore(folder)
        self.runner = Runner(self.store, MODELS, load, max_seconds)
        self.probe = Probe(max_seconds)
        options = {"root": None, "max_bytes": 10**8, **options}
        self.app = make_app(
            Server(
                self.store,
                self.runner,
                self.probe,
                MODELS,
                max_seconds=max_seconds,
                **options,
            )
        )
        if start:
            self.runner.start()
        self._started = start

    def __enter__(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self.app, log_level="warning", lifespan="off", ws="none"
        )
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join()
        if self._started:
            self.runner.stop()
        self.probe.stop()
        self.store.close()

    def ask(self, method, path, **options):
        """A response of the server."""
        options = {"timeout": SECONDS, **options}
        return requests.request(method, self.address + path, **options)

    def upload(self, path, name="film.wav", request='{"model": "quick"}'):
        """The response to an upload."""
        with open(path, "rb") as file:
            query = {"name": name, "request": request}
            return self.ask("POST", "/api/jobs", params=query, data=file)

    def begin(self, *args, **options):
        """Uploads a file; returns the job's id."""
        return self.upload(*args, **options).json()["id"]

    def job(self, name):
        """A job as the page sees it."""
        return self.ask("GET", f"/api/jobs/{name}").json()

    def wait(self, name, *states):
        """A job once it is in one of some states; by default, once it ended."""
        states = states or ("done", "failed")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            job = self.job(name)
            if job.get("state") in states:
                return job
            time.sleep(0.05)
        raise TimeoutError(f"{name} is not {states}: {job}")
