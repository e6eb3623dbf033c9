"""Rule 31: no secret is stored or shown, in whatever shape it comes, and nothing else is lost to the masking."""

from __future__ import annotations

import json
import shlex
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgvault.model.secrets import MASK, masked, masked_value

SECRET = "hunter2"
NAMES = ("password", "PGPASSWORD", "sslpassword", "MYTOKEN", "AWS_SECRET_ACCESS_KEY", "client_secret", "api-key",
         "DB_PASSWORD_MAIN", "--repo1-cipher-pass", "passphrase", "APP_PWD")
SHAPES = [
    *(shape.format(name) for name in NAMES for shape in (
        "{}=hunter2", "{} = hunter2", "{}='hunter2 x'", "{}=\"hunter2 x\"", "{}=a'hunter2 x'b", "x {}=hunter2, y",
        "start {}='hunter2", "the server's {}=hunter2 isn't right", "{} => 'hunter2'", "export {}=hunter2;psql")),
    r"password='it\'s hunter2 x' port=5", "host=db password=hunter2&x user=me", "password=a,hunter2 user=me",
    "pgvault --password hunter2 -v", "x --token 'hunter2 x'", "--secret-key hunter2",
    "sshpass -p hunter2 ssh db", "sshpass -phunter2 ssh", "/usr/bin/sshpass -v -P 'Your word' -p 'hunter2 x' ssh",
    "postgresql://me:hunter2@db/x", "postgres://:hunter2@[::1]:5432/x", "https://me:p@ss@hunter2@db/x",
    "postgres://db/x?password=hunter2&sslmode=require", "ALTER ROLE me PASSWORD 'it''s hunter2'",
    "create role me login password E'hunter2\\'hunter2'", "options (user 'me', password 'hunter2')",
    '{"password": "hunter2 \\" hunter2", "x": 1}', "{'token': 'hunter2'}", '{"api_key":hunter2}',
    r"sh -c 'PGPASSWORD='\''hunter2'\'' pg_ctl start'", r"sh -c 'psql '\''password=hunter2 x'\'' y'",
    r"sh -c 'sshpass -p '\''hunter2'\'' ssh x'",
    "primary_conninfo = 'user=me password=''hunter2 x hunter2'' port=1'", "*:*:*:*:hunter2",
    "password = 'x hunter2' port=1", r"password='x\' hunter2'", "postgresql://db/x?sslpassword=hunter2&x=1",
    "db:5432:main:me:hunter2", "curl -u me:hunter2 https://db/x", "curl --user 'me:hunter2' x",
    "curl -H 'X-Api-Key: hunter2' x", "https://store/x?X-Amz-Signature=hunter2&x=1", "https://store/x?sv=1&sig=hunter2",
    'ldap ldapbinddn="cn=me" ldapbindpasswd="x hunter2"', 'radiussecrets="hunter2","hunter2"',
    "ssl_passphrase_command = 'echo hunter2'", "scram_client_key=hunter2 host=db",
    "archive_command = 'openssl enc -aes256 -k hunter2 -in %p'", "openssl enc -d -pass pass:hunter2 -in x",
    "restore_command = 'openssl enc -d -K hunter2 -iv 0'", "AZURE_STORAGE_KEY=hunter2 x", "repo1-s3-key=hunter2",
    "myext.auth_key = 'hunter2'", "app.jwt_secret = 'hunter2'", "pg_x.encryption_key='hunter2'",
    "Authorization: Bearer hunter2", "curl -H 'Authorization: Basic hunter2'",
]
ORDINARY = [
    "/srv/data", "host=db user=me", "postgresql://me@db:5432/x?sslmode=require", "http://db:8080/x@2",
    'FATAL:  password authentication failed for user "me"', "fe_sendauth: no password supplied",
    "passfile=/home/me/.pgpass", "password_encryption = 'scram-sha-256'", "POSTGRES_PASSWORD_FILE=/run/x",
    "select token from secrets where id = 3 and name = 'a b'", "PWD=/srv OLDPWD=/", "bypass=1 compass=north",
    "psql --no-password main", "sshpass -e ssh -p 2222 db", "sshpass -f /etc/x ssh -p 2222 db",
    "the server's log can't be read: 'no such file' isn't there", "pg_dump --password --host db",
    "/etc/secrets/tokens", "12:30:45: done", "run -u 1000:1000", "read 12:3456 of 7:8", "fe80::1:2:3:4",
    "krb_server_keyfile = '/etc/x'", "ssl_key_file = 'server.key'", "openssl enc -kfile /etc/x -in y",
    "openssl x509 -in k", "openssl enc -pass file:/etc/x", "primary_key = 5",
    "token: unexpected end", "a password is wanted", "it's", "'", '"', "\\", "",
]


@pytest.mark.parametrize("text", SHAPES)
def test_a_secret_is_masked_in_any_shape(text: str) -> None:
    told = masked(text)
    assert SECRET not in told
    assert MASK in told
    assert masked(told) == told, "what is masked already is left alone"


@pytest.mark.parametrize("text", ORDINARY)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert masked(text) == text
    assert masked(shlex.join(["sh", "-c", text])) == shlex.join(["sh", "-c", text])


@pytest.mark.parametrize(("name", "value", "told"), [
    ("ssl_passphrase_command", "echo hunter2", MASK), ("vault.api_token", "hunter2", MASK), ("My.Password", "x", MASK),
    ("archive_command", "sshpass -p hunter2 rsync %p x:", "sshpass -p *** rsync %p x:"), ("password", "", ""),
    ("password_encryption", "md5", "md5"), ("ssl_key_file", "server.key", "server.key"), ("port", "5432", "5432"),
    ("primary_conninfo", "host=a password=hunter2", "host=a password=***"), ("log_directory", "log", "log")])
def test_a_settings_value_is_masked_by_its_name(name: str, value: str, told: str) -> None:
    assert masked_value(name, value) == told


@pytest.mark.parametrize(("text", "told"), [
    ("host=db password=hunter2 user=x", "host=db password=*** user=x"),
    ("psql 'host=db password=hunter2' -c 'select 1'", "psql 'host=db password=***' -c 'select 1'"),
    ('psql "host=db password=hunter2" x', 'psql "host=db password=***" x'),
    ("cannot use 'password=hunter2' here", "cannot use 'password=***' here"),
    ('{"uri":"postgresql://me:hunter2@db","n":1}', '{"uri":"postgresql://me:***@db","n":1}'),
    ("(password=hunter2), then", "(password=***), then"),
])
def test_only_the_secret_is_masked(text: str, told: str) -> None:
    assert masked(text) == told


WORDS = st.text(st.sampled_from("ab7 '\"\\$@:/=&;,-#`!()\n"), max_size=10)
SECRETS = st.text(st.sampled_from("ab7'\"\\$@:/=&;,-#`!() "), max_size=8).map(lambda text: f"Q{text}Q7Z")
"""`Q7Z` stands in no other text."""


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """A command with a secret in it, in one of the shapes in which programs take it."""
    secret = draw(SECRETS)
    name = draw(st.sampled_from(NAMES))
    libpq = "'" + secret.replace("\\", "\\\\").replace("'", "\\'") + "'"
    shape = draw(st.sampled_from([
        [f"{name}={secret}".replace(" ", "")], [f"--{name.strip('-')}", secret], ["sshpass", "-p", secret],
        [f"host=db password={libpq} user=me"], [f"PGPASSWORD={shlex.quote(secret)} psql"],
        [json.dumps({"a": 1, "password": secret})],
        ["alter role me password '" + secret.replace("'", "''").replace("\\", "") + "'"],
        ["postgresql://me:" + secret.replace(" ", "").replace("/", "") + "@db/x"]]))
    return [*draw(st.lists(WORDS.filter(lambda word: not word.startswith("--")), max_size=3)), *shape,
            *draw(st.lists(WORDS, max_size=3))]


@given(commands())
@example(["sh", "-c", "#\n", "password='it\\'s Q7Z'", "/it's"])
@example(["alter role me password 'Q\"''Q7Z'"])
def test_a_shown_command_has_no_secret_and_is_still_one_for_a_shell(argv: list[str]) -> None:
    told = masked(shlex.join(argv))
    assert "Q7Z" not in told
    assert len(shlex.split(told)) == len(argv)


@given(st.text(st.sampled_from("ab '\"\\=:@/-&password,;"), max_size=60))
def test_any_text_is_masked_once_and_never_fails(text: str) -> None:
    told = masked(text)
    assert masked(told) == told


@given(st.lists(st.sampled_from([*"abc/._-=:,;'\" \n", "select", "user", "--host", "x=1", "failed"]), max_size=40))
def test_text_without_a_telling_word_is_left_alone(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert masked(text) == text


@pytest.mark.parametrize("piece", ["a", "password", "--", "'", '"', "token ", "://a:", "pass\\", "x=", "'\"", "\\'",
                                   "sshpass -v ", "a:b:c:d:", "openssl x ", "-----BEGIN"])
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    """In this thread's own time, whatever else runs: eight times the text takes about eight times as long, where a
    search that begins anew at each place would take 64 times."""
    def seconds(length: int) -> float:
        text, began = piece * (length // len(piece)), time.thread_time()
        masked(text)
        return time.thread_time() - began

    short, long = (min(seconds(length) for _ in range(3)) for length in (2048, 16384))
    assert long < 30 * max(short, 0.0005)
