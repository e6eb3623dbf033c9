"""What happens in the sandbox before the pictures are taken: some weeks of a shop's life in less than a minute.

Three backups and one that failed, small commits all the time, a restore point before a deploy, what the deploy deleted,
and at last the demonstration's dropped table.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from pgvault.demo.commands import Commands
from pgvault.demo.sandbox import PRIMARY, Sandbox
from pgvault.demo.story import Loss, Story
from pgvault.model.errors import PgvaultError

MEGABYTES = 60
_VISITS = "CREATE TABLE visits (at timestamptz DEFAULT clock_timestamp(), page text)"
_MORNING = """
DO $$ BEGIN
    FOR i IN 1..250 LOOP
        INSERT INTO visits (page) VALUES ('/catalogue/' || i % 90);
        COMMIT;
        PERFORM pg_sleep(0.02 + 0.02 * sin(i / 20.0));
    END LOOP;
END $$
"""
_RESTORE_POINT = "SELECT pg_create_restore_point('before-deploy')"
_DEPLOY = """
ALTER TABLE orders ADD COLUMN channel text;
DELETE FROM orders WHERE state = 'returned';
"""


def with_short_paths(sandbox: Sandbox) -> Sandbox:
    """The same, where PostgreSQL's programs are called by a path as short as that of a real installation."""
    programs = sandbox.directory / "bin"
    programs.symlink_to(sandbox.programs)
    return replace(sandbox, programs=programs)


def lived(sandbox: Sandbox) -> Loss:
    """Build the sandbox and let it live up to the loss."""
    story, commands = Story(sandbox, _count), Commands(sandbox, _count)
    story.build(MEGABYTES)
    story.protect()
    run = sandbox.primary.sql
    run(_VISITS)
    run(_MORNING)
    commands.pgvault("backup", PRIMARY, "--name", "nightly")
    run(_MORNING)
    _fail_to_back_up(sandbox, commands)
    run(_RESTORE_POINT)
    run(_MORNING)
    run(_DEPLOY)
    commands.pgvault("backup", PRIMARY, "--name", "after-deploy")
    run(_MORNING)
    loss = story.lose()
    print(flush=True)
    return loss


def _fail_to_back_up(sandbox: Sandbox, commands: Commands) -> None:
    """Somebody left a copy in the data directory that the server's account may not read."""
    copy = sandbox.primary.data / "postgresql.conf.save"
    copy.touch(mode=0)
    with suppress(PgvaultError):
        commands.pgvault("backup", PRIMARY)
    copy.unlink()


def _count(happening: object) -> None:
    print(".", end="", flush=True)
