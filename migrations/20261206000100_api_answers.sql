-- Answers of the admin API to requests with an Idempotency-Key, for 24 hours.
CREATE TABLE api_answers (
    token_id INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32), -- SHA-256 of path and body
    status INTEGER, -- NULL: the request runs, or was interrupted
    location TEXT, -- NULL: the answer had none
    body TEXT, -- NULL: the answer held a secret, or was large
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (token_id, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX api_answers_by_time ON api_answers (created_at_ms);
