"""A base backup's streams become a backup that reads back as what was sent, whatever an earlier one has of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from support.objects import pack_path
from support.restoring import backup
from test_server_manifest import document, line
from test_tar_stream import written

from pgvault.engine.backup.copy import Copier
from pgvault.engine.backup.linked import Linked
from pgvault.engine.progress import Progress
from pgvault.engine.restore.files import plain_file
from pgvault.io.tar import END_OF_ARCHIVE, MemberKind
from pgvault.model.backup import Backup
from pgvault.model.errors import PgvaultError
from pgvault.model.event import discard
from pgvault.vault import catalog
from pgvault.vault.frames import FrameStore
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Entry, Kind, Manifest, ManifestWriter
from pgvault.vault.packs import FRAME_SIZE, PackReader, pack_names

PAGE = 8192


def noise(size: int, seed: bytes = b"") -> bytes:
    return hashlib.shake_256(seed).digest(size)


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    vault = Vault.open_or_create(tmp_path / "vault").server("main")
    vault.prepare()
    return vault


class Taken:
    """Backups of one vault, each as a server would send it."""

    def __init__(self, server: ServerVault) -> None:
        self.server, self.count = server, 0
        self.progress = Progress(discard)

    def take(self, files: Mapping[str, bytes], previous: Backup | None = None, *, chunk: int = 65536,
             aside: Mapping[str, bytes] | None = None, linked: tuple[Linked, ...] = (), workers: int = 2,
             sent: Mapping[str, bytes] | None = None, rooted: bool = False) -> Backup:  # fmt: skip
        """`aside` are the files of tablespace 16400, which is a link in the one stream or, `rooted`, begins its own;
        `sent` is what the server's manifest says, if not what it is."""
        self.count += 1
        made = backup(id=f"20261101T1200{self.count:02}Z")
        catalog.create(self.server, made)
        self.progress = Progress(discard)
        with ExitStack() as scope:
            store = scope.enter_context(FrameStore(self.server))
            earlier = scope.enter_context(Manifest(self.server, previous)) if previous else None
            writer = ManifestWriter(self.server, made.id)
            copier = scope.enter_context(Copier(self.server, store, writer, earlier, level=1, workers=workers,
                                                progress=self.progress))
            listed = dict(files if sent is None else sent)
            copier.archive(None)
            self.feed(copier, [written("base", MemberKind.DIRECTORY, mode=0o750, mtime=7),
                               *(written(path, content=content, mode=0o640, mtime=9)
                                 for path, content in files.items()),
                               b"" if rooted else written("pg_tblspc/16400", MemberKind.LINK, link="/mnt/fast"),
                               END_OF_ARCHIVE], chunk)
            if aside is not None:
                copier.archive(16400)
                self.feed(copier, [written("." if rooted else "PG_17", MemberKind.DIRECTORY),
                                   *(written(path, content=content) for path, content in aside.items()),
                                   END_OF_ARCHIVE], chunk)
                listed |= {f"pg_tblspc/16400/{path}": content for path, content in aside.items()}
            copier.manifest(memoryview(document([line(path, content) for path, content in listed.items()])))
            for each in linked:
                copier.add_linked(each)
            copier.finish()
            made = replace(made, manifest_sha256=writer.publish())
        catalog.write(self.server, made)
        return made

    @staticmethod
    def feed(copier: Copier, members: list[bytes], chunk: int) -> None:
        stream = b"".join(members)
        for at in range(0, len(stream), chunk):
            copier.tar(memoryview(bytearray(stream[at:at + chunk])))

    def entries(self, made: Backup) -> dict[str, Entry]:
        with Manifest(self.server, made, check=True) as manifest:
            return {each.path: each for each in manifest.entries()}

    def read(self, made: Backup) -> dict[str, bytes]:
        with Manifest(self.server, made, check=True) as manifest, PackReader(self.server) as packs:
            return {each.path: b"".join(plain_file(each, manifest, packs)) for each in manifest.entries()
                    if each.kind is Kind.FILE and each.path != "backup_manifest"}

    def frames(self, made: Backup, path: str) -> list[tuple[bool, bool]]:
        """Of each run of a file: whether it has a frame, and whether a delta."""
        with Manifest(self.server, made) as manifest:
            runs = (manifest.run(path, number) for number in range(99))
            return [(each.frame is not None, each.delta is not None) for each in runs if each is not None]

    @property
    def stored(self) -> int:
        return sum(pack_path(self.server, name).stat().st_size for name in pack_names(self.server))


@pytest.fixture
def taken(server: ServerVault) -> Taken:
    return Taken(server)


LARGE = noise(3 * FRAME_SIZE + 5000, b"l")
FILES = {"PG_VERSION": b"17\n", "base/1": LARGE, "base/2": bytes(2 * FRAME_SIZE), "base/3": b"",
         "base/4": noise(FRAME_SIZE, b"4"), "base/5": bytes(100) + b"x" + bytes(100), "base/6": b"\0" * 64 + b"y\0",
         "base/7": noise(700_000, b"7"), "base/8": noise(700_000, b"8"), "caf\udce9": b"odd"}  # fmt: skip


@pytest.mark.parametrize("chunk", [1 << 22, 65536, 10_007])
def test_what_was_sent_reads_back(taken: Taken, chunk: int) -> None:
    made = taken.take(FILES, chunk=chunk, aside={"PG_17/1": noise(9000, b"a")})
    assert taken.read(made) == {**FILES, "pg_tblspc/16400/PG_17/1": noise(9000, b"a")}
    found = taken.entries(made)
    first = found["base/1"]
    assert replace(first, id=0) == Entry(0, "base/1", Kind.FILE, len(LARGE), 0o640, 9, crc32c(LARGE))
    assert replace(found["base"], id=0) == Entry(0, "base", Kind.DIRECTORY, 0, 0o750, 7)
    assert replace(found["pg_tblspc/16400/PG_17/1"], id=0) == Entry(
        0, "pg_tblspc/16400/PG_17/1", Kind.FILE, 9000, 0o600, 1, crc32c(noise(9000, b"a")), 16400)
    assert replace(found["pg_tblspc/16400"], id=0) == Entry(
        0, "pg_tblspc/16400", Kind.LINK, 0, 0o600, 1, link="/mnt/fast")
    assert replace(found["pg_tblspc/16400/PG_17"], id=0) == Entry(
        0, "pg_tblspc/16400/PG_17", Kind.DIRECTORY, 0, 0o600, 1, tablespace=16400)
    assert taken.frames(made, "base/2") == [(False, False)] * 2
    assert taken.frames(made, "base/1") == [(True, False)] * 4
    kept = found["backup_manifest"]
    assert (kept.kind, kept.mode) == (Kind.FILE, 0o600)
    assert abs(kept.mtime - time.time()) < 3600
    counted = sum(map(len, FILES.values())) + 9000 + kept.size
    assert (taken.progress.done_bytes, taken.progress.files) == (counted, len(FILES) + 2)


def test_the_root_of_a_tablespaces_stream_is_its_directory(taken: Taken) -> None:
    found = taken.entries(taken.take(FILES, aside={"PG_17/1": b"x"}, rooted=True))
    assert replace(found["pg_tblspc/16400"], id=0) == Entry(
        0, "pg_tblspc/16400", Kind.DIRECTORY, 0, 0o600, 1, tablespace=16400)


def test_the_servers_own_manifest_is_kept_as_it_came(taken: Taken) -> None:
    made = taken.take(FILES)
    with Manifest(taken.server, made) as manifest, PackReader(taken.server) as packs:
        entry = manifest.find("backup_manifest")
        assert entry is not None
        assert b"".join(plain_file(entry, manifest, packs)) == document([line(p, c) for p, c in FILES.items()])


@pytest.mark.parametrize(("sent", "told"), [
    ({**FILES, "more": b"x"}, "more did not arrive"), ({**FILES, "PG_VERSION": b"18\n"}, "PG_VERSION arrived damaged"),
    ({path: content for path, content in FILES.items() if path != "base/4"}, "files arrived")])
def test_what_is_not_what_the_server_says_fails(taken: Taken, sent: Mapping[str, bytes], told: str) -> None:
    with pytest.raises(PgvaultError, match=told):
        taken.take(FILES, sent=sent)


def test_a_stream_that_ends_too_early_fails(taken: Taken) -> None:
    made = backup()
    catalog.create(taken.server, made)
    whole = written("a", content=bytes(5000))
    for more in (lambda copier: copier.archive(16400), lambda copier: copier.finish()):
        with FrameStore(taken.server) as store:
            writer = ManifestWriter(taken.server, made.id)
            with Copier(taken.server, store, writer, None, level=1, workers=1, progress=Progress(discard)) as copier:
                copier.archive(None)
                copier.tar(memoryview(whole[:3000]))
                with pytest.raises(PgvaultError, match="ended within a file"):
                    more(copier)
            writer.abandon()


# What an earlier backup has of it


CHANGED = noise(PAGE, b"c") + LARGE[PAGE:]


def test_what_did_not_change_takes_no_room(taken: Taken) -> None:
    first = taken.take(FILES)
    before = taken.stored
    second = taken.take(FILES, first)
    assert taken.read(second) == FILES
    assert taken.stored - before < 2000  # but for nothing at all


@pytest.mark.parametrize(("path", "delta"), [("base/1", True), ("base/1_vm", False), ("base/1_fsm", False)])
def test_a_changed_page_is_a_delta_of_it(taken: Taken, path: str, delta: bool) -> None:
    """Rule 7a: some forks are stored whole."""
    first = taken.take({path: LARGE})
    before = taken.stored
    second = taken.take({path: CHANGED}, first)
    assert taken.read(second) == {path: CHANGED}
    assert taken.frames(second, path) == [(True, delta), *[(True, False)] * 3]
    assert (taken.stored - before < 100_000) is delta
    third = taken.take({path: CHANGED}, second)
    assert taken.read(third) == {path: CHANGED}
    assert taken.frames(third, path) == taken.frames(second, path)
    again = noise(PAGE, b"d") + CHANGED[PAGE:]
    fourth = taken.take({path: again}, third)
    assert taken.read(fourth) == {path: again}


def test_a_file_that_grew_or_shrank_is_stored_anew_at_its_end(taken: Taken) -> None:
    first = taken.take({"base/1": LARGE[:FRAME_SIZE + 100]})
    grown = taken.take({"base/1": LARGE}, first)
    shrunk = taken.take({"base/1": LARGE[:FRAME_SIZE + 50]}, grown)
    assert taken.read(grown) == {"base/1": LARGE}
    assert taken.read(shrunk) == {"base/1": LARGE[:FRAME_SIZE + 50]}
    zeros = taken.take({"base/1": bytes(FRAME_SIZE)}, first)
    assert taken.read(taken.take({"base/1": LARGE[:FRAME_SIZE]}, zeros)) == {"base/1": LARGE[:FRAME_SIZE]}


def test_the_same_content_is_stored_once_wherever_it_is(taken: Taken) -> None:
    made = taken.take({"a": LARGE[:FRAME_SIZE], "b": LARGE[:FRAME_SIZE]}, workers=1)
    assert taken.read(made)["b"] == LARGE[:FRAME_SIZE]
    assert taken.stored < 1.5 * FRAME_SIZE


def test_a_full_backup_heals_what_is_damaged_in_an_older_pack(taken: Taken) -> None:
    taken.take({"base/1": LARGE})
    for name in pack_names(taken.server):
        path = pack_path(taken.server, name)
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(bytes(damaged))
    assert taken.read(taken.take({"base/1": LARGE})) == {"base/1": LARGE}


# What is behind links


def test_what_was_read_behind_links_is_a_part_of_it(taken: Taken) -> None:
    links = (Linked("conf.d", None), Linked("conf.d/a.conf", b"x = 1"))
    made = taken.take(FILES, linked=links)
    assert taken.read(made) == {**FILES, "conf.d/a.conf": b"x = 1"}
    found = taken.entries(made)
    assert (found["conf.d"].kind, found["conf.d"].mode, found["conf.d"].size) == (Kind.DIRECTORY, 0o700, 0)
    assert (found["conf.d/a.conf"].mode, found["conf.d/a.conf"].tablespace) == (0o600, None)
    assert all(abs(found[path].mtime - time.time()) < 3600 for path in ("conf.d", "conf.d/a.conf"))
    with pytest.raises(PgvaultError, match="files arrived"):
        taken.take(FILES, linked=links, sent={path: FILES[path] for path in list(FILES)[1:]})


# Anything


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, bytes]]:
    """A few states of a few files, pages of which change, come and go."""
    pages = st.sampled_from([bytes(PAGE), noise(PAGE, b"1"), noise(PAGE, b"2"), noise(PAGE, b"3")])
    state: dict[str, list[bytes]] = {}
    found = []
    for _ in range(draw(st.integers(1, 3))):
        for path in draw(st.lists(st.sampled_from(["base/1", "base/2", "base/2_vm", "base/3"]), max_size=4)):
            changed = list(state.get(path, []))
            for _ in range(draw(st.integers(0, 3))):
                if changed and draw(st.booleans()):
                    changed[draw(st.integers(0, len(changed) - 1))] = draw(pages)
                else:
                    changed += [draw(pages)] * draw(st.sampled_from([1, 2, 127, 128, 129]))
            state[path] = changed[:draw(st.sampled_from([1, 128, 1000]))]
        found.append({path: b"".join(content) for path, content in state.items()} | {"PG_VERSION": b"17\n"})
    return found


@given(histories(), st.booleans(), st.sampled_from([4096, 100_000]))
@settings(max_examples=12)
def test_every_backup_of_a_history_reads_back(tmp_path_factory: pytest.TempPathFactory, states: list[dict[str, bytes]],
                                              full: bool, chunk: int) -> None:  # fmt: skip
    server = Vault.open_or_create(tmp_path_factory.mktemp("history") / "vault").server("main")
    server.prepare()
    taken, made = Taken(server), []
    for state in states:
        made.append(taken.take(state, made[-1] if made and not full else None, chunk=chunk))
    assert [taken.read(each) for each in made] == states


