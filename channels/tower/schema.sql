-- Schema of a tower's book in SQLite, version 2. One transaction makes all of it or none.
-- schema_postgres.sql has the same tables.

BEGIN IMMEDIATE;

-- schema_version; entries, receipts, beats and changes (how many so far).
CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT;

INSERT INTO meta (key, value)
VALUES ('schema_version', 2), ('entries', 0), ('receipts', 0), ('beats', 0), ('changes', 0);

-- How far the chain was taken in: one row at most.
CREATE TABLE chain_cursor (
    one      INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    number   INTEGER NOT NULL,
    hash     BLOB NOT NULL,
    disputes INTEGER NOT NULL
) STRICT;

-- By key, which is the channel id and a side, and small, so that a bucket of the store tree is one
-- short range of it.
CREATE TABLE entries (
    key    BLOB PRIMARY KEY NOT NULL,
    leaf   BLOB NOT NULL,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is kept of an entry. Not WITHOUT ROWID: a record may fill pages.
CREATE TABLE records (
    number   INTEGER PRIMARY KEY NOT NULL,
    customer BLOB NOT NULL,
    budget   BLOB NOT NULL,
    record   BLOB NOT NULL
) STRICT;

CREATE INDEX records_by_customer ON records (customer);

-- Entries, and the sum of their budgets, of every customer. Budgets are 16 bytes of wei.
CREATE TABLE accounts (
    customer  BLOB PRIMARY KEY NOT NULL,
    channels  INTEGER NOT NULL,
    committed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Boxed states whose affirmation is due at a chain time.
CREATE TABLE due (
    key  BLOB PRIMARY KEY NOT NULL,
    time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX due_by_time ON due (time);

-- Channels that the monitor has to see to, since the block of this number; and the number of the
-- change that last gave it something new to know.
CREATE TABLE disputes (
    channel_id BLOB PRIMARY KEY NOT NULL,
    block      INTEGER NOT NULL,
    change     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Hashes of the buckets of the store tree that are not empty, each by the change that made it.
CREATE TABLE buckets (
    bucket INTEGER PRIMARY KEY NOT NULL,
    hash   BLOB NOT NULL,
    change INTEGER NOT NULL
) STRICT;

CREATE INDEX buckets_by_change ON buckets (change);

PRAGMA application_id = 1869640823;  -- 'optw'

COMMIT;
