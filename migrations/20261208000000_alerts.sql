-- Where alerts are sent.
CREATE TABLE alert_targets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('webhook', 'slack', 'discord', 'telegram', 'email')),
    name TEXT NOT NULL,
    address TEXT NOT NULL, -- the URL, the chat, or the recipient; a URL is a secret
    secret TEXT NOT NULL, -- the signing secret, the bot token, or the password; empty: none
    server TEXT, -- URL of the mail server or of the bot API; NULL: the address is a URL
    sender TEXT, -- the address that mails come from; NULL: no e-mail
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    events TEXT NOT NULL, -- JSON array of kinds of alerts; empty: all
    quiet_from INTEGER CHECK (quiet_from BETWEEN 0 AND 1439), -- minute of the day; NULL: no quiet hours
    quiet_to INTEGER CHECK (quiet_to BETWEEN 0 AND 1439),
    zone TEXT NOT NULL, -- time zone of the quiet hours and of times in messages
    language TEXT NOT NULL CHECK (language IN ('en', 'zh-Hant-TW')),
    created_by TEXT NOT NULL, -- an actor of the audit log
    created_at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX alert_targets_by_name ON alert_targets (name);

-- What happened: from when to when.
CREATE TABLE alert_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL, -- a model, or the id of a key; empty: the pool as a whole
    severity TEXT NOT NULL CHECK (severity IN ('critical', 'warning')),
    detail TEXT NOT NULL, -- redacted
    began_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER -- NULL: still open
) STRICT;
CREATE UNIQUE INDEX alert_events_open ON alert_events (kind, subject) WHERE ended_at_ms IS NULL;

-- A message for one target.
CREATE TABLE alert_deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id INTEGER REFERENCES alert_events (id) ON DELETE CASCADE, -- NULL: a test
    target_id INTEGER NOT NULL REFERENCES alert_targets (id) ON DELETE CASCADE,
    phase TEXT NOT NULL CHECK (phase IN ('begin', 'end', 'test')),
    message_id TEXT NOT NULL, -- the same at each attempt
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
    attempts INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL, -- of the first attempt
    next_at_ms INTEGER NOT NULL,
    last_error TEXT, -- redacted; NULL: none
    sent_at_ms INTEGER, -- NULL: not yet
    created_at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX alert_deliveries_by_event ON alert_deliveries (event_id, target_id, phase) WHERE event_id IS NOT NULL;
CREATE INDEX alert_deliveries_pending ON alert_deliveries (target_id, id) WHERE state = 'pending';
CREATE INDEX alert_deliveries_by_target ON alert_deliveries (target_id, id);
