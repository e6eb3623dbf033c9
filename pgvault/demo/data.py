"""The content of the sandbox's primary: the tutorial's two tables, and a shop's customers and orders."""

from __future__ import annotations

from typing import Final

from pgvault.demo.cluster import DATABASE

ROWS_BEFORE: Final = 1000
"""Rows of each of the two tables when the backup is taken."""
ROWS_AFTER: Final = 500
"""Rows committed to mytesttable2 after the backup, which only the WAL has."""
TABLES: Final = ("mytesttable1", "mytesttable2")

_ORDERS_PER_MEGABYTE: Final = 6500
_ORDERS_PER_CUSTOMER: Final = 10

CREATE_DATABASE: Final = f"CREATE DATABASE {DATABASE};"

_TABLES: Final = f"""
CREATE TABLE mytesttable1 (id integer NULL);
CREATE TABLE mytesttable2 (id integer NULL);
INSERT INTO mytesttable1 SELECT generate_series(1, {ROWS_BEFORE});
INSERT INTO mytesttable2 SELECT generate_series(1, {ROWS_BEFORE});
"""

_SHOP: Final = """
SET synchronous_commit = off;
SELECT setseed(0.5);
BEGIN;
CREATE TABLE customers (id integer, name text, email text, city text, since date);
INSERT INTO customers
SELECT i, f || ' ' || l, lower(f || '.' || l || i || '@example.org'), c, date '2015-01-01' + (random() * 4000)::integer
FROM (SELECT i,
             (ARRAY['Ada','Boris','Chen','Dina','Emil','Fatou','Goran','Hana','Ivo','Jun'])[1 + floor(random() * 10)] f,
             (ARRAY['Abe','Berg','Costa','Dahl','Endo','Fox','Garcia','Haas','Ito','Jung'])[1 + floor(random() * 10)] l,
             (ARRAY['Porto','Kyoto','Lagos','Oslo','Quito','Turin','Utrecht'])[1 + floor(random() * 7)] c
      FROM generate_series(1, {customers}) i) AS people;
CREATE TABLE orders (id integer, customer integer, placed timestamptz, state text, total numeric(10, 2), note text);
INSERT INTO orders
SELECT i, 1 + floor(random() * {customers})::integer, timestamptz '2024-01-01 00:00+00' + i * interval '17 seconds',
       (ARRAY['new','paid','packed','sent','returned'])[1 + floor(random() * 5)],
       (random() * 900 + 5)::numeric(10, 2),
       'order ' || i || ' of ' || (1 + floor(random() * 9)) || ' items, reference ' || md5(i::text)
FROM generate_series(1, {orders}) i;
ALTER TABLE customers ADD PRIMARY KEY (id);
ALTER TABLE orders ADD PRIMARY KEY (id);
COMMIT;
"""

# With page checksums the first read of new rows writes their pages to WAL again, so that happens before the backup.
_SETTLE: Final = """
VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
"""

MORE_ROWS: Final = f"INSERT INTO mytesttable2 SELECT generate_series({ROWS_BEFORE + 1}, {ROWS_BEFORE + ROWS_AFTER})"


def fill(megabytes: int) -> str:
    """Return the SQL that creates the tables, with about that many MB (1024 kB) of them on disk."""
    orders = max(1, megabytes * _ORDERS_PER_MEGABYTE)
    customers = max(1, orders // _ORDERS_PER_CUSTOMER)
    return _TABLES + _SHOP.format(customers=customers, orders=orders) + _SETTLE


def fingerprint(table: str) -> str:
    """Return a query whose one-line result differs if any row differs."""
    return (f"SELECT count(*), coalesce(sum(id), 0), md5(coalesce(string_agg(id::text, ',' ORDER BY id), '')) "
            f"FROM {table}")
