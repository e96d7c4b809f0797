"""Plays a dialogue, a JSON file of requests and what their answers must show.

A step has `send` ("POST /Users"), `expect` (status), and optionally `headers` (null: left out), `body`, `shows` (part
of the answer: null is absent, "*" anything but empty, a list has just these in any order), `answers` (headers of the
answer) and `keep` (variable: place, such as Resources.0.id). `$variable` stands anywhere; `at once` holds steps that
are sent together.
"""

import asyncio
import json
from functools import reduce
from string import Template
from typing import Any

from web.serving import SCIM_JSON, Server, Tenant


async def play(server: Server, text: str) -> None:
    """A whole dialogue with a new tenant that has its `options`."""
    dialogue = json.loads(text)
    tenant = await server.tenant(*dialogue.get("options", ()))
    known: dict[str, str] = {}
    for step in dialogue["steps"]:
        await asyncio.gather(*(_take(tenant, each, known) for each in step.get("at once", [step])))


async def _take(tenant: Tenant, step: dict[str, Any], known: dict[str, str]) -> None:
    step = json.loads(Template(json.dumps(step)).safe_substitute(known))
    method, _, address = step["send"].partition(" ")
    answer = await tenant.send(method, address, step.get("body"), **step.get("headers", {}))
    said = f"{step['send']}: {answer.status_code} {answer.text}"
    assert answer.status_code == step["expect"], said
    body = answer.json() if answer.content else None
    if body is not None:
        assert answer.headers["Content-Type"] == SCIM_JSON, said
    for name, value in step.get("answers", {}).items():
        assert _fits(answer.headers.get(name), value), f"{said} {name}: {answer.headers.get(name)}"
    assert "shows" not in step or _fits(body, step["shows"]), f"{said}\nmust show {json.dumps(step['shows'])}"
    for variable, place in step.get("keep", {}).items():
        known[variable] = reduce(lambda at, key: at[int(key) if key.isdigit() else key], place.split("."), body)


def _fits(found: Any, wanted: Any) -> bool:
    if wanted == "*":
        return found not in (None, "", [], {})
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_fits(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(found, list) and len(found) == len(wanted)
        return same_length and all(any(_fits(each, value) for each in found) for value in wanted)
    return type(found) is type(wanted) and bool(found == wanted)
