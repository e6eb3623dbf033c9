"""Remembers the vault that this user writes to in a place, so that no new one is created in an empty mount point.

A vault is made at first use, and where its file system is not mounted there is an empty directory: WAL would be
acknowledged that is on the wrong disk. So the id of a vault is kept with the user's own state once it was written to,
in a file for each place, and no other vault is made there or written to. Devices cannot be compared instead: their
numbers change from one start of the machine to the next; and a setting would guard only those who know of it.

A place is known by the path as it is spelled, since a link on the file system itself leads nowhere without it, and by
the one that its links lead to, which is the same however it is spelled.

A state that cannot be read or written is no error: then nothing is known.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from pgvault.config.state import state_directory
from pgvault.model.errors import Refused
from pgvault.store.files import make_directory, write_durably

_NO_STATE = (OSError, RuntimeError, ValueError)


def records(home: Path) -> list[Path]:
    """Return the files of a place, one for each path to it: `# PATH`, then the ids of the vaults that are written to
    there, one a line; they are removed by hand.
    """
    return [_record(path) for path in _spellings(home)]


def refuse_missing(home: Path) -> None:
    """Raise an error if there was a vault at a place where there is none now."""
    if known := _known(home):
        raise Refused(f"the vault in {home} is not there",
                      detail=f"This user has written to one there, with the id {_ids(known)[0]}, and there is none "
                             "now: its file system may not be mounted.",
                      hint="Mount it. When it is gone for good and a new one is to be made: "
                           f"rm {' '.join(map(_quoted, known))}")


def refuse_other(home: Path, vault_id: str) -> None:
    """Raise an error if this user has written to another vault there. A copy of that vault has its id, and is the same.
    """
    known = _known(home)
    if known and vault_id not in _ids(known):
        raise Refused(f"the vault in {home} is not the one that was there before",
                      detail=f"Its id is {vault_id}; this user has written to {', '.join(_ids(known))}.",
                      hint="Mount the right one. When this one is to be written to as well: "
                           f"echo {vault_id} >> {_quoted(next(iter(known)))}")


def remember(home: Path, vault_id: str) -> None:
    """Note the vault. This is written once in a vault's life for each path to it; otherwise only small files are read.
    """
    with suppress(*_NO_STATE):
        for path in _spellings(home):
            file = _record(path)
            if not _read(file):
                make_directory(file.parent)
                write_durably(file, f"# {path!r}\n{vault_id}\n".encode())


def forget(home: Path) -> None:
    """Forget the vault at a place; called when a vault is removed."""
    with suppress(*_NO_STATE):
        for file in records(home):
            file.unlink(missing_ok=True)


def _spellings(home: Path) -> list[str]:
    return list(dict.fromkeys((str(home.absolute()), os.path.realpath(home))))


def _record(path: str) -> Path:
    return state_directory() / "vaults" / hashlib.sha256(os.fsencode(path)).hexdigest()


def _known(home: Path) -> dict[Path, list[str]]:
    """Return the ids in each file that has any."""
    with suppress(*_NO_STATE):
        return {file: ids for file in records(home) if (ids := _read(file))}
    return {}


def _ids(known: dict[Path, list[str]]) -> list[str]:
    return list(dict.fromkeys(each for ids in known.values() for each in ids))


def _read(file: Path) -> list[str]:
    with suppress(*_NO_STATE):
        return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip() and line[0] != "#"]
    return []


def _quoted(path: Path) -> str:
    from shlex import quote  # only a refusal needs it

    return quote(str(path))
