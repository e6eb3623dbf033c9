"""What each error code means, what usually causes it, and what to do next: for `pgvault explain` and the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Explanation(NamedTuple):
    """One code, in sentences."""

    meaning: str
    causes: tuple[str, ...]
    steps: tuple[str, ...]
    """What to do next, in this order."""


EXPLANATIONS: Mapping[str, Explanation] = {
    "failed": Explanation(
        "The act could not be completed, and none of the other codes says it better.",
        ("A file in the vault or on a host could not be read or written.",
         "A program on a host, or PostgreSQL itself, ended with an error that pgvault does not know."),
        ("Read the detail and the hint of the error: they name the path, the host and the reason.",
         "pgvault job show JOB prints every step and every command of a job, with its exit code.",
         "Correct the cause and run the same command again; what was begun is taken up or cleared.")),
    "internal": Explanation(
        "pgvault met something that its authors did not foresee: a bug. The job that met it is ended and what it held "
        "is released.",
        ("A mistake in pgvault.",),
        ("pgvault job show JOB prints where it happened; --log-level debug prints it for any other command.",
         "Run the command again: if it fails in the same way, report it with that text.",
         "What is stored is safe from such an end: packs and backups become visible only when they are complete.")),
    "usage": Explanation(
        "The command line cannot be understood. Nothing was done.",
        ("A verb or an option is misspelt, or an argument is missing.",
         "A time was given without a zone, or a value is out of range.",
         "Something had to be confirmed, and there is no terminal to ask on."),
        ("pgvault VERB --help shows the arguments, with an example.", "In scripts, add --yes to what asks.")),
    "config": Explanation(
        "The configuration is missing or wrong. Nothing was done.",
        ("A key or a table is misspelt, or a value is not of its kind.",
         "The file is not where pgvault looks: --config, $PGVAULT_CONFIG, ~/.config/pgvault/pgvault.toml, "
         "/etc/pgvault/pgvault.toml."),
        ("pgvault config check lists every problem with its file, its line and the nearest right word.",
         "pgvault config help lists every setting.", "pgvault config show prints what the settings come to.")),
    "not-right": Explanation(
        "A check was made and found something that is not right. The check itself worked.",
        ("WAL does not arrive, a backup is too old, a role lacks a right, a directory is not writable.",
         "A restored server runs, but does not hold what it was asked for."),
        ("Read the first finding that failed: those marked as blocked hang on it.",
         "Each finding names the command or the statement that mends it; then run pgvault check SERVER again.")),
    "not-found": Explanation(
        "There is no server, backup, job or host of this name.",
        ("The name is misspelt; the error shows the nearest one.", "The backup has expired, or the job was removed.",
         "The beginning of an id fits more than one."),
        ("pgvault list-servers, pgvault list-backups SERVER and pgvault job list print the names that there are.",
         "If a server is missing, look whether another configuration was read: pgvault config show.")),
    "refused": Explanation(
        "A condition that keeps data safe does not hold, so nothing was changed.",
        ("The destination is not empty, belongs to somebody else, a server runs in it, or another one has its port.",
         "The server is another cluster than the one in the vault (its system identifier differs).",
         "This user may not write there, or the vault belongs to another user.",
         "The world has changed since the plan was shown."),
        ("Read the detail: it names what was found, and where.",
         "Choose another destination, stop what runs there, or say with the named option that it may be replaced.",
         "Look at the plan with --dry-run before you run it again.")),
    "locked": Explanation(
        "Another job holds the lock that this act needs.",
        ("A backup of the same server runs, or a restore into the same directory.",),
        ("pgvault job list --state running names the jobs at work.",
         "Wait for it: pgvault job watch JOB. Or stop it: pgvault job cancel JOB.",
         "A lock whose holder died is free by itself; there is no file to remove.")),
    "unreachable": Explanation(
        "A PostgreSQL server or a host did not answer, or did not let pgvault in.",
        ("It is down, or the network between is.", "pg_hba.conf has no line for this role, or none for replication.",
         "The SSH key or the host key is not accepted.", "A password is wrong or missing."),
        ("pgvault check SERVER tells which connection fails, and which statement or line mends it.",
         "Try the same by hand as the same user: psql with the conninfo, ssh with the address of the configuration.",
         "Restoring needs the vault and the destination only: a lost server is no obstacle.")),
    "corrupt": Explanation(
        "What is stored does not match the hash that was noted when it was stored.",
        ("A disk or its controller lost or changed data.", "Somebody edited or truncated files in the vault."),
        ("Do not delete anything: other backups may share what is still good.",
         "Take a new backup now that compares with no earlier one: pgvault backup SERVER --full.",
         "Restore from another backup: pgvault list-backups SERVER.", "Look at the disk: dmesg, smartctl.")),
    "wal-missing": Explanation(
        "WAL that is needed is not in the archive, or the target lies where no archived WAL reaches.",
        ("The target is later than the last commit that was archived, or before the oldest backup's end.",
         "There is a gap: archiving stood still while the server went on and recycled its segments.",
         "A backup's own WAL has not arrived yet."),
        ("pgvault wal SERVER shows what can be restored: windows, gaps and timelines.",
         "pgvault restore SERVER --target-time TIME --choices tells the nearest targets that can be reached.",
         "If the server still has it: pgvault switch-wal SERVER, then pgvault check SERVER.",
         "After a gap take a backup: every instant from its end on can be restored again.")),
    "wal-removed": Explanation(
        "The server was asked to stream from a place whose WAL it does not have any more.",
        ("Nobody received for longer than the server keeps WAL, and no slot held it back.",
         "The slot was dropped, or lost its WAL to max_slot_wal_keep_size."),
        ("The receiver goes on with the oldest WAL that there is, and the gap is shown: pgvault wal SERVER.",
         "Take a backup: every instant from its end on can be restored again.",
         "pgvault check SERVER says whether a slot holds WAL back from now on.")),
    "server-behind": Explanation(
        "The server was asked to stream from a place that it has not written yet: the archive is ahead of it.",
        ("The server was put back in time, or another one now answers under its address.",
         "A standby that lags answers in place of its primary."),
        ("pgvault status SERVER shows how far the archive and the server are, and on which timelines.",
         "If the server was restored or replaced, see that it runs on a timeline of its own.",
         "If it is another server, give it a new name in the configuration.")),
    "unknown-wal": Explanation(
        "The WAL was written by a PostgreSQL version whose records this pgvault does not know. It is archived and can "
        "be replayed, but is not read here, rather than guessed at.",
        ("The server was upgraded to a newer major version.",),
        ("Backups, archiving and restores to the end of the WAL work.",
         "For targets and events, use a pgvault that knows this version.")),
    "incomplete": Explanation(
        "The server did not send all that a backup must hold, so it has failed. Older backups are as they were.",
        ("A database's directory, a relation's file or one of its segments is not in its place on the server.",
         "It was moved to another disk and linked: PostgreSQL leaves links out, except tablespaces' and pg_wal's.",
         "The directory of a tablespace was not mounted while the backup ran."),
        ("The error names what is missing: look there on the server, and in its log.",
         "Bring the file back, or restore it from an older backup: pgvault list-backups SERVER names those there are.",
         "Where the error names a last segment that never was, ANALYZE the table and run the backup again.")),
    "rejected": Explanation(
        "A WAL file was not accepted into the archive. Its sender must keep it; a copy is in the quarantine.",
        ("It is cut short or damaged, or no WAL at all.",
         "It belongs to another cluster, or the archive holds other content under its name."),
        ("HOME/SERVER/quarantine has the file, and beside it the reason.",
         "If two servers archive as one, give each a name of its own in the configuration.",
         "pgvault check SERVER tells what hangs on it.")),
    "conflict": Explanation(
        "A file of the vault exists already, or another process has changed it meanwhile. Nothing was overwritten.",
        ("Two processes did the same act at once, perhaps on two machines that share the vault.",),
        ("Run it again: it begins with what is there now.",
         "If it happens again, pgvault job list shows what runs.")),
    "no-space": Explanation(
        "A file system is full, or a quota is used up.",
        ("The vault's file system: backups and WAL grew.", "The destination's, while restoring.",
         "A replication slot keeps WAL on the server since nobody receives it."),
        ("The error names the file system: free space there or make it larger, then run the command again.",
         "Nothing that was complete is lost; what was half written is cleared by the next run.")),
    "corrupt-pages": Explanation(
        "The backup is complete, but the server reported pages whose checksum is wrong: its own data is damaged.",
        ("A disk of the database server lost or changed data.",),
        ("Keep older backups: they may hold the pages as they were.",
         "pgvault job show JOB names the files; pg_amcheck tells which relations they are.",
         "Look at that server's disks before you trust it further.")),
    "cancelled": Explanation(
        "It was stopped on request, and what it had begun was undone.",
        ("Ctrl-C, pgvault job cancel, a signal, or the machine was shut down.",),
        ("The detail of the error says in what state things are.", "Run the same command again when you want to.")),
    "in-doubt": Explanation(
        "get-wal cannot tell whether the vault has the segment. PostgreSQL must stop and not take this for the end of "
        "the WAL: it would promote, and lose what comes after.",
        ("The vault cannot be read: not mounted, no permission, a damaged index.", "The configuration is wrong."),
        ("PostgreSQL's log shows what get-wal said. Mend that, then start the server again: it goes on where it was.",
         "pgvault rebuild-index SERVER makes the index again from what is stored.")),
}
"""By the code of each class in `pgvault.model.errors`, and `internal` for what is no such error."""
