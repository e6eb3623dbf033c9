"""Case 29 and rule 22: what does not fit is refused with its numbers, before anything there is changed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from destination_site import Site, listing, made_site, needed
from support.account import account
from support.cli import Completed, pgvault
from support.fleet import Fleet
from support.installation import installations
from support.postgres import Server
from support.ssh import SshHost

from pgvault.io.probe_script import MARKER
from pgvault.model.text import size


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    with made_site(fleet) as site:
        yield site


@pytest.fixture
def refused(site: Site) -> Callable[..., Completed]:
    """Run a restore that must be refused with an exit code, and leave these places as they were."""

    def restore(*argv: str, watching: tuple[Path, ...] = (), code: int = 5) -> Completed:
        before, jobs = listing(*watching), set((site.home / "jobs").iterdir())
        done = site.run(*argv, "--target-immediate", "--yes", check=code)
        assert listing(*watching) == before
        assert set((site.home / "jobs").iterdir()) == jobs  # it did not even become a job
        return done

    return restore


def to(site: Site, directory: Path | str, *more: str, host: str = "here") -> list[str]:
    return site.restore_argv(host, directory, *more)


def test_a_directory_with_something_in_it(site: Site, refused: Callable[..., Completed]) -> None:
    directory = site.place("populated")
    directory.mkdir()
    (directory / "letter").write_text("keep me")
    account().own(directory)
    done = refused(*to(site, directory), watching=(site.root / "places",))
    assert f"{directory} holds letter." in done.stderr
    assert f"--overwrite {directory}" in done.stderr


def test_places_inside_another_cluster(site: Site, refused: Callable[..., Completed]) -> None:
    """Its server would back them up, and could remove them."""
    other = site.place("around")
    (other / "global").mkdir(parents=True)
    (other / "PG_VERSION").write_text("18\n")
    (other / "base").mkdir()
    for path in (other, *other.iterdir()):
        account().own(path)
    for directory in (other / "base", other / "new" / "data"):
        done = refused(*to(site, directory), watching=(site.root / "places",))
        assert f"{directory} lies inside the data directory {other} of another cluster." in done.stderr
    done = refused("restore", "main", "auto", str(site.place("fine")), "--host", "here", "--tablespace",
                   f"plain={other}/base/p", "--tablespace", f"linked={site.place('l')}",
                   watching=(site.root / "places",))
    assert f"{other}/base/p lies inside the data directory {other} of another cluster." in done.stderr


def test_a_complete_cluster_that_a_crash_left_marked(site: Site, refused: Callable[..., Completed]) -> None:
    """The host died between the last two steps of a restore, its server was started and used: the mark beside its
    pg_control is no leave to empty it, and with --overwrite it is kept."""
    directory = site.place("marked")
    site.restore("here", directory)
    (directory / MARKER).write_text(f"20261122T200512Z-01\nnew\n{directory}\n")
    (directory / "written-since").write_text("all my work")
    for path in (directory / MARKER, directory / "written-since"):
        account().own(path)
    elsewhere = [word for name in site.spaces for word in ("--tablespace", f"{name}={site.place(name)}-again")]
    again = ["restore", "main", "auto", str(directory), "--host", "here", *elsewhere]
    told = refused(*again, watching=(directory,))
    assert 'condition "directory" failed' in told.stderr
    site.run(*again, "--overwrite", str(directory), "--target-immediate", "--yes")
    [kept] = directory.parent.glob("marked.before-*")
    assert (kept / "written-since").read_text() == "all my work"


def test_a_running_server_even_with_overwrite(
    site: Site, refused: Callable[..., Completed], own_server: Callable[..., Server]
) -> None:
    running = own_server()
    for more in ([], ["--overwrite", str(running.data)]):
        done = refused(*to(site, running.data, *more), watching=(running.data / "base", running.data / "global"))
        assert 'condition "running server" failed' in done.stderr
        assert running.process in done.stderr
    assert running.scalar("select 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user(site: Site, refused: Callable[..., Completed], ssh_host: SshHost) -> None:
    site.add_host("far", ssh_host)
    directory = site.place(f"foreign-{ssh_host.flavour}")
    directory.mkdir()
    directory.chmod(0o777)
    done = refused(*to(site, directory, host="far"), watching=(directory,))
    assert f"{directory} belongs to root, and we are {account().name} there" in done.stderr
    assert f"chown {account().name} {directory}" in done.stderr


def test_a_link_is_judged_by_the_directory_that_it_leads_to(site: Site, refused: Callable[..., Completed]) -> None:
    """A link of root's to a directory of ours is fine; one of ours to root's is not."""
    ours, theirs = site.place("link-target"), site.place("link-to-root")
    ours.mkdir()
    account().own(ours)
    link = site.place("link-of-root")
    link.symlink_to(ours)
    assert site.run(*to(site, link), "--target-immediate", "--dry-run").returncode == 0
    if os.geteuid() == 0:
        root_owned = site.root / "of-root"
        root_owned.mkdir(exist_ok=True)
        theirs.symlink_to(root_owned)
        os.chown(theirs, account().uid, account().gid, follow_symlinks=False)
        assert "belongs to root" in refused(*to(site, theirs)).stderr


def test_a_parent_that_may_not_be_written_to(site: Site, refused: Callable[..., Completed]) -> None:
    parent = site.place("closed")
    parent.mkdir()
    account().own(parent)
    parent.chmod(0o555)
    done = refused(*to(site, parent / "below" / "data"), watching=(parent,))
    assert f"{account().name} may not write to {parent}." in done.stderr


def test_a_file_system_mounted_read_only(site: Site, refused: Callable[..., Completed], tmpfs) -> None:
    place = tmpfs(2)
    (place / "data").mkdir()
    account().own(place / "data")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    done = refused(*to(site, place / "data"), watching=(place,))
    assert f"{account().name} may not write to {place}/data." in done.stderr


def test_a_file_system_that_is_a_mebibyte_too_small(site: Site, refused: Callable[..., Completed], tmpfs) -> None:
    """Tablespaces on the same file system count too; with the mebibyte the plan stands."""
    need = needed(site)
    place = tmpfs((need >> 20) + 20)
    filler, directory = place / "filler", place / "data"
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
    with filler.open("wb") as file:
        file.write(bytes(free - need + (1 << 20)))
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
    done = refused(*to(site, directory), watching=(place,))
    assert f"({size(need - free)} too few)" in done.stderr
    assert need - free == pytest.approx(1 << 20, abs=4096)
    os.truncate(filler, filler.stat().st_size - (1 << 20) - 4096)
    assert site.run(*to(site, directory), "--target-immediate", "--dry-run").returncode == 0


def test_programs_of_another_major_only(site: Site, refused: Callable[..., Completed]) -> None:
    other = next((each for each in installations().values() if each.major != site.server.major), None)
    if other is None:
        pytest.skip("only one major of PostgreSQL is here")
    site.hosts["other"] = f'[hosts.other]\nlocal = true\nbin_directory = "{other.bin}"\n'
    site.write_config()
    done = refused(*to(site, site.place("other"), host="other"), watching=(site.root / "places",))
    assert f'condition "programs of PostgreSQL {site.server.major}" failed' in done.stderr
    assert f"Found: {other.version} in {other.bin}." in done.stderr


def test_a_path_that_is_not_absolute_is_wrong_usage(site: Site) -> None:
    done = site.run("restore", "main", "auto", "relative/path", "--host", "here", "--yes", check=2)
    assert "not an absolute path: relative/path" in done.stderr


@pytest.mark.parametrize("path", ["/", "//"])
def test_the_root_directory(site: Site, refused: Callable[..., Completed], path: str) -> None:
    argv = ["restore", "main", "auto", path, "--host", "here", "--tablespace", f"plain={site.place('p')}",
            "--tablespace", f"linked={site.place('l')}"]  # fmt: skip
    done = refused(*argv)
    assert "The root directory cannot be one." in done.stderr


def test_a_path_with_a_line_break(site: Site, refused: Callable[..., Completed]) -> None:
    argv = to(site, "/tmp/two\nlines")
    done = refused(*argv, watching=(site.root / "places",))
    assert "has control characters" in done.stderr


@pytest.mark.parametrize("name", ["it's \"quoted\" $(touch oops) `touch oops`;&|*=ü", "-n"])
def test_odd_paths_are_taken_literally(site: Site, name: str) -> None:
    """Rule 31."""
    directory = site.place("odd paths") / name
    site.restore("here", directory)
    site.verify_files(directory)
    assert not list(site.root.rglob("oops"))
    made = {path.name for path in directory.parent.iterdir() if path.name.startswith(name)}
    assert made == {name, f"{name}.plain", f"{name}.linked"}


# Tablespaces (case 16, rule 29)


def test_a_tablespace_without_a_place_is_refused(site: Site, refused: Callable[..., Completed]) -> None:
    done = refused("restore", "main", "auto", str(site.place("unmapped")), "--host", "here",
                   "--tablespace", f"plain={site.place('u.plain')}", watching=(site.root / "places",))  # fmt: skip
    assert "tablespace linked needs a place" in done.stderr
    assert site.spaces["linked"] in done.stderr


def test_a_tablespace_that_is_not_there_is_wrong_usage(site: Site) -> None:
    done = site.run(*to(site, site.place("x"), "--tablespace", "nosuch=/tmp/x"), "--yes", check=2)
    assert "has no tablespace 'nosuch'" in done.stderr
    assert "It has: linked, plain." in done.stderr


@pytest.mark.parametrize("case", ["inside by a link", "above", "twice by a link", "populated", "live"])
def test_a_tablespace_whose_place_is_taken(site: Site, refused: Callable[..., Completed], case: str) -> None:
    root = site.place(f"taken {case}")
    directory, elsewhere = root / "data", root / "elsewhere"
    root.mkdir()
    (root / "link").symlink_to(root)
    (root / "full").mkdir()
    (root / "full" / "file").write_text("mine")
    account().own(root)
    plain = {
        "inside by a link": root / "link" / "data" / "x", "above": root,
        "twice by a link": root / "link" / "elsewhere", "populated": root / "full",
        "live": Path(site.spaces["plain"]),
    }[case]  # fmt: skip
    done = refused("restore", "main", "auto", str(directory), "--host", "here", "--tablespace", f"linked={elsewhere}",
                   "--tablespace", f"plain={plain}", watching=(root, site.server.directory / "plain"))  # fmt: skip
    assert ("is not empty" if case in ("populated", "live") else "is taken by this restore itself") in done.stderr


# Talking to it


def test_the_dry_run_tells_the_plan_as_the_contract_says(site: Site) -> None:
    directory = site.place("dry")
    done = site.run("--format", "json", *to(site, directory, "--bwlimit", "50MB"), "--target-immediate", "--dry-run")
    plan = done.json()
    assert plan["target"]["stop_clock"] == "server"  # when the backup ended
    assert set(plan) >= {
        "schema", "plan", "server", "backup", "target", "destination", "timeline_path", "wal", "bytes_to_send",
        "bytes_to_write", "estimate_seconds", "overwrites", "settings_changed", "preconditions", "command",
    }  # fmt: skip
    backup = site.run("--format", "json", "show-backup", "main", plan["backup"]).json()
    shared = plan["backup_details"].keys() & backup.keys()
    assert shared >= {"id", "server_version", "size_bytes", "finished_at", "begin_wal", "end_wal", "tablespaces"}
    assert {name: plan["backup_details"][name] for name in shared} == {name: backup[name] for name in shared}
    assert plan["destination"]["state"] == {
        "contents": "missing", "pg_version": None, "running": False, "incomplete_restore": None, "holds": "nothing",
        "system_identifier": None, "server": None, "entries": [], "checkpoint_at": None,
        "size_bytes": None}  # fmt: skip
    assert "--if-holds nothing" in plan["command"]
    assert (plan["then"], plan["start"], plan["expects"]) == ("promote", False, [])
    assert plan["recovery_settings"].items() >= {
        "archive_mode": "off", "recovery_target": "immediate", "recovery_target_action": "promote",
        "recovery_target_timeline": "1"}.items()  # fmt: skip
    assert sum(each["needed_bytes"] for each in plan["space"]) > plan["bytes_to_write"]
    assert all(each["free_bytes"] >= each["needed_bytes"] for each in plan["space"])
    assert set(plan["wal"]) >= {"first", "last", "segments", "bytes", "missing"}
    assert all(set(each) >= {"name", "outcome", "detail", "fix"} for each in plan["preconditions"])
    assert plan["destination"]["directory"] == str(directory)
    assert plan["destination"]["tablespaces"] == {name: f"{directory}.{name}" for name in site.spaces}
    assert "--bwlimit 50MB" in plan["command"]
    assert not directory.exists()
    text = site.run(*to(site, directory), "--target-immediate", "--dry-run").text
    assert f"Destination       : here:{directory}" in text
    assert "OK: space" in text


def test_a_dry_run_that_is_refused_says_so_by_its_code(site: Site) -> None:
    done = site.run("--format", "json", *to(site, "/usr"), "--target-immediate", "--dry-run", check=5)
    failed = [each for each in done.json()["preconditions"] if each["outcome"] == "failed"]
    assert failed
    assert all(each["fix"] for each in failed)


def test_without_a_terminal_nothing_is_done_unless_told(site: Site) -> None:
    directory = site.place("unconfirmed")
    done = site.run(*to(site, directory), "--target-immediate", check=2)
    assert "add --yes" in done.stderr
    assert not directory.exists()


def test_errors_are_told_as_json_where_that_is_asked_for(site: Site) -> None:
    done = site.run("--format", "json", *to(site, "/usr"), "--target-immediate", "--yes", check=5)
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "refused"
    assert error["hint"]


# What cannot be renamed, and what fails before anything is there


def test_a_mount_point_cannot_be_set_aside(site: Site, refused: Callable[..., Completed], tmpfs) -> None:
    """It is refused by name before the server's own content is touched, and not found out halfway."""
    place = tmpfs(4)
    (place / "letter").write_text("keep me")
    account().own(place)
    done = refused(*to(site, place, "--overwrite", str(place)), watching=(place,))
    assert f"{place} is a mount point, which cannot be renamed." in done.stderr
    assert "will be renamed" not in done.stderr


def test_an_empty_mount_point_takes_a_tablespace(site: Site, tmpfs) -> None:
    place = tmpfs(64)
    (place / "lost+found").mkdir()
    account().own(place)
    directory = site.place("beside a mount")
    done = site.run("restore", "main", "auto", str(directory), "--host", "here", "--tablespace", f"plain={place}",
                    "--tablespace", f"linked={directory}.linked", "--target-immediate", "--dry-run")  # fmt: skip
    assert f"goes to {place}" in done.stdout.decode()


def test_a_directory_in_a_parent_of_somebody_else_cannot_be_set_aside(
    site: Site, refused: Callable[..., Completed], open_tmp: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory that belongs to somebody else")
    closed = open_tmp / "closed"
    directory = closed / "data"
    directory.mkdir(parents=True)
    (directory / "letter").write_text("keep me")
    account().own(directory)
    closed.chmod(0o755)
    done = refused(*to(site, directory, "--overwrite", str(directory)), watching=(closed,))
    assert f"{directory} cannot be renamed: we may not write to {closed}." in done.stderr


def test_what_fails_before_a_byte_is_there_leaves_no_mark_and_claims_none(site: Site) -> None:
    """Its name is too long for the file system, which only mkdir finds out."""
    directory = site.place("begun")
    before = listing(site.root / "places")
    done = site.run("restore", "main", "auto", str(directory), "--host", "here", "--target-immediate", "--yes",
                    "--tablespace", f"plain={site.place('x' * 256)}", "--tablespace", f"linked={directory}.linked",
                    check=1)  # fmt: skip
    assert "File name too long" in done.stderr
    assert "Nothing was changed there." in done.stderr
    assert "incomplete and marked" not in done.stderr
    assert listing(site.root / "places") == before


@pytest.mark.parametrize("name", ["my space=x", "=", "a=/b", "with'quote \"and\" $(sign)"])
def test_a_tablespaces_name_may_have_any_character(site: Site, name: str) -> None:
    """What the plan says to type is read as the same plan again."""
    place = site.server.directory / "odd space"
    place.mkdir()
    account().own(place)
    quoted_name = name.replace('"', '""')
    site.server.sql(f'create tablespace "{quoted_name}" location \'{place}\'')
    site.run("backup", "main", "--immediate-checkpoint")
    try:
        directory = site.place("odd names")
        argv = [*to(site, directory, "--tablespace", f"{name}={directory}.odd"), "--target-immediate"]
        plan = site.run("--format", "json", *argv, "--dry-run").json()
        assert plan["destination"]["tablespaces"][name] == f"{directory}.odd"
        again = site.run("--format", "json", *shlex.split(plan["command"])[1:], "--dry-run").json()
        assert again["destination"] == plan["destination"]
    finally:
        site.server.sql(f'drop tablespace "{quoted_name}"')
        place.rmdir()
        site.run("backup", "main", "--immediate-checkpoint")


def test_what_root_restores_is_said_to_be_roots(site: Site) -> None:
    """And what to do before the server that cannot run as root is started."""
    if os.geteuid() != 0:
        pytest.skip("this takes root")
    directory = site.place("of root")
    places = [f"{directory}.{name}" for name in ("linked", "plain")]
    argv = [*to(site, directory), "--target-immediate", "--yes"]
    subprocess.run(["chown", "-R", "root:root", site.home], check=True)  # the vault of one who is root everywhere
    try:
        done = pgvault(*argv, config=site.config, check=0)
        assert "root will own the files, and PostgreSQL does not run as root." in done.stderr
        assert f"chown -R postgres: {shlex.join(map(str, (directory, *places)))}" in done.stderr
        owners = {path.lstat().st_uid for path in (directory, *directory.rglob("*"))}
        assert owners == {0}
    finally:
        account().own(site.home)
        account().own(site.root / "places")
