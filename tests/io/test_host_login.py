"""Logging in: what is trusted, what is tried, and what is said when it cannot be."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
from pathlib import Path

import asyncssh
import pytest
from reaching import Reach, reach_ssh
from support.ssh import SshHost, start_ssh_host

from pgvault.config.address import SshAddress
from pgvault.io.host import Completed, Host
from pgvault.io.hosts import open_host
from pgvault.io.ssh_host import SshHost as OurSshHost
from pgvault.model.errors import ConfigError, PgvaultError, Unreachable


def log_in(reach: Reach, **changes: object) -> bytes:
    async def act() -> bytes:
        async with await reach(**changes) as host:
            return (await host.run(["echo", "in"])).stdout

    return asyncio.run(act())


def refusal(reach: Reach, **changes: object) -> PgvaultError:
    with pytest.raises(PgvaultError) as failure:
        log_in(reach, **changes)
    assert failure.value.hint
    return failure.value


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of our own, with an empty .ssh and no agent."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@pytest.mark.parametrize("known", [None, "", "# a comment alone\n"])
def test_an_unknown_key_is_refused_and_the_hint_accepts_exactly_that_key(
        ssh_host: SshHost, tmp_path: Path, known: str | None):
    file = tmp_path / "known hosts"
    if known is not None:
        file.write_text(known)
    error = refusal(reach_ssh(ssh_host), known_hosts=file)
    assert isinstance(error, Unreachable)
    assert "is not known" in error.message
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", ssh_host.directory / "host_key.pub"], capture_output=True, text=True).stdout.split()[1]
    assert fingerprint in error.detail
    subprocess.run(["sh", "-c", error.hint.splitlines()[-1]], check=True)
    assert log_in(reach_ssh(ssh_host), known_hosts=file) == b"in\n"


def test_a_changed_key_is_refused_loudly_and_the_hint_forgets_the_old_one(ssh_host: SshHost, tmp_path: Path):
    other = asyncssh.generate_private_key("ssh-ed25519")
    file = tmp_path / "known_hosts"
    file.write_text(f"[127.0.0.1]:{ssh_host.port} {other.export_public_key().decode()}")
    error = refusal(reach_ssh(ssh_host), known_hosts=file)
    assert isinstance(error, Unreachable)
    assert "HAS CHANGED" in error.message
    assert other.get_fingerprint() in error.detail
    subprocess.run(["sh", "-c", error.hint.splitlines()[-1]], check=True, capture_output=True)
    assert "is not known" in refusal(reach_ssh(ssh_host), known_hosts=file).message


def test_a_key_of_another_kind_than_the_known_one_is_refused(ssh_host: SshHost, tmp_path: Path):
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    file = tmp_path / "known_hosts"
    file.write_text(f"[127.0.0.1]:{ssh_host.port} {other.export_public_key().decode()}")
    error = refusal(reach_ssh(ssh_host), known_hosts=file)
    assert isinstance(error, Unreachable)
    assert "HAS CHANGED" in error.message


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("who", ["this host", "every host"])
def test_a_revoked_key_is_called_revoked(ssh_host: SshHost, tmp_path: Path, trusted: bool, who: str):
    """Whether the same key is trusted besides, and whichever hosts it is revoked for."""
    file, line = tmp_path / "known_hosts", ssh_host.known_hosts.read_text()
    revoked = line if who == "this host" else f"* {line.partition(' ')[2]}"
    file.write_text(f"{line if trusted else ''}@revoked {revoked}")
    error = refusal(reach_ssh(ssh_host), known_hosts=file)
    assert isinstance(error, Unreachable)
    assert "IS REVOKED" in error.message


@pytest.mark.parametrize("setting", ["UserKnownHostsFile none", "UserKnownHostsFile /dev/null", ""])
def test_keys_are_checked_although_the_users_configuration_turns_it_off(ssh_host: SshHost, home: Path, setting: str):
    (home / ".ssh/config").write_text(f"Host *\n  StrictHostKeyChecking no\n  {setting}\n")
    assert "is not known" in refusal(reach_ssh(ssh_host), known_hosts=None).message


def test_the_users_ssh_configuration_is_honoured(ssh_host: SshHost, home: Path):
    """An alias with its name, port, user, key and known hosts, as `ssh alias` would take them."""
    (home / ".ssh/config").write_text(ssh_host.config_file.read_text() + "  RequestTTY force\n  RemoteCommand false\n")

    async def act() -> bytes:
        async with await open_host("far", SshAddress(ssh_host.alias)) as host:
            return (await host.run(["echo", "in"])).stdout

    assert asyncio.run(act()) == b"in\n"


def test_default_keys_and_hashed_known_hosts_are_found(ssh_host: SshHost, home: Path):
    (home / ".ssh/id_ed25519").write_bytes(ssh_host.identity_file.read_bytes())
    (home / ".ssh/known_hosts").write_bytes(ssh_host.known_hosts.read_bytes())
    subprocess.run(["ssh-keygen", "-H", "-f", home / ".ssh/known_hosts"], check=True, capture_output=True)
    assert log_in(reach_ssh(ssh_host), identity_file=None, known_hosts=None) == b"in\n"


def test_the_agent_is_asked(ssh_host: SshHost, home: Path, monkeypatch: pytest.MonkeyPatch):
    started = subprocess.run(["ssh-agent", "-s", "-a", home / "agent"], capture_output=True, text=True, check=True)
    pid = started.stdout.partition("SSH_AGENT_PID=")[2].partition(";")[0]
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
        assert "authentication failed" in refusal(reach_ssh(ssh_host), identity_file=None).message
        subprocess.run(["ssh-add", "-q", ssh_host.identity_file], check=True)
        assert log_in(reach_ssh(ssh_host), identity_file=None) == b"in\n"
    finally:
        os.kill(int(pid), 15)


def test_a_wrong_key_fails_with_the_command_that_tries_the_same(ssh_host: SshHost, home: Path):
    key = home / "other key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    error = refusal(reach_ssh(ssh_host), identity_file=key)
    assert isinstance(error, Unreachable)
    assert "authentication failed" in error.message
    assert f"-i {shlex.quote(str(key))} -p {ssh_host.port} {ssh_host.user}@127.0.0.1 true" in error.hint


def test_a_key_with_a_passphrase_points_to_the_agent(ssh_host: SshHost, home: Path):
    key = home / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key], check=True)
    assert "ssh-add" in refusal(reach_ssh(ssh_host), identity_file=key).hint


@pytest.mark.parametrize("text", [None, "this is no key\n"])
def test_an_identity_file_that_is_none_is_named(ssh_host: SshHost, home: Path, text: str | None):
    if text:
        (home / "key").write_text(text)
    error = refusal(reach_ssh(ssh_host), identity_file=home / "key")
    assert "identity file" in error.message


def test_a_damaged_known_hosts_file_or_configuration_is_named(ssh_host: SshHost, home: Path):
    (home / "known").write_text("nonsense\n")
    assert "known hosts" in refusal(reach_ssh(ssh_host), known_hosts=home / "known").detail
    (home / ".ssh/config").write_text("Port many\n")
    assert isinstance(refusal(reach_ssh(ssh_host)), ConfigError)


def test_nobody_listening_is_said(home: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = SshAddress("127.0.0.1", "me", taken.getsockname()[1])
        error = refusal(lambda: open_host("far", address))
    assert isinstance(error, Unreachable)
    assert "connection refused" in error.message


def test_an_unknown_name_is_said(home: Path):
    error = refusal(lambda: open_host("far", SshAddress("no-such-host.invalid", "me")))
    assert isinstance(error, Unreachable)
    assert "its name is unknown" in error.message


def test_a_server_that_never_answers_times_out(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = SshAddress("127.0.0.1", "me", silent.getsockname()[1])
        error = refusal(lambda: OurSshHost.connect(address, connect_timeout=0.5))
    assert isinstance(error, Unreachable)
    assert "no answer in time" in error.message


def test_what_is_no_ssh_server_is_said(home: Path):
    async def act() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-1.0-ancient\r\n")
            await reader.read(1)
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Unreachable, match="no ssh server answers"):
                await open_host("far", SshAddress("127.0.0.1", "me", port))

    asyncio.run(act())


def test_a_server_that_has_gone_is_said():
    there = start_ssh_host("openssh")
    try:
        assert log_in(reach_ssh(there)) == b"in\n"
        there.stop()
        assert "connection refused" in refusal(reach_ssh(there)).message
    finally:
        there.close()


def test_a_login_banner_does_not_confuse():
    """Case 35."""
    there = start_ssh_host("openssh")
    there.stop()
    banner = there.directory / "banner"
    banner.write_text("*** Authorised use only ***\n" * 20)
    config = there.directory / "sshd_config"
    config.write_text(f"Banner {banner}\n{config.read_text()}")
    sshd = subprocess.Popen(
        [*there.process.args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection((there.host, there.port), 5).close()
                break
            except OSError:
                asyncio.run(asyncio.sleep(0.05))
        assert log_in(reach_ssh(there)) == b"in\n"
    finally:
        sshd.terminate()
        sshd.wait()
        there.close()


def test_the_users_own_choice_of_ciphers_is_left_alone(ssh_host: SshHost, home: Path):
    (home / ".ssh/config").write_text("Ciphers aes256-ctr\n")

    async def act() -> str:
        async with await reach_ssh(ssh_host)() as host:
            assert isinstance(host, OurSshHost)
            return host._connection.get_extra_info("send_cipher")

    assert asyncio.run(act()) == "aes256-ctr"


def test_the_fast_ciphers_come_first_and_nothing_is_compressed(ssh_host: SshHost):
    async def act() -> tuple[str, str]:
        async with await reach_ssh(ssh_host)() as host:
            assert isinstance(host, OurSshHost)
            return tuple(host._connection.get_extra_info(name) for name in ("send_cipher", "send_compression"))

    assert asyncio.run(act()) == ("aes128-gcm@openssh.com", "none")


def test_commands_take_turns_where_the_server_allows_one_session() -> None:
    """MaxSessions 1: two streams side by side and a command beside them end well, one after the other."""
    there = start_ssh_host("openssh", first=["MaxSessions 1"])
    try:
        async def stream(host: Host) -> None:
            async with await host.open_sink(["cat"], into="/dev/null") as sink:
                await sink.write(b"x" * 100_000)
                await sink.finish()

        async def act() -> list[object]:
            async with await reach_ssh(there)() as host:
                return await asyncio.gather(stream(host), host.run(["echo", "in"]), stream(host))

        assert asyncio.run(act())[1] == Completed(0, b"in\n", "")
    finally:
        there.close()


def test_where_no_session_is_allowed_the_setting_is_named() -> None:
    there = start_ssh_host("openssh", first=["MaxSessions 0"])
    try:
        assert "MaxSessions" in refusal(reach_ssh(there)).hint
    finally:
        there.close()
