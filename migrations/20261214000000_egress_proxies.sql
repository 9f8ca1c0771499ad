-- Proxies for connections to Google.
CREATE TABLE egress_proxies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label TEXT NOT NULL,
    url TEXT NOT NULL, -- without the credential
    credential TEXT, -- user:password as in a URL; empty: none; NULL: wiped after the removal
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    project_ids TEXT NOT NULL, -- JSON array of ids of projects whose requests go through it
    tags TEXT NOT NULL, -- JSON array of tags of upstream keys; both empty: all requests
    state TEXT NOT NULL CHECK (state IN ('working', 'broken', 'location_refused')),
    state_rule TEXT, -- NULL: no verdict caused it
    state_message TEXT, -- redacted; NULL: none
    state_since_ms INTEGER NOT NULL,
    state_until_ms INTEGER, -- the next probe, or the end; NULL: it does not end
    failed_probes INTEGER NOT NULL,
    state_reset_revision INTEGER NOT NULL, -- when an admin last reset the state
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER -- NULL: in use
) STRICT;
CREATE UNIQUE INDEX egress_proxies_by_label ON egress_proxies (label) WHERE removed_at_ms IS NULL;

-- Attempts of requests by UTC day and egress proxy.
CREATE TABLE egress_proxy_days (
    day_ms INTEGER NOT NULL,
    egress_proxy_id INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    failures INTEGER NOT NULL, -- no connection, or one that broke
    PRIMARY KEY (day_ms, egress_proxy_id)
) STRICT, WITHOUT ROWID;

-- The proxy that the last attempt of a request went through, and that of each attempt; NULL: a direct connection.
ALTER TABLE request_logs ADD COLUMN egress_id INTEGER;
ALTER TABLE attempts ADD COLUMN egress_id INTEGER;
CREATE INDEX attempts_by_egress ON attempts (egress_id, request_id) WHERE egress_id IS NOT NULL;
