-- Encryption of secrets. A data key encrypts rows; it is stored encrypted by the master key, which is stored nowhere.
-- Without rows here nothing is encrypted.
CREATE TABLE master_keys (
    id TEXT PRIMARY KEY, -- derived from the key; shown to admins
    salt BLOB, -- of a passphrase; NULL: the key is no passphrase
    state TEXT NOT NULL CHECK (state IN ('current', 'retiring')), -- retiring: during the rotation to the current one
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE data_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL CHECK (state IN ('active', 'retiring')), -- active: encrypts what is written
    handover BLOB, -- encrypted by the data key before it, for a server that runs during a rotation; NULL: after it
    is_loaded INTEGER NOT NULL DEFAULT 0 CHECK (is_loaded IN (0, 1)), -- by the running server
    is_file_clean INTEGER NOT NULL DEFAULT 0 CHECK (is_file_clean IN (0, 1)), -- rewritten since secrets were unencrypted
    created_at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX data_keys_active ON data_keys (state) WHERE state = 'active';
CREATE TABLE wrapped_data_keys (
    data_key_id INTEGER NOT NULL REFERENCES data_keys (id),
    master_key_id TEXT NOT NULL REFERENCES master_keys (id),
    wrapped BLOB NOT NULL, -- the data key, encrypted by the master key
    PRIMARY KEY (data_key_id, master_key_id)
) STRICT, WITHOUT ROWID;

-- The data key that encrypts the secrets of a row; NULL: they are not encrypted. The references keep a data key as long as a
-- row needs it.
ALTER TABLE upstream_keys ADD COLUMN data_key_id INTEGER REFERENCES data_keys (id);
ALTER TABLE alert_targets ADD COLUMN data_key_id INTEGER REFERENCES data_keys (id);
ALTER TABLE request_bodies ADD COLUMN data_key_id INTEGER REFERENCES data_keys (id);
ALTER TABLE installation_secrets ADD COLUMN data_key_id INTEGER REFERENCES data_keys (id);
CREATE INDEX upstream_keys_by_data_key ON upstream_keys (data_key_id) WHERE secret IS NOT NULL;
CREATE INDEX request_bodies_by_data_key ON request_bodies (data_key_id);
