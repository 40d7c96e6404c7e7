"""Files that are there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """A small file; what was there before stays where the writing fails."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """The same of a document.

    Raises:
        ValueError: for a number that JSON has not, such as NaN.
    """
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")
