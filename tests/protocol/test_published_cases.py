"""Published cases in the folder that SCIM_VECTORS names: filters, matches, paths, PATCH. `make vectors ARGS=folder`."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from protocol import vectors

pytestmark = pytest.mark.vectors


@pytest.mark.parametrize("name", ["filter-syntax", "filter-match", "paths", "patch-scimmy"])
def test_uncontested_cases(name: str, record_property: Callable[[str, object], None]) -> None:
    report = vectors.run(Path(os.environ["SCIM_VECTORS"]), name)
    record_property(name, ", ".join(f"{number} {verdict}" for verdict, number in report.counts.items()))
    assert not report.missed, "\n".join(report.missed)
