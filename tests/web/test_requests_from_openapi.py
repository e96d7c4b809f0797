"""Requests made from the OpenAPI document that the server serves, right and wrong ones: none is a server error."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok
from termination.process import TOKEN, ServerProcess
from web.serving import GROUP, USER

pytestmark = pytest.mark.hypothesis

# As many as ten examples of other laws cost: each is a request, and its body a whole resource.
REQUESTS = settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on SQLite."""
    home = tmp_path_factory.mktemp("openapi")
    server = ServerProcess(home, f"sqlite:///{home}/scim.db", [])
    server.start()
    yield server.url
    server.kill9()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: str(mode.value))
def test_no_request_is_a_server_error(url: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/scim/v2/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert {operation.method for operation in operations} == {"get", "post", "put", "patch", "delete"}
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        for operation in operations:
            _ask(operation, mode, session, _existing(url + operation.path, session))


def _existing(address: str, session: requests.Session) -> dict[str, Any] | None:
    """Path parameters that lead to something, or to nothing in particular."""
    collection, found, _ = address.partition("/{id}")
    name = secrets.token_hex(8)
    bodies = {"Users": {"schemas": [USER], "userName": name}, "Groups": {"schemas": [GROUP], "displayName": name}}
    body = bodies.get(collection.rpartition("/")[2])
    if not found or body is None:
        return None
    return {"id": session.post(collection, json=body).json()["id"]}


def _ask(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    session: requests.Session,
    parameters: dict[str, Any] | None,
) -> None:
    @REQUESTS
    @given(operation.as_strategy(mode, path_parameters=parameters))
    def answers(case: Case[Any]) -> None:
        answer = case.call(session=session)
        assert answer.status_code < 500, answer.text

    answers()
