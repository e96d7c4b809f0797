"""`sessions check` where there is nobody to check for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from termination.conftest import migrate
from termination.crm import SqlCrm
from termination.process import toml_of


@pytest.mark.parametrize("tenant", [None, "acmee"])
def test_a_store_that_concerns_no_tenant_is_a_fault(tenant: str | None, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/scim.db"
    migrate(url)
    crm = SqlCrm(tmp_path / "crm.db", **({"tenant": tenant} if tenant else {}))
    config = tmp_path / "scim-server.toml"
    config.write_text(toml_of(crm.entry))
    checked = subprocess.run(
        [sys.executable, "-m", "scim_server", "sessions", "check"],
        env={**os.environ, "SCIM_CONFIG": str(config), "SCIM_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    assert "concerns no tenant that is there" in checked.stdout, checked.stderr
