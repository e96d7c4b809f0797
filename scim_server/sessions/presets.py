"""Where well-known frameworks and CRMs keep their sessions, as data: the keys a preset fills in unless the store's
entry gives its own. `{sid}`, `{subject}` and `{tenant}` are templates; the encodings are those of redis_keys.
"""

from collections.abc import Mapping
from typing import Any, Final

REDIS: Final[Mapping[str, Mapping[str, Any]]] = {
    # express-session with passport; no index: every kill is a scan until the CRM fills an index_key.
    "connect-redis": {
        "session_key": "sess:{sid}",
        "value_contains": ['"passport":{{"user":{json}'],
    },
    # SESSION_ENGINE = cache on django.core.cache.backends.redis, KEY_PREFIX "" and VERSION 1.
    "django-cache": {
        "session_key": ":1:django.contrib.sessions.cache{sid}",
        "value_contains": ["\r_auth_user_id{pickle}"],  # \r is the length of the name
    },
    # RedisIndexedSessionRepository only: the plain RedisSessionRepository keeps no index.
    "spring-indexed": {
        "session_key": ["spring:session:sessions:{sid}", "spring:session:sessions:expires:{sid}"],
        "index_key": "spring:session:index:org.springframework.session.FindByIndexNameSessionRepository"
        ".PRINCIPAL_NAME_INDEX_NAME:{subject}",
    },
    # Flask-Session with Flask-Login ("_user_id") or an app's own "user_id".
    "flask-session": {
        "session_key": "session:{sid}",
        "value_contains": ["user_id{msgpack}"],
    },
    # One hash of all sessions, read before the table tabSessions: the table needs a sql store of its own. The
    # database's name is expected to be the tenant's; give hash_key otherwise.
    "frappe": {
        "hash_key": ["{tenant}|session", "{tenant}|last_db_session_update"],
        "value_contains": ["\x04user{pickle}"],  # \x04 is the length of the name
    },
}

SQL: Final[Mapping[str, Mapping[str, Any]]] = {
    # remember_token logs in again by itself, so it ends as a session does.
    "laravel": {
        "statements": [
            "DELETE FROM sessions WHERE user_id = :subject",
            "UPDATE users SET remember_token = NULL WHERE id = :subject AND remember_token IS NOT NULL",
        ],
    },
    "spring-jdbc": {"statements": ["DELETE FROM SPRING_SESSION WHERE PRINCIPAL_NAME = :subject"]},
    # Wants: CREATE INDEX CONCURRENTLY ON "session" ((sess->'passport'->>'user')).
    "connect-pg-simple": {
        "statements": ["DELETE FROM \"session\" WHERE sess->'passport'->>'user' = :subject"],
    },
    "espocrm": {
        "statements": ["UPDATE auth_token SET is_active = FALSE WHERE user_id = :subject AND is_active = TRUE"],
    },
    # The access token lives on for up to 30 minutes: only a guard ends it sooner.
    "twenty": {
        "statements": [
            'UPDATE core."appToken" SET "revokedAt" = now()'
            ' WHERE "userId" = :subject AND type = \'REFRESH_TOKEN\' AND "revokedAt" IS NULL'
        ],
    },
    # The django-user-sessions backend: Django's own table hides the user inside a signed text.
    "django-db": {"statements": ["DELETE FROM user_sessions_session WHERE user_id = :subject"]},
    # With whatever SESSION_ENGINE: Django asks at each request whether the user is active. The row follows the gate,
    # which moves forward only: a message that comes late brings nobody back.
    "django-user": {
        "gate_statement": "default",
        "user_statements": [
            "UPDATE auth_user SET is_active ="
            " NOT EXISTS (SELECT 1 FROM scim_gate WHERE subject = :subject AND denied = 1)"
            " WHERE username = :subject"
            " AND is_active = EXISTS (SELECT 1 FROM scim_gate WHERE subject = :subject AND denied = 1)"
        ],
    },
}
