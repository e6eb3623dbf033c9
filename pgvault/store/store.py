"""The protocol of a store: what a vault needs from the place of its objects.

An object is put whole and read by ranges; nothing is written in place. There is `local` (a directory) and `memory` (for
tests); all pass one suite, tests/store/test_store.py. What adds to a store (retries, faults for tests) wraps it and is
a store again.

Errors are those of `model.errors`, whatever the store is made of:

    NotFound      there is no such object, and that is proven
    Conflict      the object exists already, or has changed since it was looked at
    Corrupt       the object is shorter than what is asked of it
    NoSpace       nothing more can be stored
    Refused       this user may not
    Unreachable   the store does not answer, or what answers is not the vault
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from pgvault.model.errors import Conflict, Corrupt, NotFound
from pgvault.store.files import SpoolFile
from pgvault.store.keys import Key, Kind


class Facts(NamedTuple):
    """What a store knows about an object without reading it."""

    size: int
    modified: int
    """When its contents were written, in nanoseconds since 1970."""
    version: str
    """Differs whenever the content may: what `put` compares. An inode and its times, or an entity tag."""


class Listed(NamedTuple):
    name: str
    facts: Facts | None = None
    """The object's facts; None if a listing does not have them: `stat` does."""


class Properties(NamedTuple):
    """The promises of a store; code that relies on a promise checks for it."""

    conditional_puts: bool
    """True if of several puts of one key at once, one succeeds and every other raises Conflict. Otherwise only the
    caller's lease keeps them apart.
    """
    atomic_replace: bool
    """True if reading while an object is replaced returns the old contents or the new, complete."""


class Store(Protocol):
    """May be used by several threads at once."""

    @property
    def properties(self) -> Properties: ...

    def put(self, key: Key, content: bytes | SpoolFile, *, replaces: Facts | None = None) -> None:
        """Store an object: durable when this returns, absent when it raises.

        Without `replaces` the key must be free; with it the object must be the one that had these facts; otherwise
        Conflict is raised, and the existing object is durable, too. A SpoolFile is taken over and gone afterwards;
        after Conflict it is still the caller's. After any other error the object may exist all the same, as when an
        answer got lost: a caller that puts again then gets Conflict, and compares.
        """

    def stat(self, key: Key) -> Facts | None:
        """Return the facts of an object; None only if it is proven that there is none; Unreachable if that cannot be
        proven."""

    def read(self, key: Key, offset: int = 0, length: int | None = None) -> bytes:
        """Return exactly `length` bytes from `offset` on, or all that follow; Corrupt if the object has fewer."""

    def stream(self, key: Key) -> BinaryIO:
        """Return the object from its beginning, to be read in pieces by one thread, and closed."""

    def list(self, kind: Kind, server: str = "", *, prefix: str = "", after: str = "") -> Iterator[Listed]:
        """Yield the objects of a kind in the order of their names: those that begin with `prefix` and follow `after`.

        Of a backup, a name is listed if any of its objects is there. Of IDENTITY, the names are those of the servers.
        An object that is put or deleted meanwhile may be listed or not.
        """

    def revision(self, kind: Kind, server: str) -> str:
        """Return a value that differs whenever an object of the kind was put or deleted since; cheap enough to ask for
        every few seconds."""

    def delete(self, key: Key) -> None:
        """Delete an object durably; one that is not there is no error, so that what was interrupted can be done again.
        """

    def spool(self, key: Key) -> SpoolFile:
        """Return a new file on this machine for making an object's content in, before `put` takes it over."""

    def sweep(self, kind: Kind, server: str, *, alone: bool = False) -> None:
        """Remove the spool files that dead processes left; with `alone`, all: the caller holds the lease that every
        other writer of this kind would hold."""

    def location(self, key: Key) -> str:
        """Return where the object is, or would be, for people: a path, or an address."""


# The same words whatever the store is made of.
_FROM_COPY = "Bring the file back from a copy of the vault."


def absent(location: str) -> NotFound:
    return NotFound(f"there is no {location}", hint=_FROM_COPY)


def cut_short(location: str, lacking: int, end: int) -> Corrupt:
    return Corrupt(f"{location} is cut short", detail=f"It ends at byte {end}; {lacking} bytes are lacking.",
                   hint=_FROM_COPY)


def exists_already(location: str) -> Conflict:
    return Conflict(f"{location} exists already", detail="What is stored is never overwritten.")


def changed(location: str) -> Conflict:
    return Conflict(f"{location} was changed by another process", hint="Run this again.")
