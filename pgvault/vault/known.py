"""Which vault this user writes to in a place, so that an empty mount point is not taken for room for a new one.

A vault is made at first use, and where its file system is not mounted there is an empty directory: WAL would be
acknowledged that lies on the wrong disk. So the id of a vault is kept with the user's own state once it was written to,
in a file for each place, and no other vault is made there or written to. Devices cannot be compared instead: their
numbers change from one start of the machine to the next; and a setting would guard only those who know of it.

A state that cannot be read or written is no reason to stop: then nothing is known.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pgvault.config.state import state_directory
from pgvault.model.errors import Refused
from pgvault.vault.files import make_directory, write_durably

_NO_STATE = (OSError, RuntimeError, ValueError)


def record(home: Path) -> Path:
    """The file of a place: the ids of the vaults that are written to there, one a line; to be removed by hand."""
    return state_directory() / "vaults" / str(home).replace("%", "%25").replace("/", "%2F")


def refuse_missing(home: Path) -> None:
    """For a place where there is no vault."""
    if ids := _ids(home):
        raise Refused(f"the vault in {home} is not there",
                      detail=f"This user has written to one there, with the id {ids[0]}, and there is none now: its "
                             "file system may not be mounted.",
                      hint="Mount it. When it is gone for good and a new one is to be made: "
                           f"rm {_quoted(record(home))}")


def refuse_other(home: Path, vault_id: str) -> None:
    """For the vault that is there; a copy of the one that was has its id."""
    ids = _ids(home)
    if ids and vault_id not in ids:
        raise Refused(f"the vault in {home} is not the one that was there before",
                      detail=f"Its id is {vault_id}; this user has written to {', '.join(ids)}.",
                      hint="Mount the right one. When this one is to be written to as well: "
                           f"echo {vault_id} >> {_quoted(record(home))}")


def remember(home: Path, vault_id: str) -> None:
    """Written once in a vault's life; otherwise nothing but a small file is read."""
    if vault_id in _ids(home):
        return
    with suppress(*_NO_STATE):
        file = record(home)
        make_directory(file.parent)
        write_durably(file, f"{vault_id}\n".encode())


def forget(home: Path) -> None:
    """Whoever removes a vault says so."""
    with suppress(*_NO_STATE):
        record(home).unlink(missing_ok=True)


def _ids(home: Path) -> list[str]:
    with suppress(*_NO_STATE):
        return record(home).read_text().split()
    return []


def _quoted(path: Path) -> str:
    from shlex import quote  # only to refuse

    return quote(str(path))
