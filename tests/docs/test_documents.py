"""What the documents say is what the code does."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_drawings_in_the_design_document_are_those_of_the_tables() -> None:
    check = subprocess.run([sys.executable, "docs/diagrams.py", "--check"], cwd=ROOT, check=False)
    assert check.returncode == 0, "run python docs/diagrams.py"
