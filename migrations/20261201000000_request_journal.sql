-- Writes that are committed and not yet in their tables: an entry holds those of one batch, in their order. A fold writes many
-- entries to the tables and deletes them in one transaction.
CREATE TABLE request_journal (
    -- Negative: the entry could not be read and was left for a person.
    id INTEGER PRIMARY KEY,
    -- Of the payload's format.
    version INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
