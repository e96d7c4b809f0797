"""The RFCs' own rules, one file a section: rfc7644-3.5.2.1-add.json."""

from pathlib import Path

import pytest
from idp.dialogues import play
from web.serving import Server

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(file.name for file in HERE.glob("*.json")))
async def test_sample(server: Server, name: str) -> None:
    await play(server, (HERE / name).read_text("utf-8"))
