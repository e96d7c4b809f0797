"""`sessions …` and `status`: the session stores, what they hold of a person, and whether they can be trusted."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from scim_server.app import Parts
from scim_server.cli.snippet import snippet
from scim_server.cli.terminal import AS_JSON, TENANT, Failure, moment, operator, say, show, with_deployment
from scim_server.clock import now_ms
from scim_server.events.model import KINDS
from scim_server.sessions.port import Finding, StoreUnreachable
from scim_server.storage.access import tenants, tokens
from scim_server.storage.outbox import Silence, backlog, silences
from scim_server.usecases import operations
from scim_server.usecases.access import days_left
from scim_server.usecases.reindex import outdated

app = typer.Typer(no_args_is_help=True)
app.command()(snippet)
Kind = StrEnum("Kind", ["session", "refresh_token", "api_key"])
User = Annotated[str, typer.Argument(help="id, userName or externalId.")]


@app.command()
def check(as_json: bool = AS_JSON) -> None:
    """Prove each session store: rights, index, key pattern, round trip, and whether users have the subject's value."""

    async def work(parts: Parts) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        known = await tenants(parts.deployment.database)
        for subscriber in parts.deployment.subscribers:
            store = parts.lines[subscriber.name].store
            concerned = [tenant for tenant in known if subscriber.tenant in (None, tenant.name)]
            if not concerned:
                nobody = {"store": subscriber.name, "tenant": subscriber.tenant, "result": "FAULT", "hint": ""}
                rows.append({**nobody, "what": "concerns no tenant that is there: scim-server tenant create NAME"})
            for tenant in concerned:
                shared = [Finding(True, "in the server's own database: ends sessions in the same commit (L4)")]
                findings = [
                    *await store.check(tenant.name),
                    *(shared if subscriber.joined else []),
                    *await operations.check_subjects(parts.deployment, tenant.id, tenant.name, subscriber),
                ]
                rows += [
                    {
                        "store": subscriber.name,
                        "tenant": tenant.name,
                        "result": "ok" if finding.ok else "FAULT",
                        "what": finding.what.removeprefix(f"{subscriber.name}: "),
                        "hint": finding.hint,
                    }
                    for finding in findings
                ]
        return rows

    rows = with_deployment(work)
    if not rows:
        say("No session store is configured: add [[session_stores]] to scim-server.toml; see docs/session-stores.md.")
        raise typer.Exit(1)
    show(rows, as_json, ("store", "tenant", "result", "what"))
    if not as_json:
        hints = dict.fromkeys((row["store"], row["what"], row["hint"]) for row in rows if row["hint"])
        for store, what, hint in hints:
            print(f"\n{store}: {what}:\n  {hint}")
    if any(row["result"] != "ok" for row in rows):
        raise typer.Exit(1)


@app.command("show")
def show_(user: User, tenant: str = TENANT, as_json: bool = AS_JSON) -> None:
    """What a kill would hit now. Session ids are shortened hashes."""

    async def work(parts: Parts) -> list[dict[str, Any]]:
        caller = await operator(parts, tenant)
        person = await operations.find_user(parts.deployment, caller, user)
        if person is None:
            raise Failure(f"Tenant {tenant} has no user with the id, userName or externalId {user!r}.")
        rows: list[dict[str, Any]] = []
        for subscriber, subject in operations.subjects_of(parts.deployment, caller, person):
            ends = subscriber.ends or "all"
            if subject is None:
                rows.append({"store": subscriber.name, "ends": ends, "subject": None, "kind": "unresolved"})
                continue
            try:
                found = await parts.lines[subscriber.name].store.show(tenant, subject)
            except StoreUnreachable as problem:
                raise Failure(f"Session store {problem}") from None
            what = {"store": subscriber.name, "ends": ends, "subject": subject}
            nothing = "cannot be listed" if found is None else "none listed"
            rows += [
                {**what, "kind": one.kind, "id": one.id, "expires_in_s": one.expires_in_s} for one in found or ()
            ] or [{**what, "kind": nothing}]
        return rows

    show(with_deployment(work), as_json, ("store", "ends", "subject", "kind", "id", "expires_in_s"))


@app.command()
def revoke(
    user: User,
    tenant: str = TENANT,
    kind: Annotated[list[Kind] | None, typer.Option(help="End only these kinds of credentials (default: all).")] = None,
) -> None:
    """End a person's sessions and keep the account: a stolen laptop."""
    kinds = tuple(one for one in KINDS if kind is None or one in kind)

    async def work(parts: Parts) -> str:
        caller = await operator(parts, tenant)
        person = await operations.find_user(parts.deployment, caller, user)
        if person is None:
            raise Failure(f"Tenant {tenant} has no user with the id, userName or externalId {user!r}.")
        return (await operations.revoke(parts.deployment, caller, person, kinds)).header()

    print(f"Session-Termination: {with_deployment(work)}")


def status(as_json: bool = AS_JSON) -> None:
    """One screen: stores, what is on its way, tokens about to expire."""

    async def work(parts: Parts) -> list[dict[str, Any]]:
        database, now = parts.deployment.database, now_ms()
        waiting = {entry.store: entry for entry in await backlog(database)}
        rows: list[dict[str, Any]] = []
        for name in sorted({*parts.lines, *waiting}):
            entry = waiting.get(name)
            state = "not configured" if name not in parts.lines else "waiting" if entry else "ok"
            since = f"oldest {moment(entry.oldest)}, held {entry.held}" if entry else ""
            if entry and entry.oldest_kill is not None:
                since += f", oldest pending kill {moment(entry.oldest_kill)}"
            detail = f"{entry.waiting} messages, {since}" if entry else "nothing on its way"
            if name in parts.lines:
                try:
                    await parts.lines[name].store.fingerprint()
                except StoreUnreachable as problem:
                    state, detail = "down", f"{str(problem).removeprefix(f'{name}: ')}; {detail}"
            rows.append({"what": "session store", "name": name, "state": state, "detail": detail})
        rows += [_off(silence) for silence in await silences(database)]
        if not rows:
            rows.append({"what": "session store", "name": "", "state": "none", "detail": "see docs/session-stores.md"})
        known = {tenant.id: tenant for tenant in await tenants(database)}
        for tenant_id, tenant in known.items():
            name = tenant.name
            if (tenant.frozen_until or 0) > now:
                until = f"until {moment(tenant.frozen_until)}"
                rows.append({"what": "tenant", "name": name, "state": "frozen", "detail": until})
            lacking = await operations.unresolved_stores(parts.deployment, tenant_id, name)
            rows += [
                {
                    "what": "subjects",
                    "name": f"{name}/{store}",
                    "state": "unresolved",
                    "detail": f"{count} active users lack the key",
                }
                for store, count in lacking.items()
            ]
        for each in await outdated(parts.deployment):
            what = {"what": "index", "name": f"{each.tenant.name}/{each.rt.name}", "state": "outdated"}
            rows.append({**what, "detail": "schemas changed; run: scim-server reindex"})
        for token in await tokens(database):
            days = days_left(token, now)
            if days is not None and days < 30:
                when = f"in {max(days, 0)} days: {token.name} of tenant {known[token.tenant_id].name}"
                rows.append({"what": "token", "name": token.id, "state": "expires", "detail": when})
        return rows

    show(with_deployment(work), as_json, ("what", "name", "state", "detail"))


def _off(silence: Silence) -> dict[str, Any]:
    detail = f"410 Gone at {moment(silence.since)}: scim-server outbox replay --store {silence.store}"
    return {"what": "session store", "name": f"{silence.tenant}/{silence.store}", "state": "off", "detail": detail}
