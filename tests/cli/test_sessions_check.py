"""`sessions check` where there is nobody to check for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from termination.conftest import migrate
from termination.crm import SqlCrm
from termination.process import toml_of


def run(folder: Path, crm: SqlCrm, *words: str) -> "subprocess.CompletedProcess[str]":
    config = folder / "scim-server.toml"
    config.write_text(toml_of(crm.entry))
    return subprocess.run(
        [sys.executable, "-m", "scim_server", *words],
        env={**os.environ, "SCIM_CONFIG": str(config), "SCIM_DATABASE_URL": f"sqlite:///{folder}/scim.db"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("tenant", [None, "acmee"])
def test_a_store_that_concerns_no_tenant_is_a_fault(tenant: str | None, tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/scim.db")
    crm = SqlCrm(tmp_path / "crm.db", **({"tenant": tenant} if tenant else {}))
    checked = run(tmp_path, crm, "sessions", "check")
    assert checked.returncode == 1
    assert "concerns no tenant that is there" in checked.stdout, checked.stderr


@pytest.mark.parametrize(
    ("subject", "unknown"),
    [
        ("{external_id}", "external_id"),
        ("{name.surname}", "name.surname"),
        ("{tenant}/{externalid}", None),
        ("{id}", None),
        ("{name.familyName}", None),
        ("{urn:example:crm:User:number}", None),
    ],
)
def test_a_subject_that_no_user_can_have_is_a_fault_before_there_are_users(
    subject: str, unknown: str | None, tmp_path: Path
) -> None:
    migrate(f"sqlite:///{tmp_path}/scim.db")
    crm = SqlCrm(tmp_path / "crm.db", subject=subject)
    run(tmp_path, crm, "tenant", "create", "acme")
    checked = run(tmp_path, crm, "sessions", "check")
    assert checked.returncode == (1 if unknown else 0), checked.stdout
    assert (f"users have no attribute {unknown}" in checked.stdout) == bool(unknown)
