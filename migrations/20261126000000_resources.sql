-- What requests have made at Google and may name again: files, caches, batches, interactions and the like. Only the
-- project of the key that made one can use it; the key stands here, and not its project, so that what it made goes with it
-- when its project turns out to be another one. Keys and client keys are never deleted: what is removed is a tombstone.
CREATE TABLE resources (
    name TEXT PRIMARY KEY, -- in one form, however Google or a client wrote it: files/abc
    kind TEXT NOT NULL,
    upstream_key_id INTEGER NOT NULL REFERENCES upstream_keys (id),
    client_key_id INTEGER REFERENCES client_keys (id), -- who made it; null: nobody we know
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER, -- null: it stays until it is deleted
    is_counted INTEGER NOT NULL CHECK (is_counted IN (0, 1)) -- whether a log row has what it used: a batch, an interaction
) STRICT, WITHOUT ROWID;
CREATE INDEX resources_by_expiry ON resources (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
CREATE INDEX resources_by_client_key ON resources (client_key_id, kind, upstream_key_id);
CREATE INDEX resources_by_age ON resources (client_key_id, created_at_ms);
CREATE INDEX resources_by_upstream_key ON resources (upstream_key_id, kind);

-- The name of what only one project has, because of which that one had to serve the request.
ALTER TABLE request_logs ADD COLUMN bound_by TEXT;
