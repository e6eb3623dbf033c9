"""PostgreSQL's own backup manifest, with which every arrived file is compared.

Documentation: "Backup Manifest Format". The server writes one JSON document with one file per line. It is read line by
line, so that a million files need no memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pgvault.model.errors import PgvaultError
from pgvault.vault.manifest import ManifestWriter

_NOT_LISTED = frozenset({"backup_manifest"})
"""The manifest itself, which is stored as a file of the backup."""


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    path: str
    size: int
    crc32c: int


class ServerManifest:
    """Collects the manifest in an unnamed file, and compares."""

    def __init__(self, directory: Path) -> None:
        self._text = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 -- lives as long as this object
        self.size = 0

    def close(self) -> None:
        self._text.close()

    def feed(self, chunk: memoryview) -> None:
        self._text.write(chunk)
        self.size += len(chunk)

    def chunks(self) -> Iterator[memoryview]:
        """Yield its text in pieces."""
        self._text.seek(0)
        while chunk := self._text.read(1 << 20):
            yield memoryview(chunk)

    def compare(self, manifest: ManifestWriter, beside: int = 0) -> None:
        """Check that every listed file arrived with its size and CRC-32C; PgvaultError names the first that did not.

        `beside` is the number of files that arrived otherwise.
        """
        self._text.seek(0)
        digest, stated, listed = hashlib.sha256(), "", 0
        for line in self._text:
            if line.startswith(b'"Manifest-Checksum"'):
                stated = line.decode(errors="replace").removeprefix('"Manifest-Checksum": "').rstrip().rstrip('}"')
                break
            digest.update(line)
            if line.startswith(b"{ \"Path\"") or line.startswith(b"{ \"Encoded-Path\""):
                listed += 1
                self._compare_one(parse_file_line(line), manifest)
        if stated != digest.hexdigest():
            raise _wrong("the server's backup manifest does not match its own checksum")
        if not listed:
            raise _wrong("the server's backup manifest lists no files")
        if (arrived := manifest.file_count - len(_NOT_LISTED) - beside) > listed:
            raise _wrong(f"{arrived} files arrived, its manifest lists {listed}")

    def _compare_one(self, expected: ExpectedFile, manifest: ManifestWriter) -> None:
        found = manifest.find(expected.path)
        if found is None:
            raise _wrong(f"{expected.path} did not arrive")
        size, crc = found
        if size != expected.size:
            raise _wrong(f"{expected.path} arrived with {size} bytes instead of {expected.size}")
        if crc != expected.crc32c:
            raise _wrong(f"{expected.path} arrived damaged: CRC-32C {crc or 0:08x} instead of {expected.crc32c:08x}")


def parse_file_line(line: bytes) -> ExpectedFile:
    """Parse one line of `Files`; PgvaultError if that fails."""
    try:
        fields = json.loads(line.strip().rstrip(b","))
        path = fields["Path"].encode() if "Path" in fields else bytes.fromhex(fields["Encoded-Path"])
        if fields["Checksum-Algorithm"] != "CRC32C":
            raise ValueError(f"unexpected checksum {fields['Checksum-Algorithm']}")
        # The server prints the CRC's bytes in memory order, lowest first.
        crc = int.from_bytes(bytes.fromhex(fields["Checksum"]), "little")
        return ExpectedFile(os.fsdecode(path), int(fields["Size"]), crc)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _wrong(f"a line of the server's backup manifest cannot be read: {error!r}") from None


def _wrong(reason: str) -> PgvaultError:
    return PgvaultError(f"the backup differs from what the server sent: {reason}",
                        hint="Run the backup again; if it fails again, check the network and this machine's memory.")
