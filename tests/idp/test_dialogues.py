"""What each identity provider is known to send, and what it needs back: <client>/NN-name.json."""

from pathlib import Path

import pytest
from idp.dialogues import play
from web.serving import Server

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(str(file.relative_to(HERE)) for file in HERE.glob("*/*.json")))
async def test_dialogue(server: Server, name: str) -> None:
    await play(server, (HERE / name).read_text("utf-8"))
