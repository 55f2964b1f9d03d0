"""Set up and run the main job (``demo``) or all tests (``test``) in a fresh clone; the standard library only.

Everything Python goes into ``.venv``. What the window needs from the system is installed by apt where we are root on Debian;
elsewhere the one command that installs it is printed and the work goes on as far as it can.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
TESTS = "lint,types,headless,viewer"

# Qt's xcb platform and OpenGL: library -> Debian package
LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libOpenGL.so.0": "libopengl0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
}
PROGRAMS = {"git": "git", "xvfb-run": "xvfb", "xauth": "xauth"}  # tests only; xvfb-run needs xauth


def main() -> int:
    """Do what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="dev", description="Set up and run the main job, or all tests.")
    parser.add_argument("what", choices=("demo", "test", "setup"), help="demo: the main job; test: every check; setup: only make .venv")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="handed on to `napari-ifkd demo`, or to pytest")
    asked = parser.parse_args()
    os.chdir(ROOT)
    try:
        ensure_system(testing=asked.what == "test")
        ensure_venv()
        settings = uv_environment()
        if asked.what == "test":
            install(settings, "tox>=4.40", "tox-uv>=1.25")
            rest = [word for word in asked.rest if word != "--"]
            return subprocess.call([BIN / "tox", "run", "-e", TESTS, *(["--", *rest] if rest else [])], env=settings)
        install(settings, "-e", ".[all]")
        if asked.what == "setup":
            say(f"Ready: {BIN / 'napari'} opens napari, {BIN / 'napari-ifkd'} is the command line.")
            return 0
        out = [] if "--out" in asked.rest else ["--out", "demo-out"]
        return subprocess.call([BIN / "napari-ifkd", "demo", *out, *asked.rest], env=settings)
    except subprocess.CalledProcessError as error:
        say(f"This failed (exit status {error.returncode}): {' '.join(map(str, error.cmd))}")
        return 1


def say(text: str) -> None:
    """Print a line at once, also where the output is a file."""
    print(f"[dev] {text}", file=sys.stderr, flush=True)


def ensure_system(*, testing: bool) -> None:
    """Install, or name, what Linux lacks for a window (and the tests for git and a virtual screen)."""
    if not sys.platform.startswith("linux"):
        return
    missing = [package for library, package in LIBRARIES.items() if not loads(library)]
    if find_spec("ensurepip") is None:  # Debian splits off what venv needs
        missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    if testing:
        screen = os.environ.get("DISPLAY")
        missing += [package for program, package in PROGRAMS.items() if not shutil.which(program) and not (screen and package != "git")]
    if not missing:
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        apt_install(missing)
        return
    hint = f"sudo apt-get install {' '.join(missing)}" if shutil.which("apt-get") else f"Debian calls them {' '.join(missing)}"
    say(f"The system lacks what a napari window or the set-up needs; going on as far as it goes. To mend it: {hint}")


def loads(library: str) -> bool:
    """Tell whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def apt_install(packages: list[str]) -> None:
    """Install Debian packages; we are root."""
    say(f"Installing Debian packages: {' '.join(packages)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    patient = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]  # another apt may be at work
    subprocess.run([*patient, "update"], check=True, env=quiet, stdout=subprocess.DEVNULL)
    subprocess.run([*patient, "install", "-y", "--no-install-recommends", *packages], check=True, env=quiet, stdout=subprocess.DEVNULL)


def ensure_venv() -> None:
    """Make ``.venv`` with a working pip, unless it is there."""
    if has_pip():
        return
    make = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(make, check=False, capture_output=True).returncode == 0 and has_pip():
        return
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "-q", "--clear", "--seed", "--python", sys.executable, str(VENV)], check=True)
    else:
        say("This Python cannot make a virtual environment")
        subprocess.run(make, check=True)


def has_pip() -> bool:
    """Tell whether ``.venv`` works."""
    return PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0


def uv_environment() -> dict[str, str]:
    """Return the environment for uv and tox, with the package index and certificates that pip is configured for.

    uv reads no pip.conf; whoever installs from a company's index has only that.
    """
    settings = {**os.environ, "VIRTUAL_ENV": str(VENV), "PATH": os.pathsep.join((str(BIN), os.environ.get("PATH", "")))}
    settings.setdefault("UV_HTTP_TIMEOUT", "300")  # torch comes in wheels of hundreds of megabytes
    told = subprocess.run([PYTHON, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True).stdout
    pip = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    for option, name, older_name in (("index-url", "UV_DEFAULT_INDEX", "UV_INDEX_URL"), ("cert", "SSL_CERT_FILE", "SSL_CERT_FILE")):
        values = [pip.get(f"{scope}.{option}", "").strip("'\"") for scope in (":env:", "global")]
        if any(values) and older_name not in settings:
            settings.setdefault(name, next(value for value in values if value))
    return settings


def install(settings: dict[str, str], *what: str) -> None:
    """Install into ``.venv`` with uv, which pip brings."""
    say(f"Installing {' '.join(word for word in what if word != '-e')} (the first time this downloads about 3 GB for torch)")
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv>=0.6"], check=True, env=settings)
    subprocess.run([BIN / "uv", "pip", "install", "-q", "--python", PYTHON, *what], check=True, env=settings)


if __name__ == "__main__":
    sys.exit(main())
