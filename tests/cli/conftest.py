"""The command line, in this process."""

from __future__ import annotations

import pytest

from napari_ifkd import cli


class Said:
    """Exit status and output of a command."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the command line in this process."""
    monkeypatch.setattr("napari_ifkd.runs.allocator.keep_freed_memory", lambda: False)  # for a process of its own only

    def call(*words: object) -> Said:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Said(int(end.value.code or 0), out, err)

    return call
