"""Runs a page as a reader would: its blocks of bash and Python from the top, in one folder, with what they print."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```(bash|python|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INSTALLS = ("pip install", "pipx run")
"""Commands whose effect a test has already."""
CHANGES = re.compile(r"(\d+ h )?(\d+ min )?\b\d+ s\b|http://\S+|/\S*(?=bedrock-assets-demo)")
"""What differs from run to run: times, addresses, and the folder of the test."""


def printed(page: str, folder: Path) -> Iterator[tuple[str, str | None]]:
    """
    What each block printed, and what the page shows that it prints: None where it shows nothing.

    Commands run in *folder*, which has to be the current one, as it is that of the blocks of Python.
    """
    names: dict[str, Any] = {"__name__": "walk"}
    blocks = BLOCK.findall(page)
    for (language, code), (next_language, text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language != "text":
            out = _of_bash(code, folder) if language == "bash" else _of_python(code, names)
            yield plain(out), plain(text) if next_language == "text" else None


def plain(text: str) -> str:
    """The text without what differs from run to run, and without spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in CHANGES.sub("*", text).splitlines()).strip()


def _of_bash(code: str, folder: Path) -> str:
    lines = [line for line in code.splitlines() if not line.startswith(INSTALLS)]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "100"}
    done = subprocess.run(
        ["/bin/bash", "-euc", "\n".join(lines)], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _of_python(code: str, names: dict[str, Any]) -> str:
    out = StringIO()
    with redirect_stdout(out):
        exec(code, names)  # noqa: S102 - the page's own code
    return out.getvalue()
