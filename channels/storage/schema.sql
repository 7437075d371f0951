-- Schema of a store, version 1. One transaction makes all of it or none.
--
-- Records and bodies are opaque here; what is inside them is versioned by whoever encodes them.
-- STRICT keeps SQLite from turning a blob into something else.

BEGIN IMMEDIATE;

-- schema_version, store_id (origin of the journal's hash chain), and backup_time in a backup.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value ANY NOT NULL
) STRICT;

INSERT INTO meta (key, value) VALUES ('schema_version', 1);
INSERT INTO meta (key, value) VALUES ('store_id', randomblob(32));

-- The newest record of every channel. Not WITHOUT ROWID: a record may fill pages.
CREATE TABLE channels (
    channel_id BLOB PRIMARY KEY NOT NULL,
    record     BLOB NOT NULL
) STRICT;

-- Everything else that must survive: transactions, nonces, towers.
CREATE TABLE records (
    namespace TEXT NOT NULL,
    key       BLOB NOT NULL,
    record    BLOB NOT NULL,
    PRIMARY KEY (namespace, key)
) STRICT;

-- Append-only and hash-chained; channel_id is NULL for what concerns no one channel. The foreign
-- key is deferred, so that the order of writes inside one batch does not matter.
CREATE TABLE journal (
    seq        INTEGER PRIMARY KEY NOT NULL,
    channel_id BLOB REFERENCES channels (channel_id) DEFERRABLE INITIALLY DEFERRED,
    time       INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    body       BLOB NOT NULL,
    hash       BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE INDEX journal_by_channel ON journal (channel_id);

-- Against our own mistakes; against others there is the hash chain.
CREATE TRIGGER journal_is_not_updated BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TRIGGER journal_is_not_deleted BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

PRAGMA application_id = 1869636451;  -- 'opcc'

COMMIT;
