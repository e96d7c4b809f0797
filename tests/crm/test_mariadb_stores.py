"""Session stores of PHP CRMs in a real MariaDB, ended by a real server through the optional driver."""

from collections.abc import Callable
from typing import Any

import pytest
from crm.parts import GATES, Entra

pytestmark = pytest.mark.crm

LARAVEL = (
    "CREATE TABLE users (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, email VARCHAR(255),"
    " remember_token VARCHAR(100))",
    "CREATE TABLE sessions (id VARCHAR(255) PRIMARY KEY, user_id BIGINT UNSIGNED NULL, ip_address VARCHAR(45),"
    " user_agent TEXT, payload LONGTEXT NOT NULL, last_activity INT NOT NULL,"
    " KEY sessions_user_id_index (user_id), KEY sessions_last_activity_index (last_activity))",
    "INSERT INTO users VALUES (42, 'ann@crm.example', 'remember'), (43, 'bob@crm.example', 'remember')",
    "INSERT INTO sessions VALUES ('s1', 42, NULL, NULL, '', 1), ('s2', 42, NULL, NULL, '', 1),"
    " ('s3', 43, NULL, NULL, '', 1), ('s4', NULL, NULL, NULL, '', 1)",
)
ESPOCRM = (
    "CREATE TABLE auth_token (id VARCHAR(17) PRIMARY KEY, token VARCHAR(36), user_id VARCHAR(17),"
    " is_active TINYINT(1) NOT NULL DEFAULT 1, KEY IDX_USER_ID (user_id))",
    "INSERT INTO auth_token VALUES ('t1', 'x', 'ann', 1), ('t2', 'y', 'ann', 1), ('t3', 'z', 'bob', 1)",
)
STORE = """
[[session_stores]]
name = "{preset}"
kind = "sql"
preset = "{preset}"
url = "mysql://crm:s%20cret@127.0.0.1:{port}/{database}"
subject = "{{externalId}}"
gate_statement = "default"
"""


def make(mariadb: Any, preset: str, statements: tuple[str, ...]) -> tuple[str, Callable[[str], Any]]:
    """A database, the account that the server uses, and a way to look into it."""
    database = mariadb.create_database(*GATES, *statements)
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER IF NOT EXISTS crm@'%' IDENTIFIED BY 's cret'")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO crm@'%'")

    def rows(sql: str) -> Any:
        with mariadb.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return STORE.format(preset=preset, port=mariadb.port, database=database), rows


def test_laravel(mariadb: Any, provisioned: Callable[[str], Entra]) -> None:
    store, rows = make(mariadb, "laravel", LARAVEL)
    entra = provisioned(store)
    checked = entra.command("sessions", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rights needed" in checked.stdout
    user_id = entra.create("42", "ann@crm.example")

    receipt = entra.set_active(user_id, active=False)
    assert receipt.startswith("done; sessions=3;"), receipt  # two sessions and a remember-me token
    assert rows("SELECT id FROM sessions ORDER BY id") == (("s3",), ("s4",))
    assert rows("SELECT id, remember_token FROM users ORDER BY id") == ((42, None), (43, "remember"))
    ((subject, epoch, denied, not_before),) = rows("SELECT * FROM scim_gate WHERE subject = '42'")
    assert (subject, denied) == ("42", 1)
    assert not_before <= epoch

    entra.set_active(user_id, active=True)
    ((_, later, denied, _),) = rows("SELECT * FROM scim_gate WHERE subject = '42'")
    assert later > epoch
    assert denied == 0
    assert entra.delete(user_id).startswith("done; sessions=0;")
    assert rows("SELECT denied FROM scim_gate WHERE subject = '42'") == ((1,),)


def test_espocrm(mariadb: Any, provisioned: Callable[[str], Entra]) -> None:
    store, rows = make(mariadb, "espocrm", ESPOCRM)
    entra = provisioned(store)
    user_id = entra.create("ann", "ann@crm.example")
    assert entra.set_active(user_id, active=False).startswith("done; sessions=2;")
    assert rows("SELECT id, is_active FROM auth_token ORDER BY id") == (("t1", 0), ("t2", 0), ("t3", 1))
    assert rows("SELECT denied FROM scim_gate WHERE subject = 'ann'") == ((1,),)


def test_a_subject_that_is_no_number_ends_nobody_else(mariadb: Any, provisioned: Callable[[str], Entra]) -> None:
    """MySQL reads '42abc' as 42: the receipt must not say done, and user 42 stays signed in."""
    store, rows = make(mariadb, "laravel", LARAVEL)
    entra = provisioned(store)
    user_id = entra.create("42abc", "ann@crm.example")
    assert not entra.set_active(user_id, active=False).startswith("done")
    assert len(rows("SELECT * FROM sessions")) == 4
