"""What may stand in a `[[session_stores]]` entry: one strict model per kind, told apart by `kind`.

Unknown keys are errors. Secrets (`${ENV}`, `*_file`) are resolved before these models see them, and no message
made here repeats a value of `url` or `secret`.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network
from operator import attrgetter
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from scim_server.events.model import Credential
from scim_server.events.subject import Template, TemplateError
from scim_server.sessions import presets
from scim_server.sessions.redis_values import ENCODINGS
from scim_server.sessions.signing import signing_key
from scim_server.sessions.sql_database import same_database
from scim_server.sessions.sql_statement import Statement, StatementError

PARAMETERS = ("subject", "tenant", "epoch", "denied", "not_before")
"""What a SQL statement may bind, each written with a colon before it."""

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _template(*names: str) -> Callable[[Any], Template]:
    """A validator that parses a template and allows only these names (any, when none is given)."""

    def parse(value: Any) -> Template:
        if isinstance(value, Template):
            return value
        if not isinstance(value, str) or not value:
            raise ValueError("write a text")
        template = Template.parse(value)
        for name in template.names():
            if names and name not in names:
                known = ", ".join(f"{{{known}}}" for known in names)
                raise TemplateError(f"{{{name}}} is not known here: use {known}, and double literal braces")
        return template

    return parse


def _address(value: Any) -> Template:
    """A template that may hold a password: no message quotes it."""
    try:
        return _template("tenant")(value)
    except TemplateError:
        raise ValueError("the address may hold {tenant} and no other braces: write them %7B and %7D") from None


def _statement(value: Any) -> Statement:
    if isinstance(value, Statement):
        return value
    if not isinstance(value, str):
        raise ValueError("write a text")
    statement = Statement.parse(value)
    for name in statement.names():
        if name not in PARAMETERS:
            raise StatementError(f":{name} is not known: use {', '.join(':' + known for known in PARAMETERS)}")
    return statement


def _function(value: Any) -> Callable[..., Any]:
    """What `"module:function"` names, imported: here, so that a fault is told at start, with all others."""
    if callable(value):
        function: Callable[..., Any] = value
        return function
    if not isinstance(value, str) or not _FUNCTION.fullmatch(value):
        raise ValueError('write "module:function"')
    module, _, name = value.partition(":")
    try:
        found: Any = attrgetter(name)(import_module(module))
    except (Exception, SystemExit) as problem:  # noqa: BLE001 (a module runs somebody else's code when it is imported)
        raise ValueError(f"{value} cannot be imported: {type(problem).__name__}: {problem}") from None
    if not callable(found):
        raise ValueError(f"{value} is not a function")
    function = found
    return function


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Subject = Annotated[Template, BeforeValidator(_template())]
Address = Annotated[Template, BeforeValidator(_address), Field(repr=False)]
TenantKey = Annotated[Template, BeforeValidator(_template("tenant"))]
SubjectKey = Annotated[Template, BeforeValidator(_template("subject", "tenant"))]
SessionKey = Annotated[Template, BeforeValidator(_template("sid", "subject", "tenant"))]
ValuePattern = Annotated[Template, BeforeValidator(_template("tenant", *ENCODINGS))]
Function = Annotated[Callable[..., Any], BeforeValidator(_function)]
Sql = Annotated[Statement, BeforeValidator(_statement)]


class StoreSettings(BaseModel):
    """What every kind has. `tenant` None = all tenants; `subject` makes the key under which the CRM files people;
    `ends` None = whatever the CRM lets people in by, as only what it calls itself can know; `budget_ms` is how long a
    request waits for this store before its answer says pending."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True, validate_default=True
    )

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    tenant: str | None = Field(default=None, min_length=1)
    subject: Subject = Field(default="{id}")  # type: ignore[assignment]  # validate_default parses it
    budget_ms: int = Field(default=150, ge=1, le=10_000)
    ends: Credential | None = None

    @field_validator("subject")
    @classmethod
    def _of_a_person(cls, subject: Template) -> Template:
        if set(subject.names()) <= {"tenant"}:
            raise ValueError("names no attribute, so everybody would have the same key: write for example {externalId}")
        return subject


def _with_preset(known: Mapping[str, Mapping[str, Any]], given: Any) -> Any:
    if not isinstance(given, Mapping) or given.get("preset") is None:
        return given
    if given["preset"] not in known:
        raise ValueError(f"preset: not known, use one of {', '.join(sorted(known))}")
    return {**known[given["preset"]], **given}


class RedisSettings(StoreSettings):
    """`kind = "redis"`. Sessions are found by `index_key`, by a `session_key` that holds {subject}, or by
    `value_contains` in the records of `session_key` or in the fields of `hash_key`; all but the first need a scan.
    The first template of a list is the session record, the others are companions that go with it."""

    kind: Literal["redis"]
    url: Address
    ends: Credential = "session"
    preset: str | None = None
    session_key: Annotated[tuple[SessionKey, ...], BeforeValidator(_listed)] = ()
    hash_key: Annotated[tuple[TenantKey, ...], BeforeValidator(_listed)] = ()
    index_key: SubjectKey | None = None
    value_contains: Annotated[tuple[ValuePattern, ...], BeforeValidator(_listed)] = ()
    gate_key: SubjectKey | None = None
    guard_key: TenantKey = Field(default="scim:guard:{tenant}")  # type: ignore[assignment]  # as above
    max_session_days: int = Field(default=32, ge=1, le=3650)
    cluster: bool = False
    sentinels: tuple[str, ...] = ()
    service: str | None = None
    connect_timeout_ms: int = Field(default=50, ge=1, le=60_000)
    timeout_ms: int = Field(default=100, ge=1, le=60_000)

    @property
    def finds_by(self) -> Literal["index", "key", "scan"]:
        """How sessions are found: named by an index; one fixed key per subject; by looking through all."""
        if self.index_key:
            return "index"
        return "scan" if self.hash_key or "sid" in self.session_key[0].names() else "key"

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        return _with_preset(presets.REDIS, given)

    @field_validator("url")
    @classmethod
    def _url(cls, url: Template) -> Template:
        return _scheme(url, "redis://", "rediss://", "unix://")

    @field_validator("sentinels")
    @classmethod
    def _sentinels(cls, sentinels: tuple[str, ...]) -> tuple[str, ...]:
        for address in sentinels:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f'{address}: write "host:port"')
        return sentinels

    @field_validator("session_key")
    @classmethod
    def _apart(cls, templates: tuple[Template, ...]) -> tuple[Template, ...]:
        for template in templates:
            names = [name for _, name in template.parts if name]
            inner = [literal for literal, name in template.parts if name][1:]
            if "sid" in names and "" in inner:
                raise ValueError(f"{template.text}: put a separator between {{sid}} and its neighbours")
            if names.count("sid") > 1:
                raise ValueError(f"{template.text}: {{sid}} may stand there once")
        return templates

    @field_validator("index_key", "gate_key")
    @classmethod
    def _of_one_person(cls, key: Template | None) -> Template | None:
        if key is not None and "subject" not in key.names():
            raise ValueError("a key without {subject} would stand for everybody")
        return key

    @field_validator("value_contains")
    @classmethod
    def _anchored(cls, templates: tuple[Template, ...]) -> tuple[Template, ...]:
        for template in templates:
            encoded = [name for name in template.names() if name != "tenant"]
            if len(encoded) != 1 or not template.parts[0][0]:
                raise ValueError(f"{template.text}: write text and then one of {', '.join(ENCODINGS)} in braces")
        return templates

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if bool(self.session_key) == bool(self.hash_key):
            raise ValueError("give session_key (or hash_key, when all sessions are fields of one hash)")
        if self.hash_key and (self.index_key or not self.value_contains):
            raise ValueError("hash_key needs value_contains, and takes no index_key")
        if self.index_key and "sid" not in self.session_key[0].names():
            raise ValueError("session_key needs {sid}: what the index names")
        if not (self.index_key or self.value_contains or "subject" in self.session_key[0].names()):
            raise ValueError(
                "nothing says whose a session is: give index_key, {subject} in session_key or value_contains"
            )
        if self.cluster and self.sentinels:
            raise ValueError("cluster and sentinels exclude each other")
        if bool(self.sentinels) != bool(self.service):
            raise ValueError("sentinels and service (the name of the master) go together")
        return self


class SqlSettings(StoreSettings):
    """`kind = "sql"`. `gate_statement = "default"` writes the table `scim_gate`; a statement of your own must only
    move forward, and `gate_query` (epoch, denied of a subject) lets late repeats spare newer logins. `user_statements`
    follow each gate that denies or lets in again, and bring the CRM's own row of the user in line with it.
    `same_commit` None: in the server's own commits if the address is the server's, role and options included."""

    kind: Literal["sql"]
    url: Address
    ends: Credential = "session"
    preset: str | None = None
    statements: Annotated[tuple[Sql, ...], BeforeValidator(_listed)] = ()
    gate_statement: Literal["default"] | Sql | None = None
    gate_query: Sql | None = None
    user_statements: Annotated[tuple[Sql, ...], BeforeValidator(_listed)] = ()
    timeout_ms: int = Field(default=5_000, ge=1, le=600_000)
    same_commit: bool | None = None

    def joins(self, database_url: str) -> bool:
        """Whether its statements run in the server's own commits."""
        if self.same_commit is False:
            return False
        asked = self.same_commit is True
        url = self.url.render({})
        return url is not None and same_database(url, database_url, as_ours=not asked)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        return _with_preset(presets.SQL, given)

    @field_validator("url")
    @classmethod
    def _url(cls, url: Template) -> Template:
        return _scheme(url, "postgresql://", "postgres://", "mysql://", "mariadb://", "sqlite:///")

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if not self.statements and self.gate_statement is None:
            raise ValueError("give statements, gate_statement or both")
        for statement in (*self.statements, *self.user_statements):
            if "subject" not in statement.names():
                raise ValueError("a statement without :subject would end everybody's sessions")
        if self.user_statements and self.gate_statement is None:
            raise ValueError("user_statements follow the gate: give a gate_statement, too")
        if isinstance(self.gate_statement, Statement) and "subject" not in self.gate_statement.names():
            raise ValueError("a gate_statement without :subject would stand for everybody")
        return self


class WebhookSettings(StoreSettings):
    """`kind = "webhook"`: signed by every secret given, so that a receiver can change over from one to the next.
    `private_networks` None: any address may be reached; else public ones and those in these networks."""

    kind: Literal["webhook"]
    url: Address
    secret: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed)] = Field(min_length=1)
    inline: bool = False
    budget_ms: int = Field(default=500, ge=1, le=10_000)
    proxy: str | None = Field(default=None, repr=False)
    private_networks: tuple[IPv4Network | IPv6Network, ...] | None = None
    timeout_ms: int = Field(default=10_000, ge=1, le=60_000)

    @field_validator("url")
    @classmethod
    def _url(cls, url: Template) -> Template:
        return _scheme(url, "https://", "http://")

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.proxy and self.private_networks is not None:
            raise ValueError("proxy and private_networks exclude each other: it is the proxy that looks names up")
        return self

    @field_validator("secret")
    @classmethod
    def _secret(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            signing_key(secret.get_secret_value())
        return secrets


class PythonSettings(StoreSettings):
    """`kind = "python"`: a function of the CRM's, `"module:function"`, that is called with each Delivery (port.py)."""

    kind: Literal["python"]
    function: Function
    inline: bool = True
    timeout_ms: int = Field(default=5_000, ge=1, le=5_000)


def _scheme(url: Template, *schemes: str) -> Template:
    if not url.parts or not url.parts[0][0].startswith(schemes):
        raise ValueError(f"begin with {', '.join(schemes)}")
    return url


SessionStoreSettings = Annotated[
    RedisSettings | SqlSettings | WebhookSettings | PythonSettings, Field(discriminator="kind")
]
