"""The stored plan of a job: `plan.toml` in the job's directory."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w

from pgvault.jobs.encoding import plain
from pgvault.model.errors import PgvaultError
from pgvault.model.secrets import masked
from pgvault.store.files import write_durably

PLAN = "plan.toml"


def write_plan(directory: Path, plan: object) -> None:
    """Durably store a plan, a dataclass or a mapping. A None has no key, since TOML has no null."""
    document = _document(plan)
    if not isinstance(document, dict):
        raise TypeError(f"a plan is a dataclass or a mapping, not {type(plan).__name__}")
    write_durably(directory / PLAN, tomli_w.dumps(document).encode("utf-8", "backslashreplace"))


def read_plan(directory: Path) -> dict[str, Any]:
    """Return the stored plan; empty if the job has none yet."""
    try:
        return tomllib.loads((directory / PLAN).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PgvaultError(f"could not read the plan of job {directory.name}", detail=str(error)) from None


def _document(value: object) -> Any:
    if isinstance(value, datetime):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _document(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_document(item) for item in value if item is not None]
    text = plain(value)
    return masked(text) if isinstance(text, str) else text
