"""What a power failure would leave: a record of flushes and renames, and what is certain by them.

A kill shows nothing of a missing flush, since the kernel still writes what a dead process wrote. So the calls that
make things durable are watched. A file's content is certain when it was flushed as it is; a name is certain when its
directory was flushed while it had the name. A rename gives a name to something that is not certain yet: that is
remembered, because a power failure between the two would leave an empty file under a good name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_Version = tuple[int, int]


class Durability:
    """Watches this process's calls from now on; things that were there before are not certain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._content: dict[tuple[int, int], _Version] = {}
        self._names: dict[tuple[int, int], dict[str, int]] = {}
        self.too_early: list[str] = []
        """Renames of files that were not flushed as they are, and removals before the new name was certain."""
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._after(getattr(os, name), self._flushed))
        for name in ("rename", "replace", "link"):
            monkeypatch.setattr(os, name, self._before(getattr(os, name), self._renaming))

    def holds(self, path: Path, below: Path) -> bool:
        """Whether the path, its content and every name on the way down from `below` would be left."""
        content = not path.is_file() or self.is_flushed(path)
        return content and self._is_named(path, below)

    def is_gone(self, path: Path) -> bool:
        """Whether the name would be absent: its directory was flushed without it."""
        return path.name not in self._names.get(_key(path.parent), {path.name: 0})

    def _is_named(self, path: Path, below: Path) -> bool:
        while path != below:
            if self._names.get(_key(path.parent), {}).get(path.name) != path.lstat().st_ino:
                return False
            path = path.parent
        return True

    def is_flushed(self, path: Path) -> bool:
        """Whether the content would be left, under whatever name."""
        return self._content.get(_key(path)) == _version(path)

    def _flushed(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        self._content[_key(path)] = _version(path)
        if path.is_dir():
            self._names[_key(path)] = {each.name: each.stat(follow_symlinks=False).st_ino for each in os.scandir(path)}

    def _renaming(self, source: Any, target: Any) -> None:
        path = Path(source)
        files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
        self.too_early += [f"{each} -> {target}" for each in files
                           if not self.is_flushed(each) or (each != path and not self._is_named(each, path))]

    def _after(self, real: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            result = real(*arguments, **named)
            note(*arguments)
            return result
        return called

    def _before(self, real: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            note(*arguments)
            return real(*arguments, **named)
        return called


def _key(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _version(path: Path) -> _Version:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
