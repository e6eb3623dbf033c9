"""Spans, sizes, rates and retention policies as people type them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.retention_policy import RecoveryWindow, Redundancy, parse_retention_policy
from pgvault.model.units import (
    LARGEST,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(("text", "span"), [
    ("1 DAYS", timedelta(days=1)), ("30s", timedelta(seconds=30)), ("5 min", timedelta(minutes=5)),
    (" 2 Weeks ", timedelta(days=14)), ("1 month", timedelta(days=31)), ("36h", timedelta(hours=36)),
])
def test_a_span_is_a_number_and_a_unit_in_any_case(text, span):
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "5", "5 m", "days", "-1 days", "1.5 h", "1 fortnight", "1 day 2 h",
                                  "99999999 weeks"])
def test_a_span_that_would_have_to_be_guessed_is_refused(text):
    with pytest.raises(ValueError, match=r"span of time|century"):
        parse_duration(text)


@given(st.integers(0, 36525 * 86400).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_written_span_reads_as_itself(span):
    assert parse_duration(format_duration(span)) == span


def test_a_span_reads_naturally():
    assert [format_duration(timedelta(**{unit: n})) for unit, n in (("days", 1), ("hours", 36), ("seconds", 0))] == [
        "1 day", "36 hours", "0 seconds"]


@pytest.mark.parametrize("span", [timedelta(seconds=1.5), timedelta(seconds=-1), timedelta(days=-1, microseconds=1)])
def test_a_span_that_cannot_be_typed_is_not_written(span):
    with pytest.raises(ValueError, match=f"^not a span of whole seconds: {re.escape(str(span))}$"):
        format_duration(span)


@pytest.mark.parametrize(("text", "size"), [
    ("50MB", 50 * 2**20), ("1 kB", 1024), ("1KiB", 1024), ("1.5GB", 3 * 2**29), ("0B", 0),
    ("8388607TB", 8388607 * 2**40)])
def test_sizes_are_in_postgresqls_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "50", "50Mb", "50mb", "MB", "-1MB", "1e3MB", "1MB/h", "8388608TB"])
def test_a_size_without_a_clear_unit_is_refused(text):
    """Mb is a megabit to whoever plans a network, and a bare number was kilobytes in Barman."""
    with pytest.raises(ValueError, match=r"not a size|more than"):
        parse_size(text)


SIZES = ("write a number and one of B, kB, MB, GB, TB (each unit is 1024 times the one before it; units are "
         "case-sensitive)")
SPANS = "write a number and one of seconds (s), minutes (min), hours (h), days (d), weeks (w), months"


@pytest.mark.parametrize(("read", "text", "said"), [
    (parse_size, "50Mb", f"not a size: '50Mb'; {SIZES}"), (parse_size, "x" * 50, f"not a size: {'x' * 40!r}; {SIZES}"),
    (parse_rate, "50Mb/s", f"not a rate: '50Mb'; {SIZES}"),
    (parse_size, " 9999999TB ", "'9999999TB' is more than 8 million TB"),
    (parse_rate, " 0B/s ", "'0B/s' would never send anything"),
    (parse_duration, "5 m", f"not a span of time: '5 m'; {SPANS}"),
    (parse_duration, "x" * 50, f"not a span of time: {'x' * 40!r}; {SPANS}"),
    (parse_duration, " 101 years ", f"not a span of time: ' 101 years '; {SPANS}"),
    (parse_duration, " 36526 days ", "'36526 days' is longer than a century")])
def test_what_would_be_understood_is_said(read, text, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        read(text)


def test_fractions_are_cut_to_whole_bytes_however_large():
    assert parse_size("0.9B") == 0
    assert parse_size("8388607.999999TB") == 8388607999999 * 2**40 // 10**6
    assert parse_duration("36525 days") == timedelta(days=36525)


@given(st.integers(0, LARGEST))
def test_a_written_size_reads_as_itself(size):
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 2**39))
def test_a_written_rate_reads_as_itself(rate):
    assert parse_rate(format_rate(rate)) == rate
    assert parse_rate(format_rate(rate).removesuffix("/s")) == rate


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="never send"):
        parse_rate("0MB/s")
    with pytest.raises(ValueError, match="not a rate"):
        parse_rate("50Mbit/s")


def test_the_retention_policies_of_barman():
    """Rule 18: both promises, as they are typed."""
    assert parse_retention_policy("redundancy 2") == Redundancy(2)
    window = parse_retention_policy("RECOVERY WINDOW OF 7 days")
    assert isinstance(window, RecoveryWindow)
    assert (window.length, str(window)) == (timedelta(days=7), "RECOVERY WINDOW OF 7 DAYS")
    assert parse_retention_policy("recovery window of 1 week") == window
    assert str(parse_retention_policy("Recovery  Window of 2 month")) == "RECOVERY WINDOW OF 2 MONTHS"
    assert parse_retention_policy("RECOVERY WINDOW OF 2 MONTHS").length == timedelta(days=62)


@pytest.mark.parametrize("text", ["", "none", "REDUNDANCY 0", "REDUNDANCY", "REDUNDANCY -1",
                                  "RECOVERY WINDOW OF 0 DAYS", "RECOVERY WINDOW OF 7",
                                  "WINDOW 7 DAYS", "RECOVERY WINDOW OF 999999 WEEKS"])
def test_a_policy_that_keeps_nothing_or_is_unclear_is_refused(text):
    with pytest.raises(ValueError, match=r"keep no backup|not a retention policy|century"):
        parse_retention_policy(text)


@given(st.one_of(st.integers(1, 999_999).map(lambda n: f"REDUNDANCY {n}"),
                 st.tuples(st.integers(1, 1000), st.sampled_from(["DAYS", "WEEKS", "MONTHS"])).map(
                     lambda p: f"RECOVERY WINDOW OF {p[0]} {p[1]}")))
def test_a_written_policy_reads_as_itself(text):
    assert str(parse_retention_policy(text)) == text
