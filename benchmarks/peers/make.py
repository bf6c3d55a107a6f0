"""Makes the peers' environment: benchmarks/peers/.venv, or the folder that is named.

    python benchmarks/peers/make.py

Prints its interpreter, which `compare.py --peers` takes. Where it is there already and its requirements are
unchanged, nothing is done.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"


def make(folder: Path) -> Path:
    """Return the environment's interpreter, making it where it is missing or outdated."""
    python = folder / "bin" / "python"
    stamp = folder / "requirements.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "uv"], check=True)
    environment = dict(os.environ)
    if "PIP_FIND_LINKS" in environment:
        environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
        backend = []
    else:
        backend = ["--torch-backend=auto"]
    command = [str(folder / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(python), *backend]
    subprocess.run([*command, "--requirement", str(REQUIREMENTS)], check=True, env=environment)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def main() -> int:
    """Make it and say where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=HERE / ".venv")
    print(make(parser.parse_args().folder.absolute()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
