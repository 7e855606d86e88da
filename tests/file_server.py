"""A server of files on 127.0.0.1 that can be as bad as those of the world."""

import http.server
import re
import threading


class FileServer:
    """Serves files of any folder by their names.

    Args:
        files: `{name: bytes}`.

    Attributes:
        ranges: bool. Whether it knows range requests.
        cuts: list of int. Bytes after which the connection of the next answers
            is cut, one after the other; `None` is not cut.
        statuses: list of int. Errors that come before answers.
        requests: list of (name, value of the header Range or `None`).
    """

    def __init__(self, files):
        self.files, self.ranges = dict(files), True
        self.cuts, self.statuses, self.requests = [], [], []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(
            target=self.http.serve_forever, args=(0.01,)
        )

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}/files"

    def answer(self, request):
        name, wanted = request.path[7:], request.headers["Range"]
        self.requests.append((name, wanted))
        if self.statuses:
            return request.send_error(self.statuses.pop(0))
        if name not in self.files:
            return request.send_error(404)
        content, start, status = self.files[name], 0, 200
        if wanted and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                return request.send_error(416)
            status = 206
        request.send_response(status)
        if status == 206:
            last = len(content) - 1
            value = f"bytes {start}-{last}/{len(content)}"
            request.send_header("Content-Range", value)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        cut = self.cuts.pop(0) if self.cuts else None
        request.wfile.write(content[start:][:cut])
        request.close_connection = True
