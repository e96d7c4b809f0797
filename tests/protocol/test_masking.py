"""What is kept of a request names nobody."""

import pytest

from scim_server.protocol.masking import masked


@pytest.mark.parametrize("condition", ['"ada"', "'ada'", '"ada', "'ada", '"a\\"da"'])
def test_no_quotes_let_a_value_through(condition: str) -> None:
    path = f"emails[value eq {condition}"
    shown = masked({"Operations": [{"op": "remove", "path": path}], path: "ada"})
    assert shown == {"Operations": [{"op": "remove", "path": 'emails[value eq "***"'}], 'emails[value eq "***"': "a***"}


def test_a_path_without_values_stays() -> None:
    assert masked({"path": "name.givenName"}) == {"path": "name.givenName"}
