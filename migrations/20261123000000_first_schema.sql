-- Times are unix milliseconds. Boolean columns are 0 or 1. JSON columns hold arrays of strings.

-- One row. Whatever changes keys, clients or settings adds one to it in the same transaction, so that
-- a running server sees from one number that something changed, and from the rows' own what.
CREATE TABLE revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO revision (id, value) VALUES (1, 0);

-- What was made at random at the first start, such as the key that hashes client keys.
CREATE TABLE installation_secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Typed in code; a row only where the admin changed the default.
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Google counts quota by project. A key whose project is not known has one of its own without a name.
CREATE TABLE projects (
    id INTEGER PRIMARY KEY,
    name TEXT UNIQUE, -- projects/123; null until Google or the admin names it
    billing TEXT NOT NULL DEFAULT 'unknown' CHECK (billing IN ('free', 'paid', 'unknown')),
    created_at_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

CREATE TABLE upstream_keys (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects (id),
    label TEXT NOT NULL,
    secret TEXT, -- null once a removed key's secret has been wiped
    last4 TEXT NOT NULL,
    fingerprint BLOB NOT NULL, -- HMAC-SHA-256 of the secret: a key is known again after its secret is wiped
    enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    priority INTEGER NOT NULL DEFAULT 0,
    weight INTEGER NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    tags TEXT NOT NULL DEFAULT '[]',
    state TEXT NOT NULL DEFAULT 'ready'
        CHECK (state IN ('ready', 'cooling_down', 'trial', 'invalid', 'leaked', 'suspended', 'misconfigured')),
    state_rule TEXT, -- the rule that set the state; null for ready and for what a hand set
    state_status INTEGER, -- Google's status then
    state_message TEXT, -- Google's message then, redacted
    state_request_id INTEGER, -- the request that showed it
    state_since_ms INTEGER NOT NULL,
    state_until_ms INTEGER, -- null: the state has no end of its own
    next_check_at_ms INTEGER, -- null: no check is due
    failed_checks INTEGER NOT NULL DEFAULT 0,
    state_reset_revision INTEGER NOT NULL DEFAULT 0, -- when a hand last cleared the state
    requests INTEGER NOT NULL DEFAULT 0,
    successes INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    total_tokens INTEGER NOT NULL DEFAULT 0,
    last_used_at_ms INTEGER, -- null: never
    last_error TEXT, -- redacted; null: none yet
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER, -- null: in use; else a tombstone that log rows refer to
    revision INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX upstream_keys_by_fingerprint ON upstream_keys (fingerprint);
CREATE INDEX upstream_keys_by_project ON upstream_keys (project_id);
CREATE INDEX upstream_keys_removed ON upstream_keys (removed_at_ms) WHERE removed_at_ms IS NOT NULL;
CREATE INDEX upstream_keys_by_revision ON upstream_keys (revision);

-- A project rests for a model ('*': for every model) until then.
CREATE TABLE cooldowns (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    model TEXT NOT NULL,
    rule TEXT NOT NULL,
    step INTEGER NOT NULL, -- how often it was doubled
    status INTEGER, -- Google's status; null where none came
    message TEXT NOT NULL, -- redacted
    request_id INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (project_id, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE client_keys (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    hash BLOB NOT NULL, -- HMAC-SHA-256 under installation_secrets.client_keys
    last4 TEXT NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    expires_at_ms INTEGER, -- null: never
    requests_per_minute INTEGER, -- null, here and below: no limit
    requests_per_day INTEGER,
    tokens_per_minute INTEGER,
    tokens_per_day INTEGER,
    concurrency INTEGER,
    cost_per_month_nano_usd INTEGER,
    models TEXT NOT NULL DEFAULT '[]',
    paths TEXT NOT NULL DEFAULT '[]',
    addresses TEXT NOT NULL DEFAULT '[]',
    tags TEXT NOT NULL DEFAULT '[]',
    requests INTEGER NOT NULL DEFAULT 0,
    successes INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    total_tokens INTEGER NOT NULL DEFAULT 0,
    last_used_at_ms INTEGER, -- null: never
    created_at_ms INTEGER NOT NULL,
    removed_at_ms INTEGER, -- null: in use
    revision INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX client_keys_by_hash ON client_keys (hash);
CREATE INDEX client_keys_by_revision ON client_keys (revision);

-- What many log rows repeat: models, paths, addresses, user agents, operations, finish reasons, tiers.
CREATE TABLE texts (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;
-- 0 stands for "none" in the keys of sums.
INSERT INTO texts (id, text) VALUES (0, '');

-- One row a request. The id begins with the start, so that ids sort by time. No foreign keys on logs and
-- sums: tombstones and texts are never deleted before the rows that name them, and each would cost a
-- look-up on every request.
CREATE TABLE request_logs (
    id INTEGER PRIMARY KEY,
    started_at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('request', 'check')),
    client_key_id INTEGER, -- null: nobody we know
    client_ip_id INTEGER, -- a text; null for checks
    user_agent_id INTEGER, -- a text; null: none was sent
    method TEXT NOT NULL,
    path_id INTEGER NOT NULL, -- a text, without credentials, cut at 512 bytes
    model_id INTEGER, -- a text; null: the path names none
    model_version_id INTEGER, -- a text; null: the answer did not say
    operation_id INTEGER, -- a text; null: a path that is not known to us
    streamed INTEGER NOT NULL CHECK (streamed IN (0, 1)),
    status INTEGER, -- what the client got; null: nothing
    outcome TEXT CHECK (outcome IN ('success', 'client_error', 'quota', 'key_fault', 'upstream_error', 'network',
        'no_key', 'refused', 'client_gone', 'broken_off', 'interrupted')), -- null: still running
    error TEXT, -- redacted; null: none
    attempts INTEGER NOT NULL,
    upstream_key_id INTEGER, -- of the last attempt; null: there was none
    project_id INTEGER,
    wait_ms INTEGER NOT NULL,
    first_byte_ms INTEGER, -- null: no byte came
    duration_ms INTEGER, -- null: still running
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    prompt_tokens INTEGER, -- null, here and below: Google did not say
    output_tokens INTEGER,
    thought_tokens INTEGER,
    cached_tokens INTEGER,
    tool_tokens INTEGER,
    total_tokens INTEGER,
    finish_reason_id INTEGER, -- a text
    service_tier_id INTEGER, -- a text
    cost_nano_usd INTEGER, -- null: the price is not known
    turns INTEGER, -- of a live session
    close_code INTEGER -- of a live session
) STRICT;
CREATE INDEX request_logs_by_client_key ON request_logs (client_key_id);
CREATE INDEX request_logs_by_client_ip ON request_logs (client_ip_id);
CREATE INDEX request_logs_by_model ON request_logs (model_id);
CREATE INDEX request_logs_unlike_success ON request_logs (outcome) WHERE outcome <> 'success';
CREATE INDEX request_logs_running ON request_logs (id) WHERE outcome IS NULL;

CREATE TABLE attempts (
    request_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    upstream_key_id INTEGER NOT NULL,
    project_id INTEGER NOT NULL,
    status INTEGER, -- null: no answer came
    outcome TEXT CHECK (outcome IN ('success', 'client_error', 'quota', 'key_fault', 'upstream_error', 'network',
        'client_gone', 'broken_off', 'interrupted')), -- null: still running
    rule TEXT, -- the rule that decided; null: still running, or nobody was left to be told
    error TEXT, -- redacted; null: none
    started_at_ms INTEGER NOT NULL,
    duration_ms INTEGER, -- null: still running
    PRIMARY KEY (request_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_by_upstream_key ON attempts (upstream_key_id);

-- Sums of finished requests of kind `request`. The buckets count by time: under 50 ms, 100, 200 … 51,200, and the rest.
CREATE TABLE model_hours (
    hour_ms INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_0 INTEGER NOT NULL,
    first_byte_1 INTEGER NOT NULL,
    first_byte_2 INTEGER NOT NULL,
    first_byte_3 INTEGER NOT NULL,
    first_byte_4 INTEGER NOT NULL,
    first_byte_5 INTEGER NOT NULL,
    first_byte_6 INTEGER NOT NULL,
    first_byte_7 INTEGER NOT NULL,
    first_byte_8 INTEGER NOT NULL,
    first_byte_9 INTEGER NOT NULL,
    first_byte_10 INTEGER NOT NULL,
    first_byte_11 INTEGER NOT NULL,
    duration_0 INTEGER NOT NULL,
    duration_1 INTEGER NOT NULL,
    duration_2 INTEGER NOT NULL,
    duration_3 INTEGER NOT NULL,
    duration_4 INTEGER NOT NULL,
    duration_5 INTEGER NOT NULL,
    duration_6 INTEGER NOT NULL,
    duration_7 INTEGER NOT NULL,
    duration_8 INTEGER NOT NULL,
    duration_9 INTEGER NOT NULL,
    duration_10 INTEGER NOT NULL,
    duration_11 INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, model_id, outcome)
) STRICT, WITHOUT ROWID;

CREATE TABLE client_key_hours (
    hour_ms INTEGER NOT NULL,
    client_key_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_0 INTEGER NOT NULL,
    first_byte_1 INTEGER NOT NULL,
    first_byte_2 INTEGER NOT NULL,
    first_byte_3 INTEGER NOT NULL,
    first_byte_4 INTEGER NOT NULL,
    first_byte_5 INTEGER NOT NULL,
    first_byte_6 INTEGER NOT NULL,
    first_byte_7 INTEGER NOT NULL,
    first_byte_8 INTEGER NOT NULL,
    first_byte_9 INTEGER NOT NULL,
    first_byte_10 INTEGER NOT NULL,
    first_byte_11 INTEGER NOT NULL,
    duration_0 INTEGER NOT NULL,
    duration_1 INTEGER NOT NULL,
    duration_2 INTEGER NOT NULL,
    duration_3 INTEGER NOT NULL,
    duration_4 INTEGER NOT NULL,
    duration_5 INTEGER NOT NULL,
    duration_6 INTEGER NOT NULL,
    duration_7 INTEGER NOT NULL,
    duration_8 INTEGER NOT NULL,
    duration_9 INTEGER NOT NULL,
    duration_10 INTEGER NOT NULL,
    duration_11 INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, client_key_id)
) STRICT, WITHOUT ROWID;

-- By attempt, not by request. Days are UTC.
CREATE TABLE upstream_key_days (
    day_ms INTEGER NOT NULL,
    upstream_key_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_0 INTEGER NOT NULL,
    first_byte_1 INTEGER NOT NULL,
    first_byte_2 INTEGER NOT NULL,
    first_byte_3 INTEGER NOT NULL,
    first_byte_4 INTEGER NOT NULL,
    first_byte_5 INTEGER NOT NULL,
    first_byte_6 INTEGER NOT NULL,
    first_byte_7 INTEGER NOT NULL,
    first_byte_8 INTEGER NOT NULL,
    first_byte_9 INTEGER NOT NULL,
    first_byte_10 INTEGER NOT NULL,
    first_byte_11 INTEGER NOT NULL,
    duration_0 INTEGER NOT NULL,
    duration_1 INTEGER NOT NULL,
    duration_2 INTEGER NOT NULL,
    duration_3 INTEGER NOT NULL,
    duration_4 INTEGER NOT NULL,
    duration_5 INTEGER NOT NULL,
    duration_6 INTEGER NOT NULL,
    duration_7 INTEGER NOT NULL,
    duration_8 INTEGER NOT NULL,
    duration_9 INTEGER NOT NULL,
    duration_10 INTEGER NOT NULL,
    duration_11 INTEGER NOT NULL,
    PRIMARY KEY (day_ms, upstream_key_id)
) STRICT, WITHOUT ROWID;
