"""The pictures of the command line, from a real run of the demonstration."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pgvault.console.dump import self_contained

HERE = Path(__file__).resolve().parent
WIDTH = 120
PICTURES = {"check.svg": "Check", "restore.svg": "Restore it", "proof.svg": "Query the restored"}
"""File name to the beginning of the title of the step that it shows."""


def played() -> list[str]:
    """What the demonstration said, a text for each of its steps."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        place = Path(parent) / "demo"
        argv = [sys.executable, "-m", "pgvault", "--color", "always", "demo", "--headless", "--dir", str(place)]
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    said = said.replace(str(place), "/srv/demo").replace(str(HERE.parent), "/opt/pgvault")
    return re.split(r"\n(?=\S*\s?\d+\. )", said)


def main() -> None:
    steps = played()
    for name, title in PICTURES.items():
        step = next(each for each in steps if re.search(rf"\d+\. {title}", each.split("\n", 1)[0]))
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi(step.strip("\n")))
        svg = console.export_svg(title="pgvault")
        (HERE / name).write_text(self_contained(svg), "utf-8")
        print(name, flush=True)
