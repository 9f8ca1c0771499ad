-- Who may administer, and what they have chosen for themselves.
CREATE TABLE admins (
    id INTEGER PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL, -- argon2id, with its salt and costs (PHC string)
    zone TEXT NOT NULL DEFAULT 'UTC', -- in which times are shown
    log_columns TEXT, -- which columns of the log, as a JSON array; null: the usual ones
    created_at_ms INTEGER NOT NULL,
    password_changed_at_ms INTEGER NOT NULL
) STRICT;

-- Who is signed in, where. An id is never used again: the session of one that was ended still names it.
CREATE TABLE sign_ins (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    admin_id INTEGER NOT NULL REFERENCES admins (id),
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    last_seen_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_ins_by_admin ON sign_ins (admin_id);

-- The table of tower-sessions-sqlx-store, as its own migration makes it: not strict, because it binds dates as text.
CREATE TABLE tower_sessions (
    id TEXT PRIMARY KEY NOT NULL,
    data BLOB NOT NULL,
    expiry_date INTEGER NOT NULL
);
