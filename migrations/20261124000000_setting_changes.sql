-- What was changed of the settings, and by whom. Nothing is deleted from it.
CREATE TABLE setting_changes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    before TEXT, -- null: the default
    after TEXT, -- null: the default again
    actor TEXT NOT NULL,
    changed_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX setting_changes_by_name ON setting_changes (name, id);
