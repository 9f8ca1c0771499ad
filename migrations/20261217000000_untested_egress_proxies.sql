-- A proxy through which no answer has come is untested, not working. A CHECK cannot be changed in place.
CREATE TABLE new_egress_proxies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label TEXT NOT NULL,
    url TEXT NOT NULL, -- without the credential
    credential TEXT, -- user:password as in a URL; empty: none; NULL: wiped after the removal
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    project_ids TEXT NOT NULL, -- JSON array of ids of projects whose requests go through it
    tags TEXT NOT NULL, -- JSON array of tags of upstream keys; both empty: all requests
    state TEXT NOT NULL CHECK (state IN ('untested', 'working', 'broken', 'location_refused')),
    state_rule TEXT, -- NULL: no verdict caused it
    state_message TEXT, -- redacted; NULL: none
    state_since_ms INTEGER NOT NULL,
    state_until_ms INTEGER, -- the next probe, or the end; NULL: it does not end
    failed_probes INTEGER NOT NULL,
    state_reset_revision INTEGER NOT NULL, -- when an admin last reset the state
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER, -- NULL: in use
    -- The data key that encrypts the credential; NULL: it is not encrypted, or there is none.
    data_key_id INTEGER REFERENCES data_keys (id)
) STRICT;

INSERT INTO new_egress_proxies (
    id, label, url, credential, enabled, project_ids, tags, state, state_rule, state_message, state_since_ms,
    state_until_ms, failed_probes, state_reset_revision, created_at_ms, removed_at_ms, data_key_id
)
SELECT
    id, label, url, credential, enabled, project_ids, tags,
    iif(
        state = 'working'
            AND NOT EXISTS (SELECT 1 FROM egress_proxy_days WHERE egress_proxy_id = id AND attempts > failures),
        'untested',
        state
    ),
    state_rule, state_message, state_since_ms, state_until_ms, failed_probes, state_reset_revision, created_at_ms,
    removed_at_ms, data_key_id
FROM egress_proxies;

-- No id is used twice.
DELETE FROM sqlite_sequence WHERE name = 'new_egress_proxies';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'new_egress_proxies', seq FROM sqlite_sequence WHERE name = 'egress_proxies';

DROP TABLE egress_proxies;
ALTER TABLE new_egress_proxies RENAME TO egress_proxies;
CREATE UNIQUE INDEX egress_proxies_by_label ON egress_proxies (label) WHERE removed_at_ms IS NULL;
