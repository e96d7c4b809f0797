"""Named parameters are found where SQL has them and nowhere else."""

import pytest

from scim_server.sessions.sql_statement import Statement, StatementError, bound


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("DELETE FROM s WHERE u = :subject AND t=:tenant OR u=:subject", ("subject", "tenant")),
        ("SELECT ':no', \":no\", `:no`, 'it''s :no' -- :no\n, :yes", ("yes",)),
        ("SELECT E'\\' :no', :yes /* :no\n:no */", ("yes",)),
        ("SELECT $$ :no $$, $a$ $$ :no $a$, :yes", ("yes",)),
        ("SELECT x::text, :yes::int, arr[1:2], @a := 3", ("yes",)),
        ("SELECT 1", ()),
    ],
)
def test_names(text: str, names: tuple[str, ...]) -> None:
    assert Statement.parse(text).names() == names


def test_what_each_driver_is_given() -> None:
    statement = Statement.parse("UPDATE s SET p = '100%' WHERE u = :u AND e < :e OR u = :u")
    assert statement.numbered() == "UPDATE s SET p = '100%' WHERE u = $1 AND e < $2 OR u = $1"
    assert statement.formatted() == "UPDATE s SET p = '100%%' WHERE u = %(u)s AND e < %(e)s OR u = %(u)s"
    assert statement.named() == "UPDATE s SET p = '100%' WHERE u = :u AND e < :e OR u = :u"
    assert bound(statement, {"u": 1, "e": 2, "more": 3}) == {"u": 1, "e": 2}


@pytest.mark.parametrize("text", ["", "  ; ", "SELECT 'open", 'SELECT "open', "SELECT /* open", "SELECT `x"])
def test_what_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(StatementError):
        Statement.parse(text)
