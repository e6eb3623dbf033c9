"""The story of a lost table, as in the tutorial: a backup, more work, a dropped table, and its recovery.

Each step is a command that a person would type. The servers themselves are queried for its result.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pgvault.demo import data
from pgvault.demo.cluster import DATABASE, Cluster
from pgvault.demo.commands import Commands
from pgvault.demo.events import Emit, StepEnded, StepStarted
from pgvault.demo.sandbox import PRIMARY, STANDBY, Sandbox
from pgvault.model.errors import PgvaultError

_WAIT_SECONDS: Final = 60
_LIST_TABLES: Final = r"\dt mytest*"
_COUNT: Final = "SELECT count(*) FROM mytesttable2"
_LOST: Final = f"{DATABASE}.public.{data.TABLES[-1]}"
_SHOP: Final = "SELECT count(*), sum(total), (SELECT count(*) FROM customers) FROM orders"


@dataclass(frozen=True, slots=True)
class Loss:
    """The state just before the table was dropped."""

    moment: str
    """The primary's clock after the last wanted commit and before the DROP, as PostgreSQL writes a time."""
    contents: tuple[str, ...]
    """The contents of the two tables and the shop, see `_contents`."""


@dataclass(frozen=True, slots=True)
class Recovered:
    rows: int
    """Rows of the lost table."""
    seconds: float
    """Duration from the start of the restore until the primary had the table again."""


class Story:
    def __init__(self, sandbox: Sandbox, emit: Emit) -> None:
        self._sandbox, self._emit = sandbox, emit
        self._commands = Commands(sandbox, emit)
        self._primary, self._restored = sandbox.primary, sandbox.restored

    def build(self, megabytes: int) -> None:
        """Create the sandbox, step by step."""
        building = self._sandbox.build(megabytes)
        title = next(building, None)
        while title:
            with self._step(title):
                title = next(building, None)

    def protect(self) -> None:
        """Turn an unprotected server into one with a backup and streamed WAL."""
        run = self._commands
        with self._step("Stream WAL from the primary into the vault, in the background"):
            log = self._sandbox.directory / "receive-wal.log"
            with run.start_pgvault(log, "receive-wal", PRIMARY) as receiver:
                if not _wait(lambda: self._is_streaming() or receiver.poll() is not None) or not self._is_streaming():
                    raise PgvaultError("the step failed: receive-wal does not stream",
                                       detail=log.read_text("utf-8", "replace").strip())
        with self._step("Check that everything is in place"):
            run.pgvault("check", PRIMARY)
        with self._step("Take the first backup"):
            run.pgvault("backup", PRIMARY)
        with self._step("List the backups"):
            run.pgvault("list-backups", PRIMARY)

    def lose(self) -> Loss:
        """Continue to work after the backup, then drop the table."""
        run = self._commands
        with self._step(f"Work goes on: {data.ROWS_AFTER} rows that no backup has"):
            run.psql(self._primary, data.MORE_ROWS)
        with self._step("The disaster: mytesttable2 is dropped"):
            contents = _contents(self._primary)
            moment = self._primary.sql("SELECT clock_timestamp()")
            run.psql(self._primary, "DROP TABLE mytesttable2")
            run.psql(self._primary, _LIST_TABLES)
        with self._step("Bring the WAL of the last minutes into the vault"):
            run.pgvault("switch-wal", PRIMARY, "--archive")
        with self._step("See which times can be restored"):
            run.pgvault("wal", PRIMARY)
        return Loss(moment, contents)

    def recover(self, loss: Loss) -> Recovered:
        """Restore the moment before the loss on the standby host, and bring the table back from there. PgvaultError
        unless everything is back."""
        run, began = self._commands, time.monotonic()
        with self._step(f"Restore it as it was at {loss.moment}, on another host, over SSH"):
            run.pgvault(*restore_words(loss), "--yes")
        with self._step("Query the restored server: both tables are there"):
            run.psql(self._restored, _LIST_TABLES)
            run.psql(self._restored, _COUNT)
        with self._step("The live primary was not touched: it still lacks the table"):
            run.psql(self._primary, _LIST_TABLES)
        self._prove(loss, self._restored)
        self._prove_untouched()
        with self._step("Bring the table back into the live primary"):
            run.pgvault("bring-back", "latest", _LOST, "--yes")
            run.psql(self._primary, _COUNT)
        self._prove(loss, self._primary)
        seconds = time.monotonic() - began
        with self._step("Stop and remove the restored server, which has done its work"):
            run.pgvault("throw-away", "latest", "--remove", str(self._restored.data))
        return Recovered(int(loss.contents[1].split("|")[0]), seconds)

    def _prove(self, loss: Loss, cluster: Cluster) -> None:
        found = _contents(cluster)
        for name, before, after in zip(("mytesttable1", "mytesttable2", "the shop"), loss.contents, found, strict=True):
            if before != after:
                raise PgvaultError(f"the server does not have the lost data: {name} differs",
                                   detail=f"Before the loss: {before}. In {cluster.data}: {after}.")

    def _prove_untouched(self) -> None:
        if self._primary.sql("SELECT to_regclass('mytesttable2') IS NULL") != "t":
            raise PgvaultError("the primary was changed by the restore: it has mytesttable2 again")

    def _is_streaming(self) -> bool:
        return self._primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") != "0"

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        self._emit(StepStarted(title))
        began = time.monotonic()
        yield
        self._emit(StepEnded(title, time.monotonic() - began))


def restore_words(loss: Loss) -> tuple[str, ...]:
    """Return the restore command after `pgvault`. It asks before it begins."""
    return ("restore", PRIMARY, "auto", "--host", STANDBY, "--target-time", loss.moment, "--start")


def directions(sandbox: Sandbox, loss: Loss) -> Iterator[str]:
    """Yield lines of text. Every command works in a shell that has read the sandbox's environment."""
    def line(*words: str) -> str:
        return f"  {shlex.join(words)}"

    yield f"The sandbox runs in {sandbox.directory}. In another terminal, first:"
    yield f"  . {shlex.quote(str(sandbox.environment_file))}"
    yield ""
    yield f"mytesttable2 was dropped from the primary. To restore it on {STANDBY}:"
    yield line("pgvault", *restore_words(loss))
    yield "then query the restored server, and the live primary:"
    yield line(*sandbox.restored.psql("-c", r"\dt"))
    yield line(*sandbox.primary.psql("-c", r"\dt"))
    yield ""
    yield "More to try:"
    for verb in ("check", "status", "wal", "list-backups", "backup"):
        yield line("pgvault", verb, PRIMARY)
    yield line("pgvault", "show-backup", PRIMARY, "latest")
    yield line("pgvault", "job", "list")
    yield ""
    yield f"The configuration is {sandbox.config}."


def notice(loss: Loss) -> str:
    """Return what to do in the console, in one line of a small terminal."""
    return f"Press r to bring back {data.TABLES[-1]}, dropped after {loss.moment[11:19]}Z"


def _contents(cluster: Cluster) -> tuple[str, ...]:
    return (*(cluster.sql(data.fingerprint(table)) for table in data.TABLES), cluster.sql(_SHOP))


def _wait(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
