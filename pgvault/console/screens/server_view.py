"""The shared base of the views of the selected server: back it up, check it, recover it, go to the next one."""

from __future__ import annotations

from pgvault.console.screens.view import View
from pgvault.model.job import JobKind
from pgvault.model.protection import Protection


class ServerView(View):
    def why_no_backup(self) -> str:
        """Return why no backup can begin now; empty if one can."""
        server = self.app.server
        if not server:
            return "no server is configured yet"
        for each in self.app.queries.jobs.running:
            if each.job.kind is JobKind.BACKUP and each.job.server == server:
                return f"a backup of {server} runs already: job {each.job.id}; 4 shows it"
        known = self.app.protections.get(server)
        return known.refusal if isinstance(known, Protection) else ""

    def why_not_server(self, action: str) -> str:
        """Return why an action on the selected server as a whole is unavailable now; empty if it is available, and for
        all other actions.
        """
        server = self.app.server
        if action in ("check", "restore", "next-server", "previous-server") and not server:
            return "no server is configured yet"
        if action == "backup":
            return self.why_no_backup()
        if action == "check" and server in self.app.checks.running:
            return f"{server} is being checked"
        if action in ("next-server", "previous-server") and len(self.app.queries.servers) < 2:
            return "there is no other server"
        return ""

    def do_restore(self) -> None:
        """Recover the server, where nothing more particular is selected."""
        self.app.open_recovery()

    def do_backup(self) -> None:
        from pgvault.console.screens.back_up import back_up

        back_up(self.app, self.app.server)

    def do_check(self) -> None:
        self.app.check(self.app.server)
        self.app.tell(f"{self.app.server} is being checked: 1 shows what is found")

    def do_next_server(self) -> None:
        self._go_to_server(1)

    def do_previous_server(self) -> None:
        self._go_to_server(-1)

    def _go_to_server(self, by: int) -> None:
        """Go to the next server; the first one follows the last."""
        servers = self.app.queries.servers
        self.app.select_server(servers[(servers.index(self.app.server) + by) % len(servers)])
