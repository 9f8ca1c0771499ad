-- Secrets that client keys had before a rotation. Each is valid until its end; then the row keeps only the hash, so that
-- the environment does not add the secret again.
CREATE TABLE old_client_key_secrets (
    hash BLOB NOT NULL PRIMARY KEY, -- as in client_keys
    client_key_id INTEGER NOT NULL REFERENCES client_keys (id),
    last4 TEXT NOT NULL, -- empty: wiped after the end
    valid_until_ms INTEGER NOT NULL,
    last_used_at_ms INTEGER -- null: not used since the rotation
) STRICT;
CREATE INDEX old_client_key_secrets_by_client ON old_client_key_secrets (client_key_id, valid_until_ms);
