"""Metrics of several processes, which meet in files."""

import os
import subprocess
import sys
from pathlib import Path


def _run(folder: Path, program: str) -> str:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", f"from scim_server import metrics; {program}"]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_a_process_that_died_says_nothing_of_the_state_of_a_store(tmp_path: Path) -> None:
    _run(tmp_path, "metrics.store_up.labels('crm').set(0); metrics.mending.labels('crm').set(1)")
    said = _run(
        tmp_path,
        "metrics.store_up.labels('crm').set(1); metrics.mending.labels('crm').set(0); print(metrics.render().decode())",
    )
    assert 'scim_session_store_up{store="crm"} 1.0' in said
    assert 'scim_store_mending{store="crm"} 0.0' in said


def test_what_it_counted_still_counts(tmp_path: Path) -> None:
    _run(tmp_path, "metrics.unresolved.labels('crm').inc()")
    said = _run(tmp_path, "metrics.unresolved.labels('crm').inc(); print(metrics.render().decode())")
    assert 'scim_unresolved_total{store="crm"} 2.0' in said
