"""The ceiling: the least that Starlette and asyncpg can do for the same requests. No tokens, schemas, filter grammar,
audit or events; rows hold the ready body. What the product does is published as a ratio to this."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SCHEMA = """
CREATE TABLE IF NOT EXISTS person (id uuid PRIMARY KEY, name text UNIQUE, body text NOT NULL);
CREATE TABLE IF NOT EXISTS belongs (team uuid, person uuid, PRIMARY KEY (team, person));
"""
POOL = 10


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        return ""  # one round trip a request, as in the product


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the pool."""
    url = os.environ["CEILING_DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=POOL, max_size=POOL, connection_class=_Connection) as pool:
        await pool.execute(SCHEMA)
        app.state.pool = pool
        yield


async def get(request: Request) -> Response:
    """GET /Users/{id}"""
    async with request.app.state.pool.acquire() as connection:
        body = await connection.fetchval("SELECT body FROM person WHERE id = $1", UUID(request.path_params["id"]))
    return _json(body)


async def search(request: Request) -> Response:
    """GET /Users?filter=userName eq "…", or a page"""
    query = request.query_params
    async with request.app.state.pool.acquire() as connection:
        if "filter" in query:
            name = query["filter"].split('"')[1]
            rows = await connection.fetch("SELECT body FROM person WHERE name = $1", name)
        else:
            rows = await connection.fetch("SELECT body FROM person ORDER BY id LIMIT $1", int(query["count"]))
    return _json(f'{{"totalResults":{len(rows)},"Resources":[{",".join(row["body"] for row in rows)}]}}')


async def post(request: Request) -> Response:
    """POST /Users"""
    new = uuid4()
    document = {"id": str(new), **orjson.loads(await request.body())}
    body = orjson.dumps(document).decode()
    async with request.app.state.pool.acquire() as connection:
        await connection.execute("INSERT INTO person VALUES ($1, $2, $3)", new, document["userName"], body)
    return _json(body, 201)


async def patch(request: Request) -> Response:
    """PATCH /Users/{id}: replaces one attribute"""
    key, operation = UUID(request.path_params["id"]), orjson.loads(await request.body())["Operations"][0]
    async with request.app.state.pool.acquire() as connection:
        document = orjson.loads(await connection.fetchval("SELECT body FROM person WHERE id = $1", key))
        document[operation["path"]] = operation["value"]
        body = orjson.dumps(document).decode()
        await connection.execute("UPDATE person SET body = $2 WHERE id = $1", key, body)
    return _json(body)


async def edit_members(request: Request) -> Response:
    """PATCH /Groups/{id}: adds or removes one member"""
    team, operation = UUID(request.path_params["id"]), orjson.loads(await request.body())["Operations"][0]
    async with request.app.state.pool.acquire() as connection:
        if operation["op"] == "add":
            person = UUID(operation["value"][0]["value"])
            await connection.execute("INSERT INTO belongs VALUES ($1, $2) ON CONFLICT DO NOTHING", team, person)
        else:
            person = UUID(operation["path"].split('"')[1])
            await connection.execute("DELETE FROM belongs WHERE team = $1 AND person = $2", team, person)
    return Response(status_code=204)


def _json(body: str, status: int = 200) -> Response:
    return Response(body, status, media_type="application/scim+json")


app = Starlette(
    routes=[
        Route("/scim/v2/Users", search),
        Route("/scim/v2/Users", post, methods=["POST"]),
        Route("/scim/v2/Users/{id}", get),
        Route("/scim/v2/Users/{id}", patch, methods=["PATCH"]),
        Route("/scim/v2/Groups/{id}", edit_members, methods=["PATCH"]),
    ],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["CEILING_PORT"]), access_log=False, log_level="warning", server_header=False)
