"""`sessions snippet`: the lines that a CRM adds for one session store, with that store's keys filled in.

The guards are scim_server/guard.py and examples/guards; what to do with the lines is docs/crm.md.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import typer

from scim_server.cli.terminal import TENANT, Failure, load_settings
from scim_server.events.subject import Template
from scim_server.sessions.config import RedisSettings, SqlSettings, StoreSettings

Language = StrEnum("Language", ["python", "node", "php", "java"])


def snippet(
    store: Annotated[str, typer.Option(help="The session store's name.")],
    lang: Annotated[Language, typer.Option(help="The CRM's language.")],
    tenant: str = TENANT,
) -> None:
    """Print the lines that the CRM adds: once, at login, on each request."""
    config = next((one for one in load_settings().session_stores if one.name == store), None)
    if config is None:
        raise Failure(f"There is no session store {store!r}; scim-server sessions check names all.")
    print(lines(config, lang, config.tenant or tenant), end="")


def lines(config: StoreSettings, language: Language, tenant: str) -> str:
    """The text. Raise Failure when the store has no gate that a guard could read."""
    written = _WRITTEN[language]
    if isinstance(config, RedisSettings):
        if config.gate_key is None:
            raise Failure(
                f'Session store {config.name} has no gate: add gate_key = "scim:gate:{{tenant}}:{{subject}}".'
            )
        gates, index = written.redis_gates, written.index if config.index_key else ""
        keys = {"GATE": config.gate_key.text, "GUARD": config.guard_key.text}
        index = index.replace("@INDEX@", _joined(config.index_key, written, tenant))
    elif isinstance(config, SqlSettings):
        if config.gate_statement != "default":
            raise Failure(f'Session store {config.name} has no gate table: add gate_statement = "default".')
        gates, index, keys = written.sql_gates, "", {}
    else:
        raise Failure(f"Session store {config.name} is a webhook or a function: no guard reads a gate there.")
    for name, value in {**keys, "TENANT": tenant}.items():
        gates = gates.replace(f"@{name}@", written.quote(value))
    text = f"{gates}\n{written.login}"
    return text.replace("@STORE_IT@\n", written.store_it + index).replace("@SUBJECT@", config.subject.text)


@dataclass(frozen=True, slots=True)
class _Written:
    """One language: how it quotes a text, joins texts, names a variable; the lines themselves."""

    quote: Callable[[str], str]
    joint: str
    variable: str
    redis_gates: str
    sql_gates: str
    index: str
    store_it: str
    login: str


def _joined(template: Template | None, written: _Written, tenant: str) -> str:
    """An expression of the language that makes the key: texts, and the variable of the subject."""
    parts, text = [], ""
    for literal, name in template.parts if template else ():
        text += literal + (tenant if name == "tenant" else "")
        if name == "subject":
            parts += [written.quote(text)] if text else []
            parts.append(f"{written.variable}subject")
            text = ""
    return written.joint.join([*parts, written.quote(text)] if text else parts)


def _json_quoted(text: str) -> str:
    return json.dumps(text)


def _php_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_PYTHON: Final = _Written(
    quote=_json_quoted,
    joint=" + ",
    variable="",
    redis_gates="""\
# once; AsyncGuard if `redis` is a client of redis.asyncio
from scim_server.guard import Guard, RedisGates

gates = RedisGates(redis, tenant=@TENANT@, gate_key=@GATE@, guard_key=@GUARD@)
guard = Guard(gates.read, beat=gates.beat)
""",
    sql_gates="""\
# once; `connect()` gives a DB-API connection in autocommit mode, `parameter` is the driver's placeholder
from scim_server.guard import TABLES, Guard, SqlGates  # create TABLES in the CRM's database

gates = SqlGates(connect, name=@TENANT@, parameter="%s")
guard = Guard(gates.read, beat=gates.beat)
""",
    index="""\
redis.sadd(@INDEX@, sid)
redis.expire(@INDEX@, LIFETIME_S)
""",
    store_it="sid = sessions.create(subject, epoch)  # stored and committed; the session keeps both\n",
    login="""\
# at login; `subject` is what the server makes of @SUBJECT@
epoch = guard.begin(subject)  # once you know who it is, before the password is checked
@STORE_IT@
if not guard.confirm(subject, epoch):  # deactivated meanwhile
    sessions.delete(sid)  # and refuse

# on each request
if not guard.check(subject, epoch):
    sessions.delete(sid)  # and answer 401
""",
)

_NODE: Final = _Written(
    quote=_json_quoted,
    joint=" + ",
    variable="",
    redis_gates="""\
// once; copy examples/guards/express/scim-guard.mjs; `redis` is a connected client of redis or ioredis
import { Guard, guardRequests, redisGates } from "./scim-guard.mjs";

const guard = new Guard(redisGates(redis, { tenant: @TENANT@, gateKey: @GATE@, guardKey: @GUARD@ }));
""",
    sql_gates="""\
// once; copy examples/guards/express/scim-guard.mjs, create its TABLES; `run` is shown there for pg and mysql2
import { Guard, guardRequests, sqlGates } from "./scim-guard.mjs";

const guard = new Guard(sqlGates(run, { tenant: @TENANT@, parameter: "?" }));
""",
    index="""\
await redis.sAdd(@INDEX@, sid); // ioredis: sadd
await redis.expire(@INDEX@, LIFETIME_S);
""",
    store_it="const sid = await sessions.create(subject, epoch); // stored; the session keeps both\n",
    login="""\
// at login; `subject` is what the server makes of @SUBJECT@
const epoch = await guard.begin(subject); // once you know who it is, before the password is checked
@STORE_IT@
if (!(await guard.confirm(subject, epoch))) await sessions.destroy(sid); // deactivated meanwhile: refuse

// each request, after the middleware that loads the session
app.use(guardRequests(guard, (req) => req.session.user ?? null)); // { subject, epoch }
""",
)

_PHP: Final = _Written(
    quote=_php_quoted,
    joint=" . ",
    variable="$",
    redis_gates="""\
// once; copy examples/guards/php/Guard.php; $redis is a client of phpredis or Predis without a key prefix
$guard = new Scim\\Guard(new Scim\\RedisGates($redis, @TENANT@, @GATE@, @GUARD@));
""",
    sql_gates="""\
// once; copy examples/guards/php/Guard.php, create Scim\\SqlGates::TABLES; $pdo is not inside a transaction
$guard = new Scim\\Guard(new Scim\\SqlGates($pdo, @TENANT@));
""",
    index="""\
$redis->sadd(@INDEX@, $sid);
$redis->expire(@INDEX@, LIFETIME_S);
""",
    store_it="$sid = $sessions->create($subject, $epoch); // stored and committed; the session keeps both\n",
    login="""\
// at login; $subject is what the server makes of @SUBJECT@
$epoch = $guard->begin($subject); // once you know who it is, before the password is checked
@STORE_IT@
if (!$guard->confirm($subject, $epoch)) { // deactivated meanwhile
    $sessions->delete($sid); // and refuse
}

// on each request; Laravel: examples/guards/php/GuardRequests.php
if (!$guard->check($subject, $epoch)) {
    $sessions->delete($sid); // and answer 401
}
""",
)

_JAVA: Final = _Written(
    quote=_json_quoted,
    joint=" + ",
    variable="",
    redis_gates="""\
// once; copy examples/guards/spring; `redis` is a StringRedisTemplate
Guard guard = new Guard(new Guard.Gates() {
    public String read(String subject) {
        return redis.opsForValue().get(Gate.fillKey(@GATE@, @TENANT@, subject));
    }

    public void beat(long nowMs) {
        redis.opsForValue().set(Gate.fillKey(@GUARD@, @TENANT@, ""), Long.toString(nowMs));
    }
});
""",
    sql_gates="""\
// once; copy examples/guards/spring and create its two tables; `dataSource` gives connections in autocommit mode
Guard guard = new Guard(new Guard.SqlGates(dataSource, @TENANT@));
""",
    index="""\
redis.opsForSet().add(@INDEX@, sid);
redis.expire(@INDEX@, LIFETIME);
""",
    store_it="String sid = sessions.create(subject, epoch); // stored and committed; the session keeps both\n",
    login="""\
// at login; `subject` is what the server makes of @SUBJECT@
long epoch = guard.begin(subject); // once you know who it is, before the password is checked
@STORE_IT@
if (!guard.confirm(subject, epoch)) { // deactivated meanwhile
    sessions.delete(sid); // and refuse
}

// each request: a bean of type jakarta.servlet.Filter; keep `epoch` in the session attribute GuardFilter.EPOCH
Filter filter = new GuardFilter(guard, HttpServletRequest::getRemoteUser); // or whatever gives the subject
""",
)

_WRITTEN: Final[Mapping[Language, _Written]] = {
    Language.python: _PYTHON,
    Language.node: _NODE,
    Language.php: _PHP,
    Language.java: _JAVA,
}
