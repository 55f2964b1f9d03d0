"""Write docs/config.md from the settings themselves: ``python scripts/make_config_docs.py [--check]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel

from napari_ifkd.config import Config, dump_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PAGE = Path(__file__).resolve().parents[1] / "docs" / "config.md"

HEAD = """# Settings

Every setting has a default; a YAML file given with `--config FILE` names only those that differ. An unknown name or a value outside
its limits is an error that lists all problems at once. Options of the command line win over the file. The settings a run really
used stand in its `run.yaml`.

```yaml
# settings.yaml
seed: 1
rounds:
  epochs: 5
inference:
  threshold: 0.45
```

"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    for path, model in sections(Config, ""):
        summary = (model.__doc__ or "").strip().splitlines()[0]
        parts.append(f"## {f'`{path}`' if path else 'Top level'}\n\n{summary}\n\n")
        parts.append("| setting | default | values | meaning |\n| --- | --- | --- | --- |\n")
        parts += [row(name, info) for name, info in model.model_fields.items() if not is_section(info)]
        parts.append("\n")
    parts.append(f"## All defaults\n\n```yaml\n{dump_config(Config())}```\n")
    return "".join(parts)


def sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield a model and those nested in it, with their dotted paths."""
    yield path, model
    for name, info in model.model_fields.items():
        if is_section(info):
            yield from sections(info.annotation, f"{path}.{name}" if path else name)  # type: ignore[arg-type]


def is_section(info: FieldInfo) -> bool:
    """Tell whether a field holds settings of its own."""
    return isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)


def row(name: str, info: FieldInfo) -> str:
    """Return the table row of one setting."""
    cells = (f"`{name}`", f"`{shown(info.get_default())}`", values(info), info.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def shown(value: object) -> str:
    """Write a default as YAML would have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def values(info: FieldInfo) -> str:
    """Tell what a setting may be: choices or limits."""
    literals = [option for option in (info.annotation, *get_args(info.annotation)) if get_origin(option) is Literal]
    choices = [str(choice) for literal in literals for choice in get_args(literal)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    signs = {"Ge": ("ge", "≥"), "Gt": ("gt", ">"), "Le": ("le", "≤"), "Lt": ("lt", "<")}
    limits = []
    for limit in info.metadata:
        if isinstance(limit, annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt):
            attribute, sign = signs[type(limit).__name__]
            limits.append(f"{sign} {getattr(limit, attribute)}")
    return ", ".join(limits)


def main() -> int:
    """Write the page, or with --check only compare it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE} is out of date; run python scripts/make_config_docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
