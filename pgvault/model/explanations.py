"""What each error code means, what usually causes it, and what to do next: for `pgvault explain` and the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Explanation(NamedTuple):
    """The explanation of one code, in sentences."""

    meaning: str
    causes: tuple[str, ...]
    steps: tuple[str, ...]
    """What to do next, in this order."""


EXPLANATIONS: Mapping[str, Explanation] = {
    "failed": Explanation(
        "The operation could not be completed, and no other code describes the reason better.",
        ("A file in the vault or on a host could not be read or written.",
         "A program on a host, or PostgreSQL itself, failed with an error that pgvault does not know."),
        ("Read the detail and the hint of the error: they name the path, the host and the reason.",
         "pgvault job show JOB prints every step and every command of a job, with its exit code.",
         "Correct the cause and run the same command again; it resumes or clears what was begun.")),
    "internal": Explanation(
        "pgvault met a condition that its authors did not foresee: a bug. The job has ended and released its locks.",
        ("A mistake in pgvault.",),
        ("pgvault job show JOB prints where it happened; for any other command use --log-level debug.",
         "Run the command again: if it fails in the same way, report it with its output.",
         "Stored data is safe: packs and backups become visible only when they are complete.")),
    "usage": Explanation(
        "The command line cannot be understood. Nothing was done.",
        ("A verb or an option is misspelt, or an argument is missing.",
         "A time was given without a zone, or a value is out of range.",
         "The command needs a confirmation, and there is no terminal to ask on."),
        ("pgvault VERB --help shows the arguments, with an example.", "In scripts, add --yes to commands that ask.")),
    "config": Explanation(
        "The configuration is missing or wrong. Nothing was done.",
        ("A key or a table is misspelt, or a value has the wrong type.",
         "The file is not where pgvault looks: --config, $PGVAULT_CONFIG, ~/.config/pgvault/pgvault.toml, "
         "/etc/pgvault/pgvault.toml."),
        ("pgvault config check lists every problem with its file, its line and the nearest valid word.",
         "pgvault config help lists every setting.", "pgvault config show prints the settings in effect.")),
    "not-right": Explanation(
        "A check found a problem. The check itself worked.",
        ("WAL does not arrive, a backup is too old, a role lacks a right, a directory is not writable.",
         "A restored server runs, but lacks an object that it should hold."),
        ("Read the first finding that failed: the blocked ones depend on it.",
         "Each finding names the command or the statement that corrects it; then run pgvault check SERVER again.")),
    "not-found": Explanation(
        "No server, backup, job or host has this name.",
        ("The name is misspelt; the error shows the nearest name.", "The backup has expired, or the job was removed.",
         "The beginning of an id matches more than one."),
        ("pgvault list-servers, pgvault list-backups SERVER and pgvault job list print the existing names.",
         "If a server is missing, see whether another configuration was read: pgvault config show.")),
    "refused": Explanation(
        "A condition that keeps data safe does not hold, so nothing was changed.",
        ("The destination is not empty, belongs to another user, a running server uses it, or its port is taken.",
         "The server is another cluster than the one in the vault (its system identifier differs).",
         "This user may not write there, or the vault belongs to another user.",
         "Something has changed since the plan was shown."),
        ("Read the detail: it names what was found, and where.",
         "Choose another destination, stop what runs there, or allow its replacement with the named option.",
         "Review the plan with --dry-run before you run it again.")),
    "locked": Explanation(
        "Another job holds the lock that this operation needs.",
        ("A backup of the same server, or a restore into the same directory, is running.",),
        ("pgvault job list --state running names the running jobs.",
         "Wait for the job: pgvault job watch JOB. Or cancel it: pgvault job cancel JOB.",
         "A lock is released when its holder dies; there is no file to remove.")),
    "unreachable": Explanation(
        "A PostgreSQL server, a host or the storage of the vault did not answer, or refused the connection.",
        ("It or the network is down.", "The file system of the vault, or of a directory in it, is not mounted.",
         "pg_hba.conf has no line for this role, or none for replication.",
         "The SSH key or the host key is not accepted.", "A password is wrong or missing."),
        ("pgvault check SERVER shows which connection fails, and which statement or line corrects it.",
         "Try to connect by hand as the same user: psql with the conninfo, or ssh with the configured address.",
         "A restore needs only the vault and the destination: a lost server is no obstacle.")),
    "corrupt": Explanation(
        "Stored data does not match the hash that was recorded when it was stored.",
        ("A disk or its controller lost or changed data.", "Somebody edited or truncated files in the vault."),
        ("Do not delete anything: other backups may share data that is still good.",
         "Take a new backup now that reads everything: pgvault backup SERVER --full.",
         "Restore from another backup: pgvault list-backups SERVER.", "Examine the disk: dmesg, smartctl.")),
    "wal-missing": Explanation(
        "Required WAL is not in the archive, or archived WAL does not reach the target.",
        ("The target is later than the last commit that was archived, or before the oldest backup's end.",
         "There is a gap: archiving stopped while the server recycled its segments.",
         "A backup's own WAL has not arrived yet."),
        ("pgvault wal SERVER shows what can be restored: windows, gaps and timelines.",
         "pgvault restore SERVER --target-time TIME --choices shows the nearest targets that can be reached.",
         "If the server still has it: pgvault switch-wal SERVER, then pgvault check SERVER.",
         "After a gap, take a backup: every later instant can then be restored again.")),
    "wal-removed": Explanation(
        "The server no longer has the WAL from which it should stream.",
        ("No receiver ran for longer than the server keeps WAL, and no slot retained it.",
         "The slot was dropped, or lost its WAL to max_slot_wal_keep_size."),
        ("The receiver continues with the oldest WAL on the server. The gap is shown by: pgvault wal SERVER.",
         "Take a backup: every later instant can then be restored again.",
         "pgvault check SERVER shows whether a slot retains WAL from now on.")),
    "server-behind": Explanation(
        "The server has not yet written the WAL from which it should stream: the archive is ahead of the server.",
        ("The server was restored to an earlier time, or another server now has its address.",
         "A lagging standby answers instead of its primary."),
        ("pgvault status SERVER shows how far the archive and the server are, and on which timelines.",
         "If the server was restored or replaced, make sure that it runs on a timeline of its own.",
         "If it is another server, give it a new name in the configuration.")),
    "unknown-wal": Explanation(
        "The WAL was written by a PostgreSQL version whose records this pgvault does not know. It is archived and can "
        "be replayed, but pgvault does not read it.",
        ("The server was upgraded to a newer major version.",),
        ("Backups, archiving and restores to the end of the WAL work.",
         "For targets and events, use a pgvault that knows this version.")),
    "incomplete": Explanation(
        "The server did not send everything that a backup needs, so the backup failed. Older backups are unchanged.",
        ("The directory of a database, the file of a relation or one of its segments is missing on the server.",
         "It was moved and replaced by a symbolic link: PostgreSQL skips all links but tablespaces and pg_wal.",
         "The directory of a tablespace was not mounted while the backup ran."),
        ("The error names what is missing: look for it on the server, and in its log.",
         "Bring the file back, or restore it from an older backup: pgvault list-backups SERVER lists the backups.",
         "If the error names a last segment that never existed, ANALYZE the table and run the backup again.")),
    "rejected": Explanation(
        "A WAL file was not accepted into the archive. Its sender must keep it; a copy is in the quarantine.",
        ("It is truncated or damaged, or not a WAL file.",
         "It belongs to another cluster, or the archive holds a file of the same name with other content."),
        ("HOME/SERVER/quarantine holds the file and the reason.",
         "If two servers archive under one name, give each its own name in the configuration.",
         "pgvault check SERVER shows the consequences.")),
    "conflict": Explanation(
        "A file of the vault exists already, or another process has changed it since. Nothing was overwritten.",
        ("Two processes did the same thing at once, perhaps on two machines that share the vault.",),
        ("Run it again: it starts from the present state.",
         "If it happens again, pgvault job list shows what runs.")),
    "no-space": Explanation(
        "A file system is full, or a quota is exhausted.",
        ("Backups and WAL have filled the vault's file system.", "A restore has filled the destination.",
         "A replication slot retains WAL on the server because no receiver reads it."),
        ("The error names the file system: free space there or make it larger, then run the command again.",
         "No complete data is lost. The next run clears what was half written.")),
    "corrupt-pages": Explanation(
        "The backup is complete, but the server reported pages whose checksum is wrong: its own data is damaged.",
        ("A disk of the database server lost or changed data.",),
        ("Keep older backups: they may hold intact pages.",
         "pgvault job show JOB names the files; pg_amcheck shows which relations they belong to.",
         "Examine that server's disks before you trust it further.")),
    "cancelled": Explanation(
        "The operation was cancelled on request, and what it had begun was undone.",
        ("Ctrl-C, pgvault job cancel, a signal, or the machine was shut down.",),
        ("The detail of the error describes the present state.", "Run the same command again when you are ready.")),
    "in-doubt": Explanation(
        "get-wal cannot determine whether the vault has the segment. PostgreSQL must stop and not treat this as the "
        "end of the WAL: it would promote, and lose all later changes.",
        ("The vault cannot be read: not mounted, no permission, a damaged index.", "The configuration is wrong."),
        ("PostgreSQL's log shows the message of get-wal. Correct the cause and start the server: it goes on.",
         "pgvault rebuild-index SERVER rebuilds the index from the stored files.")),
}
"""Explanations by the code of each class in `pgvault.model.errors`, and `internal` for any other error."""
