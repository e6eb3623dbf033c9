"""SSH hosts on loopback that tests may log in to: OpenSSH's server and asyncssh's, with the same face."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from support.account import Account, account, open_directory, remove_tree
from support.cli import environment, python_for
from support.postgres import free_port

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
FLAVOURS = ("openssh", "asyncssh")


@dataclass(frozen=True, slots=True)
class SshHost:
    """A running SSH server, and all that a client needs to log in to it as a user who may run PostgreSQL.

    `config_file` is an ssh_config that knows the host as `alias`; `user` has no root rights.
    """

    flavour: str
    host: str
    port: int
    user: str
    alias: str
    identity_file: Path
    known_hosts: Path
    config_file: Path
    directory: Path
    log: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the server, as when the host goes down; sessions that OpenSSH's has open live on."""
        self.process.terminate()
        self.process.wait(30)

    def close(self) -> None:
        self.stop()
        remove_tree(self.directory)


def start_ssh_host(flavour: str, *, variables: Mapping[str, str] | None = None, banner: str = "",
                   first: Sequence[str] = ()) -> SshHost:  # fmt: skip
    """Start a host; skips the test, saying why, where that kind cannot be had.

    `variables` are set for its commands (PATH, HOME, ...); OpenSSH's alone shows a `banner` before the login, and has
    the lines `first` in its configuration, where the first of a keyword counts.
    """
    login = account()
    if flavour == "openssh":
        _require_openssh(login)
    directory = open_directory()
    directory.chmod(0o755)
    _write_keys(directory)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(remove_tree, directory)
        port = free_port()
        if flavour == "openssh":
            argv, runs_as = _openssh(directory, port, login, variables or {}, banner, first), {}
        else:
            argv, runs_as = _asyncssh(directory, port, login), {
                "env": environment(login, variables), **login.popen_options()}  # fmt: skip
        log = directory / "log"
        with log.open("wb") as sink:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", **runs_as)
        on_failure.callback(lambda: (process.kill(), process.wait()))
        _wait_until_listening(process, port, log)
        known_hosts, config = _write_client_files(directory, port, login)
        on_failure.pop_all()
    return SshHost(flavour, "127.0.0.1", port, login.name, "pgtest", directory / "id", known_hosts, config,
                   directory, log, process)  # fmt: skip


def _require_openssh(login: Account) -> None:
    if SSHD is None:
        pytest.skip("OpenSSH's server is not installed (Debian: openssh-server)")
    if os.path.basename(login.shell) in ("nologin", "false"):
        pytest.skip(f"{login.name} has no login shell, which OpenSSH's server insists on")


def _write_keys(directory: Path) -> None:
    """A host key and a client's key pair, the private ones readable by their owner alone."""
    for name in ("host_key", "id"):
        key = asyncssh.generate_private_key("ssh-ed25519", comment="pgvault tests")
        (directory / name).touch(mode=0o600)
        key.write_private_key(directory / name)
        key.write_public_key(directory / f"{name}.pub")
    shutil.copy(directory / "id.pub", directory / "authorized_keys")


def _openssh(directory: Path, port: int, login: Account, variables: Mapping[str, str],
             banner: str, first: Sequence[str]) -> list[str | Path]:  # fmt: skip
    as_root = os.geteuid() == 0
    if as_root:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own empty directory, made at boot elsewhere
    lines = [
        *first, f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {directory}/host_key", "PidFile none",
        f"AuthorizedKeysFile {directory}/authorized_keys", f"AllowUsers {login.name}", "StrictModes no",
        "PasswordAuthentication no", "KbdInteractiveAuthentication no", "Subsystem sftp internal-sftp",
        "MaxStartups 200", "MaxSessions 100", "UseDNS no", "PrintMotd no", "LogLevel VERBOSE",
        # without PAM sshd turns away an account that has no password, as system accounts have none
        f"UsePAM {'yes' if as_root and Path('/etc/pam.d/sshd').exists() else 'no'}",
    ]  # fmt: skip
    if variables:
        lines.append("SetEnv " + " ".join(f'"{name}={value}"' for name, value in variables.items()))
    if banner:
        (directory / "banner").write_text(banner)
        lines.append(f"Banner {directory}/banner")
    config = directory / "sshd_config"
    config.write_text("\n".join(lines) + "\n")
    return [str(SSHD), "-D", "-e", "-f", config]


def _asyncssh(directory: Path, port: int, login: Account) -> list[str | Path]:
    login.own(directory / "host_key")  # the whole server runs as the user that it lets in
    return [
        python_for(login), Path(__file__).with_name("ssh_server.py"), "--host-key", directory / "host_key",
        "--authorized-keys", directory / "authorized_keys", "--user", login.name, "--port", str(port),
    ]  # fmt: skip


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.02)
    raise AssertionError(f"the SSH server does not listen on {port}:\n{log.read_text(errors='replace')}")


def _write_client_files(directory: Path, port: int, login: Account) -> tuple[Path, Path]:
    known_hosts, config = directory / "known_hosts", directory / "ssh_config"
    known_hosts.write_text(f"[127.0.0.1]:{port} {(directory / 'host_key.pub').read_text()}")
    config.write_text(
        f"Host pgtest\n  HostName 127.0.0.1\n  Port {port}\n  User {login.name}\n"
        f"  IdentityFile {directory}/id\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {known_hosts}\n  StrictHostKeyChecking yes\n"
    )
    return known_hosts, config
