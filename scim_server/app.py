"""The composition root: what one running server is made of, read from top to bottom like an inventory.

`open_deployment` is everything without HTTP and serves the command line too; `build_app` puts the web in front.
"""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from scim_server import log
from scim_server.clock import new_id, now_ms
from scim_server.dispatch.echoes import Echoes
from scim_server.dispatch.joined import joined
from scim_server.dispatch.sentinels import Sentinels
from scim_server.dispatch.tally import Tally
from scim_server.dispatch.terminator import SESSION_DAYS, Line, Terminator, slots
from scim_server.dispatch.watch import Watch
from scim_server.dispatch.worker import Worker
from scim_server.protocol.errors import ScimError, Unavailable
from scim_server.sessions.config import RedisSettings, SqlSettings, StoreSettings
from scim_server.sessions.registry import open_store
from scim_server.settings import Settings
from scim_server.storage import access as access_rows
from scim_server.storage.database import Database
from scim_server.storage.outbox import adopt
from scim_server.storage.postgres import PostgresDatabase
from scim_server.storage.sqlite import SqliteDatabase, sqlite_path
from scim_server.usecases.access import Authenticator, create_tenant, issue_token
from scim_server.usecases.deployment import Deployment, Subscriber
from scim_server.usecases.exchanges import Recorder
from scim_server.usecases.options import TenantOptions
from scim_server.usecases.reindex import outdated
from scim_server.usecases.tenant_types import faults
from scim_server.web.address import Front
from scim_server.web.admin import admin_server
from scim_server.web.middleware import Edge
from scim_server.web.reply import http_error, scim_error, unexpected
from scim_server.web.routes import admin_routes, operator_routes, scim_routes
from scim_server.web.site import Health, Site

DEFAULT_TENANT = "default"
GC_THRESHOLD = 5_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """An open deployment and what runs beside its requests."""

    deployment: Deployment
    lines: dict[str, Line]
    worker: Worker
    echoes: Echoes
    sentinels: Sentinels
    watch: Watch


@asynccontextmanager
async def open_deployment(settings: Settings) -> AsyncIterator[Parts]:
    """Open the database and the session stores; close them, in reverse, at the end."""
    async with AsyncExitStack() as stack:
        database = await open_database(settings)
        stack.push_async_callback(database.aclose)
        lines: dict[str, Line] = {}
        for config in settings.session_stores:
            share = slots(len(settings.session_stores))
            store = open_store(config)
            stack.push_async_callback(store.aclose)
            http = config.kind == "webhook"
            days = config.max_session_days if isinstance(config, RedisSettings) else SESSION_DAYS
            tally = Tally(config.ends or "any")
            lines[config.name] = Line(
                store, budget_s=config.budget_ms / 1000, http=http, slots=share, session_days=days, tally=tally
            )
        terminator = Terminator(database, lines)
        stack.push_async_callback(terminator.drain)
        deployment = Deployment(
            database=database,
            terminator=terminator,
            subscribers=tuple(
                Subscriber(
                    config.name,
                    config.subject,
                    lines[config.name].store.inline,
                    lines[config.name].store.events,
                    config.tenant,
                    config.budget_ms,
                    config.ends,
                    joined(lines[config.name].store) if _joins(config, settings) else None,
                )
                for config in settings.session_stores
            ),
            resource_types=settings.served_types,
            now=now_ms,
            new_id=new_id,
        )
        worker = Worker(database, lines)
        stack.push_async_callback(worker.aclose)
        echoes = Echoes(database, lines)
        stack.push_async_callback(echoes.aclose)
        sentinels = Sentinels(deployment, lines)
        stack.push_async_callback(sentinels.aclose)
        watch = Watch(database, lines, now_ms)
        stack.push_async_callback(watch.aclose)
        yield Parts(deployment, lines, worker, echoes, sentinels, watch)


def _joins(config: StoreSettings, settings: Settings) -> bool:
    return isinstance(config, SqlSettings) and config.joins(settings.database_url)


async def open_database(settings: Settings) -> Database:
    """The database the settings name."""
    if settings.is_sqlite:
        return SqliteDatabase(sqlite_path(settings.database_url))
    listen = settings.listen_url or settings.database_url
    return await PostgresDatabase.open(
        settings.database_url,
        listen_url=None if listen == "-" else listen,
        pool_size=settings.database_pool_size,
    )


def build_app(settings: Settings) -> Edge:
    """The ASGI application. It opens everything in its lifespan, so that each worker process has its own."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_deployment(settings) as parts:
            await _bootstrap(parts.deployment, settings.token)
            await _examine_tenants(parts.deployment)
            recorder = Recorder(parts.deployment.database)
            app.state.site = Site(
                deployment=parts.deployment,
                recorder=recorder,
                authenticator=Authenticator(parts.deployment.database),
                health=lambda: _health(parts),
                public_url=settings.public_url,
                discovery_auth=settings.discovery_auth,
            )
            parts.worker.start()
            parts.echoes.start()
            parts.sentinels.start()
            parts.watch.start()
            recorder.start()
            async with AsyncExitStack() as beside:
                beside.push_async_callback(recorder.aclose)
                if settings.admin_port is not None:
                    site = app.state.site
                    await beside.enter_async_context(admin_server(site, settings.host, settings.admin_port))
                yield

    addresses = [*scim_routes(settings.served_types), *operator_routes()]
    operational = admin_routes() if settings.admin_port is None else []
    handlers = {ScimError: scim_error, HTTPException: http_error, Exception: unexpected}
    app = Starlette(routes=[*addresses, *operational], exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    return Edge(Front(app, addresses))


def from_environment() -> Edge:
    """What uvicorn's worker processes import."""
    settings = Settings.load()
    log.configure(settings.log_level)
    app = build_app(settings)
    # What is loaded by now stays: looking through it for garbage again and again is a cost of every request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    return app


async def _bootstrap(deployment: Deployment, token: str | None) -> None:
    """The tenant `default`, and the operator's own token for it if one is set; what a restore brought along."""
    now, made_by = deployment.now(), "settings"
    try:
        if count := await adopt(deployment.database):
            _log.warning("%d messages are of a database that this one was restored from: feeds begin anew", count)
        await create_tenant(
            deployment.database, DEFAULT_TENANT, actor=made_by, new_id=new_id(), change_id=new_id(), now=now
        )
        tenant = await access_rows.tenant_named(deployment.database, DEFAULT_TENANT)
        if token is not None and tenant is not None:
            await issue_token(
                deployment.database,
                tenant,
                "SCIM_TOKEN",
                "scim",
                expires=None,
                actor=made_by,
                change_id=new_id(),
                now=now,
                text=token,
            )
    except Unavailable:
        _log.warning("the database cannot be reached yet; requests answer 503 until it can")


async def _examine_tenants(deployment: Deployment) -> None:
    """Say which tenants' own schemas do not go with the configured ones any more (those get 503), and whose indexes
    were made for other schemas."""
    try:
        for tenant in await access_rows.tenants(deployment.database):
            for problem in faults(deployment.resource_types, TenantOptions.read(tenant.options)):
                _log.error("tenant %s: its options do not go with the configured schemas: %s", tenant.name, problem)
        names = sorted({each.tenant.name for each in await outdated(deployment)})
    except Unavailable:
        return  # which has been said
    if names:
        _log.warning(
            "schemas changed since the resources of %d tenants were indexed, so filters may miss some of them; once no "
            "server with the old configuration runs: scim-server reindex (%s)",
            len(names),
            ", ".join(names[:10]) + (", …" if len(names) > 10 else ""),
        )


async def _health(parts: Parts) -> list[Health]:
    try:
        await parts.deployment.database.ping()
        database = Health("database", ok=True, needed=True)
    except Unavailable:
        database = Health("database", ok=False, needed=True, detail="cannot be reached")
    stores = [
        Health(
            name,
            ok=not line.breaker.is_open,
            needed=False,
            detail="" if not line.breaker.is_open else "not answering; kills wait",
        )
        for name, line in parts.lines.items()
    ]
    return [database, *stores]
