"""The project about itself: arrows between its parts, manifest, version, settings page, what CI promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import napari_ifkd
from napari_ifkd.config import validated

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False, **options)


def test_imports_point_up_the_house() -> None:
    pytest.importorskip("importlinter")
    found = run("-c", "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert found.returncode == 0, found.stdout + found.stderr


def test_every_part_is_in_the_contracts() -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    no_qt = {name.split(".")[1] for name in contracts[-1]["source_modules"]}
    folder = ROOT / "src" / "napari_ifkd"
    parts = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - no_qt <= {"_plugin", "__init__", "__main__"}


def test_manifest_is_valid() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(ROOT / "src" / "napari_ifkd" / "napari.yaml")
    assert manifest.name == "napari-ifkd"
    assert all(command.id.startswith("napari-ifkd.") for command in manifest.contributions.commands)
    if find_spec("napari") is None:  # headless: what the commands import is not there
        return
    found = run("-m", "npe2", "validate", "napari-ifkd", "--imports")
    assert found.returncode == 0, found.stdout + found.stderr


def test_installed_version_is_that_of_the_file() -> None:
    assert version("napari-ifkd") == napari_ifkd.__version__
    assert f"version: {napari_ifkd.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[(Unreleased|{re.escape(napari_ifkd.__version__)})\]", changes, re.MULTILINE)


def test_settings_page_is_up_to_date() -> None:
    found = run("scripts/make_config_docs.py", "--check")
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_settings_shown_in_the_documents_are_settings(page: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL):
        validated(yaml.safe_load(block), page)


def test_every_setting_is_explained() -> None:
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    silent = [line for line in page.splitlines() if line.startswith("| `") and line.split("|")[-2].strip() == ""]
    assert silent == []


def test_links_of_the_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    broken = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_navigation_lists_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", text))
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    yaml.safe_load(text)


def test_command_line_page_names_every_command() -> None:
    from typer.main import get_command

    from napari_ifkd.cli import app

    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    missing = [name for name in get_command(app).commands if f"napari-ifkd {name}" not in page]  # type: ignore[attr-defined]
    assert missing == []


def test_no_requirement_brings_napari_or_a_qt_binding() -> None:
    named = " ".join(PYPROJECT["project"]["dependencies"]).lower()
    assert not re.search(r"\b(napari|pyqt[56]|pyside[26])\b", named)


IMPORTED_AS = {"opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml", "scikit-image": "skimage"}


def test_requirements_are_what_the_code_imports() -> None:
    """Nothing is imported that another package happens to bring, and nothing required that is not used."""
    required = import_names(PYPROJECT["project"]["dependencies"])
    imported = third_party_imports("src")
    extras = PYPROJECT["project"]["optional-dependencies"]
    optional = import_names(extras["all"])
    assert optional <= imported - required <= optional | import_names(extras["dicom"]) | import_names(extras["parquet"])
    assert required <= imported
    groups = {"benchmarks": import_names(PYPROJECT["dependency-groups"]["bench"])}
    for folder in ("tests", "scripts", "benchmarks"):
        assert third_party_imports(folder) <= required | optional | import_names(extras["test"]) | groups.get(folder, set()), folder


def import_names(requirements: list[str]) -> set[str]:
    names = {re.split(r"[\[<>=;, ]", requirement)[0] for requirement in requirements}
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


def third_party_imports(folder: str) -> set[str]:
    imported: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).split(".")[0])
    beside = {path.stem for place in (folder, "scripts") for path in (ROOT / place).glob("*.py")}
    return imported - sys.stdlib_module_names - beside - {"napari_ifkd", "napari_builtins"}  # the latter is part of napari


def test_ci_is_the_test_command_of_the_readme() -> None:
    assert "./dev test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    first_block = (ROOT / "README.md").read_text(encoding="utf-8").split("```")[1]
    assert "./dev demo" in first_block
    assert "./dev test" in first_block
