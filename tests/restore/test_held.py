"""What a data directory holds when a restore comes, and whose it is: the rules, and their words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.restoring import MIB, SYSTEM, backup, destination, place, plan

from pgvault.engine.restore.directory_state import describe_contents, held_conditions, read_directory_state
from pgvault.io.probe import Contents, Destination, Postmaster
from pgvault.model.check import Outcome
from pgvault.model.restore_plan import DirectoryState, Precondition
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import Vault

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED
THEN = datetime(2026, 10, 31, 8, 30, 15, 999, tzinfo=UTC)
OTHER = "7300000000000000002"


def cluster(identifier: str | None = SYSTEM, **facts: object) -> Destination:
    return destination(place("/srv/data", Contents.POPULATED, "PG_VERSION", "base"), **{  # type: ignore[arg-type]
        "has_cluster": True, "pg_version": "17", "system_identifier": identifier, "checkpoint_at": THEN,
        "held_bytes": 3 * MIB, **facts})


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """Of main, of its copy and of another one."""
    vault = Vault.open_or_create(tmp_path / "vault")
    for name, identifier in (("copy", SYSTEM), ("main", SYSTEM), ("other", OTHER)):
        claim(vault.server(name), Identity(identifier, 16 * MIB))
    return vault


@pytest.mark.parametrize(("there", "holds"), [
    (destination(place(contents=Contents.NOT_A_DIRECTORY)), ""),
    (destination(place(contents=Contents.UNREADABLE)), ""),
    (destination(place(contents=Contents.MISSING)), "nothing"),
    (destination(place()), "nothing"),
    (destination(place("/srv/data", Contents.POPULATED, "lost+found")), "nothing"),
    (destination(place("/srv/data", Contents.POPULATED, "lost+found", "x")), "no-cluster"),
    (cluster(), SYSTEM),
    (cluster(None), "unknown"),
    (cluster(incomplete_restore="J1"), "incomplete:J1"),
])  # fmt: skip
def test_what_it_holds_comes_to_one_word(vault: Vault, there: Destination, holds: str) -> None:
    assert read_directory_state(there, vault, "main").holds == holds


@pytest.mark.parametrize(("identifier", "asked", "server"), [
    (SYSTEM, "main", "main"), (SYSTEM, "copy", "copy"), (SYSTEM, "third", "copy"), (OTHER, "main", "other"),
    ("7", "main", None), (None, "main", None)])
def test_of_several_servers_of_one_cluster_the_one_that_is_restored_is_meant(
        vault: Vault, identifier: str | None, asked: str, server: str | None) -> None:
    assert read_directory_state(cluster(identifier), vault, asked) == DirectoryState(
        "populated", "17", False, None, identifier or "unknown", identifier, server, ("PG_VERSION", "base"), THEN,
        3 * MIB)


@pytest.mark.parametrize(("postmaster", "running"), [
    (None, False), (Postmaster(9, False, "", None, None, ""), False), (Postmaster(9, True, "x", None, None, ""), True)])
def test_it_runs_while_its_postmaster_lives(vault: Vault, postmaster: Postmaster | None, running: bool) -> None:
    state = read_directory_state(cluster(postmaster=postmaster, incomplete_restore="J1"), vault, "main")
    assert (state.running, state.incomplete_restore) == (running, "J1")


LAST = "last checkpoint 2026-10-31 08:30:15+00"


@pytest.mark.parametrize(("there", "where", "told"), [
    (destination(), "", "nothing"),
    (destination(incomplete_restore="J1"), "in /d", "what the incomplete restore J1 left"),
    (destination(place("/srv/data", Contents.POPULATED, "a", "b")), "", "files that are no cluster: a, b"),
    (destination(place("/srv/data", Contents.POPULATED, "a"), held_bytes=2048), "in /d",
     "files in /d that are no cluster: a (2.0 KiB)"),
    (cluster(), "", f"the cluster of PostgreSQL 17: main itself or a copy of it (system identifier {SYSTEM}, {LAST}, "
                    "3.0 MiB)"),
    (cluster(pg_version=None, checkpoint_at=None, held_bytes=None), "in /d",
     f"the cluster in /d: main itself or a copy of it (system identifier {SYSTEM})"),
    (cluster(OTHER), "in /d", f"the cluster of PostgreSQL 17 in /d, NOT a copy of main: it is other or a copy of it "
                              f"(system identifier {OTHER}, {LAST}, 3.0 MiB)"),
    (cluster("7", held_bytes=None), "", "the cluster of PostgreSQL 17, NOT a copy of main: it is a cluster that this "
                                        f"vault does not know (system identifier 7, {LAST})"),
    (cluster(None), "", "the cluster of PostgreSQL 17; whether it is a copy of main is not known: its "
                        "global/pg_control is damaged or cannot be read (3.0 MiB)"),
    (cluster(None, held_bytes=None), "", "the cluster of PostgreSQL 17; whether it is a copy of main is not known: "
                                         "its global/pg_control is damaged or cannot be read"),
])  # fmt: skip
def test_what_is_there_is_told_with_whose_it_is(vault: Vault, there: Destination, where: str, told: str) -> None:
    assert describe_contents(read_directory_state(there, vault, "main"), "main", backup(), where) == told


@pytest.mark.parametrize(("there", "planned", "told"), [
    (destination(), "nothing", None),
    (destination(), "", None),
    (cluster(), "", None),
    (cluster(), SYSTEM, None),
    (destination(place(contents=Contents.UNREADABLE)), "nothing", None),
    (destination(place("/srv/data", Contents.POPULATED, "a")), "nothing",
     "The plan was made for a directory that holds nothing; now it holds files that are no cluster: a."),
    (destination(incomplete_restore="J2"), "incomplete:J1",
     "The plan was made for a directory that holds what the incomplete restore J1 left; now it holds what the "
     "incomplete restore J2 left."),
    (cluster(OTHER, held_bytes=None, checkpoint_at=None), SYSTEM,
     f"The plan was made for a directory that holds the cluster of system identifier {SYSTEM}; now it holds the "
     f"cluster of PostgreSQL 17, NOT a copy of main: it is other or a copy of it (system identifier {OTHER})."),
    (destination(), SYSTEM,
     f"The plan was made for a directory that holds the cluster of system identifier {SYSTEM}; now it holds nothing."),
])  # fmt: skip
def test_a_plan_is_carried_out_on_what_it_was_made_for_alone(vault: Vault, there: Destination, planned: str,
                                                             told: str | None) -> None:
    found = list(held_conditions(read_directory_state(there, vault, "main"), plan(if_holds=planned)))
    assert found == ([Precondition("planned content", FAILED, told, "Look at what is there, and make the plan again, "
                                   "without --if-holds.")] if told else [])


SURE = "Be sure that nobody needs it where it is, or choose another directory."


@pytest.mark.parametrize(("there", "expected"), [
    (cluster(), (OK, "main itself or a copy of it, by its system identifier", "")),
    (cluster(None), (WARNING, "The cluster there cannot be identified.",
                     "Find out whose it is before you let it be renamed.")),
    (cluster(OTHER), (WARNING, f"The cluster there has system identifier {OTHER}, as other has; main has {SYSTEM}.",
                      SURE)),
    (cluster("7"), (WARNING, f"The cluster there has system identifier 7; main has {SYSTEM}.", SURE)),
    (destination(place("/srv/data", Contents.POPULATED, "a")), None),
])  # fmt: skip
def test_whose_cluster_is_set_aside(vault: Vault, there: Destination,
                                    expected: tuple[Outcome, str, str] | None) -> None:
    state = read_directory_state(there, vault, "main")
    assert list(held_conditions(state, plan(sets_aside=True))) == (
        [Precondition("replaced cluster", *expected)] if expected else [])
    assert list(held_conditions(state, plan())) == []
