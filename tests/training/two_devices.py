"""A script on two CPUs, with JAX or PyTorch."""

import os
import socket
import subprocess
import sys

import keras


def _free_port():
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def _environments():
    """The environment of each process."""
    if keras.config.backend() == "jax":
        # Beside those of tests/conftest.py: it compiles as quickly.
        flags = os.environ.get("XLA_FLAGS", "")
        flags += " --xla_force_host_platform_device_count=2"
        return [{**os.environ, "XLA_FLAGS": flags}]
    common = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": "2",
    }
    return [{**common, "RANK": str(rank)} for rank in range(2)]


def start(script, *arguments):
    """Starts a script on two devices; returns its processes."""
    return [
        subprocess.Popen(
            [sys.executable, script, *map(str, arguments)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for environment in _environments()
    ]


def finish(processes):
    """Waits for processes, which must not fail."""
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
