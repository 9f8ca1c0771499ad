-- Uploads that clients have begun. A client knows a session by an id of ours, which stands here only as its hash, so that
-- nobody who gets hold of the file can go on with it. As with resources, the key stands here and not its project.
CREATE TABLE upload_sessions (
    id_hash BLOB PRIMARY KEY,
    google_path TEXT NOT NULL, -- path and query of Google's URL; its host is always the upstream's
    upstream_key_id INTEGER NOT NULL REFERENCES upstream_keys (id),
    client_key_id INTEGER NOT NULL REFERENCES client_keys (id),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_sessions_by_expiry ON upload_sessions (expires_at_ms);
