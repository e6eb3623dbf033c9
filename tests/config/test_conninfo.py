"""Connection strings: what libpq would take, less the secrets."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from pgvault.config.address import SshAddress
from pgvault.config.conninfo import KEYWORDS, SECRETS, check_conninfo, parse_conninfo
from pgvault.config.problems import BadValue


def test_the_keywords_are_those_of_libpq():
    offered = {option.keyword.decode(): option.dispchar for option in pq.Conninfo.get_defaults()}
    assert offered.keys() <= KEYWORDS
    assert {keyword for keyword, shown in offered.items() if shown == b"*"} <= SECRETS


@pytest.mark.parametrize("text", [
    "host=10.0.0.5 user=postgres dbname=postgres",
    r"host = 'a b'  user=it\'s application_name='x\\y'port=1",
    "host= user=x",
    "postgresql://",
    "postgres://postgres@10.0.0.5:5432/postgres?sslmode=verify-full&application_name=a%20b",
    "postgresql://[2001:db8::1]:5433,b,:7/db?target_session_attrs=any",
    "postgresql://%2Frun%2Fpostgresql/db", "postgresql://h?ssl=true", "postgresql://h?user=u&dbname=",
])
def test_what_libpq_reads_is_read_alike(text):
    assert parse_conninfo(text) == conninfo_to_dict(text)


def _by_libpq(text):
    try:
        return conninfo_to_dict(text)
    except psycopg.Error:
        return None


_WORDS = st.sampled_from(["host", "user", "port", "dbname", "service", "sslmode", "hots", "=", " ", "'", "\\", "\n",
                          "a", "é", "=x ", "='y z' ", "%"])
_URI_WORDS = st.sampled_from(["user", "host", "dbname", ":", "@", "/", "?", "=", "&", "[", "]", "::1", ",", "%20",
                              "%00", "%C3%A9", "%zz", "5432", "a", "application_name=", "ssl=true"])


@pytest.mark.parametrize("text", ["postgresql://h/a%00b", "postgresql://a%00b@h", "postgresql://h?user=a%00b",
                                  "postgresql://h%00/db", "postgresql://h/a%", "postgresql://h/%4", "host=a\0b"])
def test_no_value_has_a_zero_byte(text):
    """Where libpq's text ends and ours goes on, the two would mean different servers."""
    with pytest.raises(BadValue):
        check_conninfo(text)


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.lists(_WORDS, max_size=9).map("".join),
                 st.lists(_URI_WORDS, max_size=9).map(lambda words: "postgresql://" + "".join(words))))
def test_any_text_is_read_as_libpq_reads_it(text):
    """Accepted only with libpq's own meaning; refused only where libpq refuses, or for a secret or a repetition."""
    theirs = _by_libpq(text)
    try:
        ours = parse_conninfo(text)
    except BadValue as error:
        assert theirs is None or "twice" in str(error) or "secret" in str(error), text  # noqa: PT017
    else:
        assert ours == theirs, text


@pytest.mark.parametrize("text", [
    "host=h password=hunter2", "host=h password = 'hunter2' user=x", "sslpassword=hunter2", "password=my hunter2",
    "password='hunter2", "host=h oauth_client_secret=hunter2", "postgresql://u:hunter2@h/db", "postgresql://h/db?password=hunter2",
    "postgresql://h/db?p%61ssword=hunter2", "host=h scram_client_key=hunter2", "host=h Password=hunter2 x", "hunter2",
    "host=h passwrd=hunter2", "host=h hunter2=x hunter2",
])
def test_a_secret_is_refused_and_never_repeated(text):
    """Rule 31: secrets never reach a log or the screen, so no error says what stood there."""
    with pytest.raises(BadValue) as caught:
        check_conninfo(text)
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_the_way_out_is_named():
    with pytest.raises(BadValue, match="secret") as caught:
        check_conninfo("host=h password=x")
    assert "passfile" in caught.value.hint
    assert "password_environment" in caught.value.hint
    with pytest.raises(BadValue, match='unknown connection parameter "hots"') as caught:
        check_conninfo("hots=h")
    assert caught.value.hint == 'Did you mean "host"?'


@pytest.mark.parametrize("text", ["", "  ", "host=h\0", "host=h replication=true", "host=a host=b", "postgresql://[::1"])
def test_what_would_break_later_is_refused_now(text):
    with pytest.raises(BadValue):
        check_conninfo(text)


@pytest.mark.parametrize(("text", "address"), [
    ("main", SshAddress("main")), ("postgres@10.0.0.5", SshAddress("10.0.0.5", "postgres")),
    ("me@db.example.org:2222", SshAddress("db.example.org", "me", 2222)),
    ("[2001:db8::1]", SshAddress("2001:db8::1")), ("a@[fe80::1%eth0]:22", SshAddress("fe80::1%eth0", "a", 22)),
])
def test_ssh_addresses(text, address):
    assert SshAddress.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(("text", "advice"), [
    ("ssh postgres@main", "alone"), ("2001:db8::1", "brackets"), ("me:hunter2@host", "Passwords"),
    ("-oProxyCommand=x", "~/.ssh"), ("a b", "~/.ssh"), ("me@-host", "~/.ssh"), ("host:99999", ""), ("host:", "~/.ssh"),
    ("", "~/.ssh"), ("h;reboot", "~/.ssh"),
])
def test_what_is_no_address_is_refused_with_advice(text, advice):
    """Rule 31: an address never becomes an option or a command of ssh."""
    with pytest.raises(BadValue) as caught:
        SshAddress.parse(text)
    assert advice in caught.value.hint
    assert "hunter2" not in str(caught.value) + caught.value.hint
