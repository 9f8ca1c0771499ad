-- Tokens of programs that use the admin API. A revoked token has no row: the audit log keeps its name.
CREATE TABLE api_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32), -- SHA-256 of the token
    last4 TEXT NOT NULL,
    access TEXT NOT NULL CHECK (access IN ('read', 'write')),
    scopes TEXT NOT NULL, -- JSON array of resources; empty: all
    expires_at_ms INTEGER, -- NULL: never
    last_used_at_ms INTEGER, -- NULL: never used
    created_by TEXT NOT NULL, -- an actor of the audit log
    created_at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX api_tokens_by_hash ON api_tokens (hash);
CREATE UNIQUE INDEX api_tokens_by_name ON api_tokens (name);
