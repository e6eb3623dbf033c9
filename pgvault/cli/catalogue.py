"""The catalogue's verbs: the backups of a server, the details of one, and its files."""

from __future__ import annotations

import argparse
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.cli.output import Output
from pgvault.config.schema import ServerConfig
from pgvault.engine.catalogue import backup_document, backup_documents, read_catalogue
from pgvault.engine.catalogue_wal import wal_files
from pgvault.model.backup import Backup, BackupStatus, Unreadable
from pgvault.model.catalogue import Catalogue, Catalogued, WalShare
from pgvault.model.errors import NotFound, Refused, UsageError
from pgvault.model.retention import Retention
from pgvault.model.segment import Segment
from pgvault.model.text import Part, size, visible, when, width
from pgvault.model.times import of_epoch
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault

LIST_HELP = """List the backups of a server, or of all servers, oldest first.

A failed backup is listed with its reason. A backup whose facts cannot be read is listed, too.

Example:
  pgvault list-backups main-db
  pgvault --format json list-backups all
"""
SHOW_HELP = """Show the details of one backup: its size, its WAL, and its state under the retention policy.

BACKUP is an id or the beginning of one, latest, oldest or last-failed.

Example:
  pgvault show-backup main-db latest
"""
FILES_HELP = """List the files of a backup, one a line, as paths below the data directory.

--target data:        the files of the data directory and of tablespaces (pg_tblspc/OID/...)
--target standalone:  these, and the WAL that makes the backup consistent
--target wal:         the WAL from the backup's start to the newest that can follow it
--target full:        data and wal

Example:
  pgvault list-files main-db latest --under base/16384
  pgvault list-files main-db 20261122T2005 --target standalone -l
"""
_STATUS_STYLES = {BackupStatus.DONE: "good", BackupStatus.FAILED: "bad", BackupStatus.WAITING_FOR_WALS: "warn",
                  BackupStatus.STARTED: "accent"}
_RETENTION_STYLES = {Retention.OBSOLETE: "dim", Retention.NOT_COUNTED: "warn"}


def list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server, or all")


def list_backups(args: argparse.Namespace, context: Context) -> int:
    servers = context.servers(args.server)
    vault = Vault.open(context.config.vault.home)
    moment = datetime.now(UTC)
    read = [(server, read_catalogue(vault.server(server.name), server, moment, reach=context.json))
            for server in servers]
    for server, catalogue in read:
        _warn(context, server, catalogue)
    if context.json:
        context.out.json({"backups": [each for server, catalogue in read for each in backup_documents(catalogue)]})
        return 0
    _print_list(context.out, read)
    for server, catalogue in read:
        if not catalogue.backups and not catalogue.unreadable:
            context.err.line(f"{server.name} has no backups")
    return 0


def _warn(context: Context, server: ServerConfig, catalogue: Catalogue) -> None:
    """Warn about what could not be shown, with the next step."""
    if catalogue.wal_problem:
        context.err.line(f"{server.name}: WAL is not shown: {catalogue.wal_problem}")
    report_unreadable(context, server.name, catalogue.unreadable)


def report_unreadable(context: Context, server: str, unreadable: Sequence[Unreadable]) -> None:
    for each in unreadable:
        context.err.line(context.err.paint("warning: ", "warn"), f"{server}: {each}")


def _print_list(out: Output, read: Sequence[tuple[ServerConfig, Catalogue]]) -> None:
    """Print one line per backup; columns are aligned between lines that have them."""
    rows: list[tuple[str, str, str, Sequence[Part]]] = []  # server, id, name, the rest (first part plain)
    for server, catalogue in read:
        lines = [(entry.backup.id, entry.backup.name, _line(out, entry)) for entry in catalogue.backups]
        lines += [(each.id, "", ["", out.paint("UNREADABLE", "bad"), f" - {each.reason}"])
                  for each in catalogue.unreadable]
        rows += [(server.name, *line) for line in sorted(lines, key=lambda line: line[0])]
    server_width = max((len(name) for name, *_ in rows), default=0)
    labels = [f" '{visible(label)}'" if label else "" for _, _, label, _ in rows]
    label_width = max(map(width, labels), default=0)
    for (name, backup_id, _, (first, *rest)), label in zip(rows, labels, strict=True):
        gap = " " * (label_width - width(label))
        out.line(f"{name:<{server_width}} {backup_id}{label}{gap} - {first}", *rest)


def _line(out: Output, entry: Catalogued) -> list[Part]:
    """Return the fields of Barman's list, followed by what else is important."""
    backup = entry.backup
    if not backup.status.copied:
        status = out.paint(backup.status.value, _STATUS_STYLES[backup.status])
        return ["", status, *([f" - {backup.error}"] if backup.error else [])]
    wal = size(entry.wal.stored) if entry.wal else "unknown"
    parts: list[Part] = [f"{_calendar(backup)} - Size: {size(backup.size_bytes):>10} - WAL Size: {wal:>10}"]
    if backup.status is not BackupStatus.DONE:
        parts += [" - ", out.paint(backup.status.value, _STATUS_STYLES[backup.status])]
    if backup.corrupt_pages:
        parts += [" - ", out.paint("CORRUPT PAGES", "bad")]
    elif entry.retention.state is not Retention.VALID and backup.status is BackupStatus.DONE:
        parts += [" - ", out.paint(entry.retention.state.value, _RETENTION_STYLES.get(entry.retention.state, "good"))]
    return parts


def _calendar(backup: Backup) -> str:
    """Format the end of the backup as `Wed Nov 11 05:19:46 2015 UTC`."""
    return f"{(backup.finished_at or backup.started_at).ctime()} UTC"


def backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server")
    parser.add_argument("backup", metavar="BACKUP", help="an id or its beginning, latest, oldest or last-failed")


def show_backup(args: argparse.Namespace, context: Context) -> int:
    server = context.config.server(args.server)
    vault = Vault.open(context.config.vault.home).server(server.name)
    wanted = catalog.find(vault, args.backup).id
    catalogue = read_catalogue(vault, server, datetime.now(UTC))
    entry = catalogue.entry(wanted)
    _warn(context, server, catalogue)
    if context.json:
        context.out.json(backup_document(entry))
        return 0
    context.out.line(f"Backup {wanted}:")
    for title, pairs in _sections(context.out, entry):
        _print_section(context.out, title, pairs)
    return 0


Value = str | Sequence[Part] | None
Pairs = list[tuple[str, Value]]
_NAME_WIDTH = 21
"""Width of the names in `show-backup`, in all sections."""


def _print_section(out: Output, title: str, pairs: Pairs) -> None:
    if title:
        out.line()
        out.line(f"  {title}:")
    indent = 4 if title else 2
    for name, value in pairs:
        parts: Sequence[Part] = ["-"] if value is None else [value] if isinstance(value, str) else value
        out.line(" " * indent, name, " " * (_NAME_WIDTH + 4 - indent - width(visible(name))), ": ", *parts)


def _sections(out: Output, entry: Catalogued) -> Iterator[tuple[str, Pairs]]:
    backup, verdict = entry.backup, entry.retention
    head: Pairs = [("Server Name", backup.server)]
    if backup.name:
        head.append(("Backup Name", backup.name))
    head.append(("Status", [out.paint(backup.status.value, _STATUS_STYLES[backup.status])]))
    if backup.error:
        head.append(("Error", [out.paint(backup.error, "bad")]))
    yield "", [*head, ("PostgreSQL Version", backup.server_version), ("System Identifier", backup.system_identifier),
               ("PGDATA directory", backup.data_directory or None), ("Job", backup.job or None)]
    if backup.tablespaces:
        yield "Tablespaces", [(f"{each.name} ({each.oid})", each.location) for each in backup.tablespaces]
    yield "Base backup information", _base_information(out, entry)
    if entry.wal:
        last = entry.wal.last or (entry.own_wal.last if entry.own_wal else None)
        newest = Segment(*last).name(backup.segment_size) if last else None
        yield "WAL information", [("No of files", str(entry.wal.files)), ("Disk usage", size(entry.wal.stored)),
                                  ("Compression ratio", _saved(entry.wal)), ("Last available", newest)]
    yield "Catalog information", [
        ("Retention Policy", [out.paint(verdict.state.value, _RETENTION_STYLES.get(verdict.state, "good")),
                              f" ({verdict.reason})"]),
        ("Restorable from", _time(entry.restorable_from)), ("Restorable until", _time(entry.restorable_until)),
        ("Previous Backup", entry.previous or "- (this is the oldest base backup)"),
        ("Next Backup", entry.next or "- (this is the latest base backup)")]


def _base_information(out: Output, entry: Catalogued) -> Pairs:
    backup, own = entry.backup, entry.own_wal
    begin, end, segment_size = backup.begin_segment, backup.end_segment, backup.segment_size
    pairs: Pairs = []
    if backup.status.copied:
        with_wal = f" ({size(backup.stored_bytes + own.stored)} with WALs)" if own else ""
        pairs = [("Cluster size", f"{size(backup.size_bytes)} in {backup.file_count} files"),
                 ("Disk usage", size(backup.stored_bytes) + with_wal),
                 ("Incremental size", f"{size(backup.stored_bytes)} (-{backup.deduplication_ratio:.2%})")]
    pairs += [
        ("Method", backup.method), ("Timeline", str(backup.timeline)),
        ("Begin WAL", begin.name(segment_size) if begin else None),
        ("End WAL", end.name(segment_size) if end else None)]
    if own and begin and end:
        needed = end.number - begin.number + 1
        missing = needed - own.files
        pairs += [("WAL number", [str(needed), *([out.paint(f" ({missing} not archived)", "bad")] if missing else [])]),
                  ("WAL compression ratio", _saved(own))]
    return [*pairs, ("Begin time", _time(backup.started_at)), ("End time", _time(backup.finished_at)),
            ("Begin Offset", _offset(backup.begin_lsn, segment_size)),
            ("End Offset", _offset(backup.end_lsn, segment_size)),
            ("Begin XLOG", str(backup.begin_lsn) if backup.begin_lsn is not None else None),
            ("End XLOG", str(backup.end_lsn) if backup.end_lsn is not None else None),
            *(("Corrupt pages", [out.paint(path, "bad")]) for path in backup.corrupt_pages)]


def _saved(wal: WalShare) -> str | None:
    return f"{1 - wal.stored / wal.plain:.2%}" if wal.plain else None


def _offset(lsn: int | None, segment_size: int) -> str | None:
    return None if lsn is None else str(lsn % segment_size)


def _time(moment: datetime | None) -> str | None:
    from pgvault.model.times import utc

    return None if moment is None else utc(moment)


def files_arguments(parser: argparse.ArgumentParser) -> None:
    backup_arguments(parser)
    parser.add_argument("--target", choices=("data", "wal", "standalone", "full"), default="data",
                        help="which files (default: data)")
    parser.add_argument("--under", metavar="PATH", default="", help="only this file, or the files below this directory")
    parser.add_argument("-l", "--long", action="store_true", help="also print mode, size and time of modification")


def list_files(args: argparse.Namespace, context: Context) -> int:
    server = context.config.server(args.server)
    vault = Vault.open(context.config.vault.home).server(server.name)
    backup = catalog.find(vault, args.backup)
    if not backup.id.startswith(args.backup):  # a keyword such as latest, which skips backups without files
        report_unreadable(context, server.name, catalog.read_all(vault, save=False).unreadable)
    if not backup.status.copied:
        raise Refused(f"backup {backup.id} has no files", detail=f"It is {backup.status.value}.",
                      hint=f"pgvault list-backups {server.name}")
    if args.under and args.target in ("wal", "standalone"):
        raise UsageError("--under requires --target data or full", hint="WAL has no directories.")
    show = _file_document if context.json else _long_line if args.long else _short_line
    if args.target != "wal":
        _list_data(vault, backup, args.under, show, context.out)
    if args.target != "data" and not args.under:
        for file in wal_files(vault, backup, standalone=args.target == "standalone"):
            show(context.out, path=file.name, kind="wal", size=file.plain, mode=0o600,
                 mtime=file.accepted_at // 1_000_000)
    return 0


def _list_data(vault: ServerVault, backup: Backup, under: str, show: Callable[..., None], out: Output) -> None:
    from pgvault.vault.manifest import Kind, Manifest

    found = False
    with Manifest(vault, backup, check=True) as manifest:
        for entry in manifest.entries(under):
            found = True
            if entry.kind is not Kind.DIRECTORY:
                show(out, path=entry.path, kind=entry.kind.value, size=entry.size, mode=entry.mode,
                     mtime=entry.mtime, crc32c=entry.crc32c, tablespace=entry.tablespace, link=entry.link)
    if not found:
        raise NotFound(f"backup {backup.id} has no {under!r}",
                       hint="Paths are relative to the data directory; tablespaces are in pg_tblspc/OID.")


def _short_line(out: Output, *, path: str, **_: object) -> None:
    out.line(path)


def _long_line(out: Output, *, path: str, kind: str, size: int, mode: int, mtime: int, link: str | None = None,
               **_: object) -> None:
    letters = stat.filemode((stat.S_IFLNK if kind == "link" else stat.S_IFREG) | mode)
    out.line(f"{letters} {size:>13} {when(of_epoch(mtime))}  {path}{f' -> {link}' if link else ''}")


def _file_document(out: Output, *, path: str, kind: str, size: int, mode: int, mtime: int, crc32c: int | None = None,
                   tablespace: int | None = None, link: str | None = None) -> None:
    out.json_line({"path": path, "kind": kind, "size": size, "mode": f"{mode:04o}",
                   "modified_at": of_epoch(mtime), "crc32c": crc32c, "tablespace": tablespace,
                   "link": link})


COMMANDS = {"list-backups": Command(LIST_HELP, list_arguments, list_backups),
            "show-backup": Command(SHOW_HELP, backup_arguments, show_backup),
            "list-files": Command(FILES_HELP, files_arguments, list_files)}
