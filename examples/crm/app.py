"""A small CRM with a login form and server-side sessions, to see how a SCIM server ends them.

Run it with `python examples/crm/app.py`; the settings are in README.md. All it knows of the SCIM server is the
guard: four lines in `log_in`, one middleware. It neither calls the server nor is called by it.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Receive, Scope, Send
from stores import LIFETIME_S, Directory, RedisSessions, Sessions, SqliteSessions, StoredSession

from scim_server.guard import ASGIGuard, Session

COOKIE = "crm_session"
PAGES = Jinja2Templates(directory=Path(__file__).parent / "pages")


def build(directory: Directory, sessions: Sessions, password: str) -> Starlette:
    """The app over a directory and a session store; everybody's password is `password`."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await sessions.aclose()
        directory.close()

    app = Starlette(
        routes=[
            Route("/", home),
            Route("/login", login_form),
            Route("/login", log_in, methods=["POST"]),
            Route("/logout", log_out, methods=["POST"]),
            Route("/api/me", me),
            Route("/healthz", lambda _: PlainTextResponse("ok\n")),
        ],
        middleware=[
            Middleware(LoadSession, sessions=sessions),
            Middleware(ASGIGuard, guard=sessions.guard, identify=identify, refuse=session_ended),
        ],
        lifespan=lifespan,
    )
    app.state.directory = directory
    app.state.sessions = sessions
    app.state.password = password
    return app


# --- login, with the guard's three calls ----------------------------------------------------------------------


async def log_in(request: Request) -> Response:
    """303 to the contacts with a fresh session; 401 for a wrong password, 403 for somebody cut off."""
    form = await request.form()
    sessions: Sessions = request.app.state.sessions
    user = request.app.state.directory.find(str(form.get("userName", "")))
    if user is None:
        return _login_page(request, "Unknown user name or wrong password.", 401)
    epoch = await sessions.guard.begin(user.subject)
    given = str(form.get("password", ""))
    if not secrets.compare_digest(given.encode(), request.app.state.password.encode()):
        return _login_page(request, "Unknown user name or wrong password.", 401)
    sid = secrets.token_urlsafe(32)
    await sessions.create(sid, StoredSession(user.subject, user.user_name, epoch))
    if not await sessions.guard.confirm(user.subject, epoch):
        await sessions.delete(sid)
        return _login_page(request, "Your account has been deactivated.", 403)
    response = RedirectResponse("/", 303)
    response.set_cookie(COOKIE, sid, max_age=LIFETIME_S, httponly=True, samesite="lax")
    return response


# --- each request ---------------------------------------------------------------------------------------------


class LoadSession:
    """Puts the StoredSession behind the cookie, or None, into `scope["crm_session"]`."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "http":
            sid = HTTPConnection(scope).cookies.get(COOKIE)
            scope["crm_session"] = await self._sessions.load(sid) if sid else None
        await self._app(scope, receive, send)


def identify(scope: Any) -> Session | None:
    """Tells the guard whose session this request carries."""
    session: StoredSession | None = scope.get("crm_session")
    return None if session is None else Session(session.subject, session.epoch)


async def session_ended(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request whose session the guard refused: its record was still there, or had come back."""
    request = Request(scope, receive)
    await request.app.state.sessions.delete(request.cookies[COOKIE])
    await _signed_out(request)(scope, receive, send)


async def home(request: Request) -> Response:
    """The contacts."""
    session = request.scope["crm_session"]
    if session is None:
        return _signed_out(request)
    directory: Directory = request.app.state.directory
    user = directory.find(session.user_name)
    return PAGES.TemplateResponse(request, "home.html", {"user": user, "contacts": directory.contacts()})


async def me(request: Request) -> Response:
    """200 with who is logged in, or 401: the question the demo keeps asking."""
    session = request.scope["crm_session"]
    if session is None:
        return _signed_out(request)
    return JSONResponse({"userName": session.user_name, "subject": session.subject})


async def login_form(request: Request) -> Response:
    """The form."""
    return _login_page(request, "Your session has ended." if COOKIE in request.cookies else "", 200)


async def log_out(request: Request) -> Response:
    """Ends this session only."""
    if sid := request.cookies.get(COOKIE):
        await request.app.state.sessions.delete(sid)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


def _signed_out(request: Request) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": "not signed in"}, 401)
    return RedirectResponse("/login", 303)


def _login_page(request: Request, notice: str, status: int) -> Response:
    state = request.app.state
    context = {"notice": notice, "user_names": state.directory.user_names(), "password": state.password}
    response = PAGES.TemplateResponse(request, "login.html", context, status)
    response.delete_cookie(COOKIE)
    return response


def main() -> None:
    """Serve on loopback with settings from the environment (README.md)."""
    setting = os.environ.get
    database = setting("CRM_DATABASE", "crm.db")
    users = setting("CRM_USERS")
    redis_url = setting("CRM_REDIS_URL")
    sessions: Sessions = (
        RedisSessions(redis_url, setting("CRM_TENANT", "default")) if redis_url else SqliteSessions(database)
    )
    directory = Directory(database, Path(users) if users else None)
    app = build(directory, sessions, setting("CRM_PASSWORD", "crm-demo"))
    uvicorn.run(app, host="127.0.0.1", port=int(setting("CRM_PORT", "8081")), log_level="warning")


if __name__ == "__main__":
    main()
