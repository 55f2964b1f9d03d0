"""The script behind the README's two commands: what it installs, what it only names, and whose package index it uses."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="system packages are looked after on Linux only")


@pytest.fixture
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", ROOT / "scripts" / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def installed(dev, monkeypatch) -> list[str]:
    """A Debian without a window system; returns what was installed."""
    packages: list[str] = []
    monkeypatch.setattr(dev, "loads", lambda library: False)
    monkeypatch.setattr(dev, "find_spec", lambda name: None)
    monkeypatch.setattr(dev.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(dev, "apt_install", packages.extend)
    monkeypatch.delenv("DISPLAY", raising=False)
    return packages


@on_linux
def test_root_on_debian_installs_what_is_missing(dev, installed, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    dev.ensure_system(testing=True)
    assert {"libxcb-cursor0", "libegl1", "xvfb", "xauth", "git", f"python3.{sys.version_info.minor}-venv"} <= set(installed)


@on_linux
def test_a_user_is_told_the_command_and_nothing_is_installed(dev, installed, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    dev.ensure_system(testing=False)
    assert installed == []
    told = capsys.readouterr().err
    assert "sudo apt-get install libgl1 " in told
    assert "xvfb" not in told


@on_linux
def test_a_complete_system_is_left_alone(dev, installed, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(dev, "loads", lambda library: True)
    monkeypatch.setattr(dev, "find_spec", lambda name: object())
    dev.ensure_system(testing=False)
    assert installed == []
    assert capsys.readouterr().err == ""


def test_uv_takes_the_index_and_certificates_of_pip(dev, monkeypatch):
    told = "global.index-url='https://packages.example/simple'\nglobal.cert='/etc/certificates.pem'\n:env:.index-url='https://nearer.example/simple'\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=told))
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    settings = dev.uv_environment()
    assert settings["UV_DEFAULT_INDEX"] == "https://nearer.example/simple"
    assert settings["SSL_CERT_FILE"] == "/etc/certificates.pem"
    monkeypatch.setenv("UV_INDEX_URL", "https://own.example/simple")
    assert "UV_DEFAULT_INDEX" not in dev.uv_environment()


def test_shell_entry_runs(tmp_path):
    if not Path("/bin/sh").exists():
        pytest.skip("no /bin/sh here; scripts/dev.py is the entry")
    found = subprocess.run(["/bin/sh", str(ROOT / "dev"), "--help"], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert found.returncode == 0, found.stderr
    assert "demo" in found.stdout
