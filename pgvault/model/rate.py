"""Sizes and rates that people type and read: `50MB`, `50MB/s`, in PostgreSQL's units.

As in postgresql.conf, each unit is 1024 times the one before it, and units are case-sensitive (documentation, 19.1.1),
because `Mb` is a megabit to a network engineer. Sizes that are only shown are formatted by pgvault.model.text.
"""

from __future__ import annotations

import re

_FORM = r"\s*([0-9]{1,12})(?:\.([0-9]{1,6}))?\s*([A-Za-z]+)\s*"
_FACTORS = {"B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_SPELLINGS = {"KB": "kB", "KiB": "kB", "MiB": "MB", "GiB": "GB", "TiB": "TB"}
LARGEST = 2**63 - 1


def parse_size(text: str) -> int:
    """Return the bytes that a number and a unit name. ValueError lists the accepted units. A bare number is refused."""
    match = re.fullmatch(_FORM, text)
    factor = _FACTORS.get(_SPELLINGS.get(match[3], match[3])) if match else None
    if match is None or factor is None:
        raise ValueError(f"not a size: {text[:40]!r}; write a number and one of B, kB, MB, GB, TB "
                         "(each unit is 1024 times the one before it; units are case-sensitive)")
    digits = match[2] or ""
    size: int = int(match[1] + digits) * factor // 10 ** len(digits)
    if size > LARGEST:
        raise ValueError(f"{text.strip()!r} is more than 8 million TB")
    return size


def format_size(size: int) -> str:
    """Return `50MB`, exact, in the largest unit that divides it, as `parse_size` reads."""
    for unit, factor in reversed(_FACTORS.items()):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def parse_rate(text: str) -> int:
    """Return the bytes per second, at least 1, of `50MB/s` (or `50MB`, as in PostgreSQL's own --max-rate)."""
    amount = text.strip().removesuffix("/s")
    try:
        rate = parse_size(amount)
    except ValueError as error:
        raise ValueError(str(error).replace("not a size", "not a rate", 1)) from None
    if rate < 1:
        raise ValueError(f"{text.strip()!r} would never send anything")
    return rate


def format_rate(rate: int) -> str:
    return f"{format_size(rate)}/s"
