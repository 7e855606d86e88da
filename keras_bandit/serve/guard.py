"""Who may ask: a token or a password, the page's own address, and no other."""

import base64
import binascii
import secrets
import urllib.parse

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

COOKIE = "keras_bandit"

_HEADERS = {
    # Nothing is loaded from other hosts, and a film's name cannot run as code.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors {framed}",
    "X-Content-Type-Options": "nosniff",
    # The address of a job is its key.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def _split(address):
    try:
        return urllib.parse.urlsplit(address)
    except ValueError:  # "[" alone
        return urllib.parse.urlsplit("")


def _same(given, expected):
    return secrets.compare_digest(given.encode(), expected.encode())


class Guard:
    """Stands before an ASGI application and lets in who may.

    Args:
        app: ASGI application.
        hosts: host names that requests may use, against DNS rebinding; `None`:
            any.
        token: str, or `None`. `?token=...` once, then a cookie.
        auth: str, "user:password", or `None`. Token or password is enough.
        framed: bool. Whether pages of other sites may show this one inside.
    """

    def __init__(self, app, hosts=None, token=None, auth=None, framed=False):
        self._app, self._hosts = app, hosts
        # An empty one is none: who sends no cookie would have it.
        self._token, self._auth = token or None, auth or None
        framed = "*" if framed else "'none'"
        self._headers = {
            n: v.format(framed=framed) for n, v in _HEADERS.items()
        }

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._refusal(Request(scope)) or self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, request):
        """The answer to a request that goes no further, or `None`."""
        host = _split(f"//{request.headers.get('host', '')}")
        if self._hosts is not None and host.hostname not in self._hosts:
            return PlainTextResponse("not the name of this server", 421)
        if request.method not in ("GET", "HEAD") and _is_foreign(request):
            return PlainTextResponse("another page may not ask this", 403)
        if self._token is None and self._auth is None:
            return None
        given = request.query_params.get("token", "")
        if self._token is not None and given and _same(given, self._token):
            # The token leaves the address, which people share.
            # "//name" would be another server.
            path = f"/{request.url.path.lstrip('/')}"
            answer = RedirectResponse(path, 303)
            answer.set_cookie(
                COOKIE, self._token, httponly=True, samesite="lax"
            )
            return answer
        cookie = request.cookies.get(COOKIE, "")
        if self._token is not None and _same(cookie, self._token):
            return None
        if self._auth is not None and _has_password(request, self._auth):
            return None
        if self._auth is None:
            return PlainTextResponse(
                "Open the address that the server printed when it started: it "
                "ends in ?token=...\n",
                401,
            )
        return PlainTextResponse(
            "a name and a password, please\n",
            401,
            {"WWW-Authenticate": 'Basic realm="keras-bandit", charset="UTF-8"'},
        )


def _is_foreign(request):
    """Whether a browser says that another site's page sends a request."""
    headers = Headers(scope=request.scope)
    origin = headers.get("origin")
    own = headers.get("host")
    return origin is not None and _split(origin).netloc != own


def _has_password(request, expected):
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return kind.lower() == "basic" and _same(given, expected)
