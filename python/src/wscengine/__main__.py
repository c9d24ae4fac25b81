"""`python -m wscengine URL` is the command-line client `wsc`, which comes with the package."""

import os
import sys
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    tool = Path(__file__).with_name("wsc")
    if not tool.exists():
        sys.exit(f"wscengine: {tool} is missing: the package was built without it")
    os.execv(tool, ["wsc", *sys.argv[1:]])


if __name__ == "__main__":
    main()
