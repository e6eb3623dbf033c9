"""What the verbs print with `--format json`, as real commands gave it: one server, its vault, an accident, a restore.

The story ends with damage to the vault, for what only a damaged one reports.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.cli import Completed
from support.postgres import wait_until
from target_world import World

SETTINGS = """description = "Main DB Server"
last_backup_maximum_age = "1 DAYS"
retention_policy = "RECOVERY WINDOW OF 7 DAYS" """
TABLE = "postgres.public.lost"


class Story:
    """`documents` are by the heading of docs/cli.md that describes them."""

    def __init__(self, world: World) -> None:
        self.world, self.documents = world, defaultdict[str, list[Any]](list)
        self._data = world.root / "restored"

    def run(self, heading: str, *words: str | Path, check: int = 0) -> Completed:
        done = self.world.cli("--format", "json", *words, check=check)
        self.documents[heading] += done.json_lines()
        for line in done.stderr.splitlines():
            if line.startswith("{"):
                document = json.loads(line)
                self.documents[document.get("event", "Errors")].append(document)
        return done

    def tell(self) -> Mapping[str, list[Any]]:
        for chapter in (self.configure, self.protect, self.lose, self.look, self.restore, self.use, self.work,
                        self.expire, self.damage):
            chapter()
        return self.documents

    def configure(self) -> None:
        self.run("list-servers", "list-servers")
        self.run("check", "check", "main", check=3)
        self.run("backup --dry-run", "backup", "main", "--dry-run")
        self.run("config check", "config", "check")
        self.run("config show", "config", "show")
        self.run("config help", "config", "help")
        self.run("explain", "explain", "refused")
        self.run("explain without a code", "explain")
        self.run("Backup", "show-backup", "main", "latest", check=4)
        wrong = self.world.root / "wrong.toml"
        wrong.write_text("[vault]\nhom = 1\n[servers.x]\n")
        self.world.config_file, ours = wrong, self.world.config_file
        self.run("config check", "config", "check", check=2)
        self.world.config_file = ours

    def protect(self) -> None:
        server = self.world.server
        server.new_tablespace("fast")
        server.sql("CREATE TABLE here TABLESPACE fast AS SELECT generate_series(1, 50) AS i")
        server.sql("CREATE TABLE lost AS SELECT generate_series(1, 500) AS i")
        self.run("Backup", "backup", "main", "--name", "first")
        self.run("backup --dry-run", "backup", "main", "--dry-run", "--bwlimit", "50MB")

    def lose(self) -> None:
        server = self.world.server
        server.sql("SELECT pg_create_restore_point('before the accident')")
        server.sql("BEGIN; DELETE FROM here WHERE i < 3; PREPARE TRANSACTION 'half'")
        server.sql("DELETE FROM lost WHERE i > 300")
        server.sql("DROP TABLE lost")
        self.run("switch-wal", "switch-wal", "main")
        self.world.take_wal()
        server.sql("COMMIT PREPARED 'half'")
        self.run("archive-wal", "archive-wal", "main")

    def look(self) -> None:
        self.run("show-server", "show-server", "main")
        self.run("check", "check", "main")
        self.run("list-backups", "list-backups", "main")
        self.run("Backup", "show-backup", "main", "latest")
        self.run("list-files", "list-files", "main", "latest", "--target", "full")
        self.run("wal", "wal", "main")
        self.run("events", "events", "main", "--rows", "1")

    def restore(self) -> None:
        self.run("restore --choices", "restore", "main", "--choices")
        self.run("restore --choices", "restore", "main", "--choices", "--target-time", "2020-01-01 00:00 UTC")
        [drop] = [each for each in self.documents["events"] if each["kind"] == "drop"]
        words = ["restore", "main", "auto", self._data, "--host", "target", *drop["undo"], "--target-action", "pause",
                 "--tablespace", f"fast={self._data}.fast", "--start", "--expect", "postgres.public.here"]
        self.run("restore --dry-run", *words, "--dry-run")
        self.run("restore", *words, "--yes")
        self.run("restore --dry-run", *words, "--overwrite", self._data, "--dry-run", check=5)

    def use(self) -> None:
        self.run("look", "look", "latest")
        self.run("open", "open", "latest", "--yes")
        self.run("bring-back --dry-run", "bring-back", "latest", TABLE, "--dry-run")
        self.run("bring-back", "bring-back", "latest", TABLE, "--yes")
        self.run("throw-away --dry-run", "throw-away", "latest", "--dry-run")
        self.run("throw-away", "throw-away", "latest", "--remove", self._data)

    def work(self) -> None:
        """A backup in a session of its own, slow enough to be seen at work."""
        self.world.server.sql("CREATE TABLE more AS SELECT md5(i::text) FROM generate_series(1, 20000) AS i")
        job = self.run("--detach", "backup", "main", "--detach", "--full", "--bwlimit", "64kB").json()["job"]
        wait_until(lambda: self.run("status", "status", "main").json()["jobs"])
        self.run("job cancel", "job", "cancel", job, "--wait", check=130)
        self.run("job watch", "job", "watch", job, check=130)
        self.run("job list", "job", "list")
        self.run("job show", "job", "show", job)

    def expire(self) -> None:
        self.run("Backup", "backup", "main")
        self.run("keep", "keep", "main", "oldest", "--target", "standalone")
        self.run("Backup", "show-backup", "main", "oldest")
        self.run("expire --dry-run", "expire", "main", "--dry-run", "--policy", "REDUNDANCY 1")
        self.run("keep", "keep", "main", "oldest", "--release")
        self.run("expire --dry-run", "delete", "main", "latest", "--dry-run")
        self.run("expire", "delete", "main", "latest", "--yes")
        self.run("expire", "expire", "main")

    def damage(self) -> None:
        """A segment is lost, one is damaged, and so are the facts of a backup."""
        self.run("Backup", "backup", "main")
        names = [self.world.take_wal() for _ in range(4)]
        archived = self.world.vault.wal / names[0][:16]
        (archived / f"{names[0]}.zst").unlink()
        (archived / f"{names[2]}.zst").write_bytes(b"damaged")
        oldest = min(self.world.vault.backups.iterdir())
        (oldest / "backup.toml").write_text("damaged")
        self.run("rebuild-index", "rebuild-index", "main", check=8)
        self.run("wal", "wal", "main")
        self.run("list-backups", "list-backups", "main")
        self.run("status", "status", "main")
