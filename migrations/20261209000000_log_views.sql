-- Filters of the log that an admin has saved under a name.
CREATE TABLE log_views (
    id INTEGER NOT NULL PRIMARY KEY,
    admin_id INTEGER NOT NULL REFERENCES admins (id),
    name TEXT NOT NULL,
    query TEXT NOT NULL, -- of the page's URL, without a position
    created_at_ms INTEGER NOT NULL,
    UNIQUE (admin_id, name)
) STRICT;
