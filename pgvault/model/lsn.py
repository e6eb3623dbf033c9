"""WAL positions (PostgreSQL's `pg_lsn`)."""

from __future__ import annotations

import re

_FORM = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class Lsn(int):
    """A byte position in the WAL: an integer that is written as `16/B374D848`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """Parse PostgreSQL's notation; ValueError for any other text."""
        match = _FORM.fullmatch(text.strip())
        if not match:
            raise ValueError(f"not a WAL position: {text!r}; write it as 16/B374D848")
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({str(self)!r})"
