"""Masking of secrets. Every text that is stored or shown passes it, since any text may contain what somebody put into
it.

Secrets are recognized by their syntax. If a text can be read in two ways, the longer value is masked. A quoted word is
masked within its quotes, so that a shell can still read the command.
"""

from __future__ import annotations

import re
import shlex
from functools import cache

MASK = "***"

_WORD = r"(?:password|passwd|passphrase|secret|token|credential|signature" \
        r"|(?:access|secret|private|api|client|server|encryption|cipher|auth|account|storage|shared|master|signing" \
        r"|jwt|libsodium|azure|s3|sas)[-_]?key(?!file|path)|(?<![a-z])(?:pass|sig)(?![a-z])|_pwd)"
_HARMLESS = "".join(f"(?<![-_]{end})" for end in ("file", "path", "encryption", "timeout", "id"))
"""Endings of names that hold no secret: `password_encryption`, `PASSWORD_FILE`."""
_NAME = rf"(?<![\w-])(?>[\w-]*?{_WORD}[\w-]*+){_HARMLESS}"
_QUOTED = r"""(?:'(?:[^'\\]|\\[^'])*(?:'|\\'.*'|\\')|"(?:[^"\\]|\\.)*")"""
"""Whether `\\'` ends the word depends on the program that reads it, so the longest match is taken."""
_QUOTED_BY_SHELL = r"""(?:'[^']*'|"(?:[^"\\]|\\.)*")"""
_PLAIN = r"""(?:(?![,;)]+(?:\s|\Z))[^\s'"\\]|\\(?:.|\Z))"""


def _to_its_end(quoted: str) -> str:
    """Return the pattern of a value up to its closing quote, or to the end of the text if it has none."""
    return rf"""(?:(?:{quoted}|{_PLAIN})(?:{quoted}|{_PLAIN}|['"])*|['"].*)"""


_VALUE, _ARGUMENT = _to_its_end(_QUOTED), _to_its_end(_QUOTED_BY_SHELL)

_SHAPES = {
    "JSON": rf"""(["']{_NAME}["']\s*:\s*(?P<quote>["'])?)"""
            r"(?(quote)(?:(?!(?P=quote))[^\\]|\\.)*|[^\s,}\]]+)",
    "a URI's option": rf"((?<=[?&]){_NAME}=)(?:{_QUOTED}|[^\s&])+",
    "a variable, a setting, an option": rf"({_NAME}\s*:?=+>?\s*){_VALUE}",
    "an option's argument": rf"((?=--(?!no-)){_NAME}\s+(?!-)){_ARGUMENT}",
    "openssl": r"((?-i:\bopenssl(?:\s+[^\s|;&'\"]+){0,20}?\s+-(?:[kK]\s+|pass(?:in|out)?\s+pass:)))" + _ARGUMENT,
    "sshpass": rf"((?-i:\bsshpass(?:\s+-(?:[ehvV]+|[Pf]\s*{_ARGUMENT}))*\s+-p)\s*){_ARGUMENT}",
    "SQL": rf"({_NAME}\s+(?=e?')e?)(?:{_QUOTED}+|(?:'[^']*')+)",
    "a line of a password file": r"((?<!\S)[^\s:]+:(?:\d{4,5}|\*):[^\s:]+:[^\s:]+:)\S+",
    "curl": r"""((?<=\s)(?:-u|--user)\s+["']?[^\s:'"]*:)(?!\d+(?:\s|\Z))[^\s'"]+""",
    "an HTTP header": r"""(\b(?:[a-z]+-)+(?:key|token|secret|password)\s*:\s+)[^\s'"]+""",
    "HTTP": r"""(\bauthorization["']?\s*[:=]\s*["']?(?:basic|bearer)\s+)[^\s"']+""",
    "a URI's password": r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://[^\s/:@?#]*:(?!\d{1,5}[/?#]))\S+(?=@)",
}
"""Patterns. The last group of each is what precedes the secret."""
_WORD_IN_QUOTES = rf"(?P<word>(?<![\w\\]){_QUOTED_BY_SHELL}(?:{_QUOTED_BY_SHELL}|\\.)*)"


@cache
def _any() -> re.Pattern[str]:
    """Return the pattern of all secrets. It is compiled on first use: that takes longer than a short command should,
    and many show no text.
    """
    return re.compile("|".join([*_SHAPES.values(), _WORD_IN_QUOTES]), re.IGNORECASE | re.DOTALL)


@cache
def _named() -> re.Pattern[str]:
    return re.compile(_NAME, re.IGNORECASE)


def masked(text: str) -> str:
    """Return the text with `***` in place of every secret."""
    return _any().sub(_replaced, text)


def masked_value(name: str, value: str) -> str:
    """Mask the value of a setting that is shown apart from its name: all of it if the name is that of a secret."""
    return MASK if value and _named().search(name) else masked(value)


def _replaced(match: re.Match[str]) -> str:
    if word := match["word"]:
        return _masked_word(word)
    assert match.lastindex
    return match[match.lastindex] + MASK


def _masked_word(word: str) -> str:
    """Mask one word of a shell command, a configuration value, or any quoted part of a text."""
    quote, inner = word[0], word[1:-1]
    doubled = "''" in inner and quote not in inner.replace("''", "")  # else a shell assembled the word from pieces
    if doubled and (hidden := masked(value := inner.replace("''", "'"))) != value:
        return quote + hidden.replace("'", "''") + quote
    if quote not in inner and "\\" not in inner:
        return f"{quote}{masked(inner)}{quote}"
    [plain] = shlex.split(word)
    hidden = masked(plain)
    return word if hidden == plain else shlex.quote(hidden)
