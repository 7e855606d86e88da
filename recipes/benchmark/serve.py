"""Load test of `keras-bandit serve`: many clients, a queue, a model that works.

Command: python recipes/benchmark/serve.py --output RUN
Hardware: any CPU; nothing else should run.
Time: two minutes on two cores, with bandit_demo and clips of 2 s.
Expected: no job is lost, and the median answer takes less than 0.2 s while the
    model works.

Clients upload clips of noise at once. Then they ask as the page does: every
0.7 s for the state of a job, each tenth time for the page itself. Each answer is
timed. Results are downloaded, and their sizes checked. The server runs in a
process of its own, with the jobs in a temporary folder.
"""

import argparse
import concurrent.futures
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import requests
import soundfile

RATE = 44_100
SECONDS_BETWEEN_LOOKS = 0.7  # of the page
ANSWER_SECONDS = 60.0  # after which a request fails
MOST_SECONDS = 1200.0  # after which a job counts as lost


class Clients:
    """What all clients share: the server's address and the times of answers.

    Args:
        address: str.
        clip: bytes of what all upload.
    """

    def __init__(self, address, clip):
        self.address, self._clip = address, clip
        self.uploads, self.answers = [], []
        self._lock = threading.Lock()

    def _ask(self, times, method, path, **options):
        began = time.perf_counter()
        address = self.address + path
        options = {"timeout": ANSWER_SECONDS, **options}
        answer = requests.request(method, address, **options)
        with self._lock:
            times.append(time.perf_counter() - began)
        answer.raise_for_status()
        return answer

    def upload(self, number):
        """Makes a job; returns its id."""
        query = {"name": f"clip {number}.wav", "request": "{}"}
        options = {"params": query, "data": self._clip}
        answer = self._ask(self.uploads, "POST", "/api/jobs", **options)
        return answer.json()["id"]

    def follow(self, name, deadline):
        """Waits for a job as the page does; returns "done", or what failed."""
        looks = 0
        while time.monotonic() < deadline:
            path = f"/api/jobs/{name}" if looks % 10 else "/"
            answer = self._ask(self.answers, "GET", path)
            looks += 1
            if path != "/" and answer.json()["state"] in ("done", "failed"):
                return self._check(name, answer.json())
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return "late"

    def _check(self, name, job):
        if job["state"] != "done":
            return job["error"]
        for stem in job["files"]:
            path = f"/api/jobs/{name}/files/{stem}"
            size = len(self._ask([], "GET", path).content)
            if size != job["files"][stem]["bytes"]:
                return f"{stem} is cut"
        return "done"


def clip_of_noise(seconds):
    """Bytes of a WAV file, stereo."""
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.3, 0.3, (round(seconds * RATE), 2))
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        soundfile.write(file.name, audio, RATE, "PCM_16")
        return Path(file.name).read_bytes()


def memory_mb(process):
    """Peak memory of a process and of each child, MB, the most first; Linux."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        told = dict(re.findall(r"^(\w+):\s*(\d+)", text, re.MULTILINE))
        if str(process) in (told["PPid"], told["Pid"]) and "VmHWM" in told:
            found.append(int(told["VmHWM"]) / 1000)
    return [round(size) for size in sorted(found, reverse=True)]


def summary(times):
    """Median, 95th percentile and maximum, ms."""
    milliseconds = [1000 * seconds for seconds in sorted(times)]
    return {
        "count": len(times),
        "median_ms": round(statistics.median(milliseconds), 1),
        "p95_ms": round(float(np.percentile(milliseconds, 95)), 1),
        "max_ms": round(milliseconds[-1], 1),
    }


def measure(args, address, process):
    """Runs all clients; returns the results."""
    clients = Clients(address, clip_of_noise(args.seconds))
    began = time.monotonic()
    deadline = began + MOST_SECONDS
    with concurrent.futures.ThreadPoolExecutor(args.clients) as pool:
        names = list(pool.map(clients.upload, range(args.jobs)))
    with concurrent.futures.ThreadPoolExecutor(args.clients) as pool:
        states = list(pool.map(clients.follow, names, [deadline] * len(names)))
    return {
        "clients": args.clients,
        "jobs": args.jobs,
        "seconds_of_sound": args.seconds,
        "elapsed_seconds": round(time.monotonic() - began, 1),
        "lost": [state for state in states if state != "done"],
        "uploads": summary(clients.uploads),
        "answers": summary(clients.answers),
        "memory_mb": memory_mb(process),
    }


def main():
    """Parses, serves, measures, writes `serve.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--preset", default="bandit_demo")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "keras_bandit", "serve"]
        command += ["--port", "0", "--jobs", folder, "--preset", args.preset]
        command += ["--engine", args.engine]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            line = server.stdout.readline()
            address = re.search(r"http://[^\s/]+", line).group(0)
            results = measure(args, address, server.pid)
        finally:
            server.terminate()
            server.wait(30)
    text = json.dumps(results, indent=2)
    (args.output / "serve.json").write_text(text + "\n")
    print(text)
    return 1 if results["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
