"""Run a command on the display there is, or on a virtual one: ``python scripts/with_display.py COMMAND...``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys


def main(command: list[str]) -> int:
    """Run the command; return its exit status."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        if not shutil.which("xvfb-run"):
            print("There is no display and no xvfb-run. On Debian or Ubuntu: sudo apt-get install xvfb xauth", file=sys.stderr)
            return 1
        command = ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 1920x1200x24", *command]
        # software rendering through X, whatever the session was
        return subprocess.call(command, env={**os.environ, "QT_QPA_PLATFORM": "xcb"})
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
