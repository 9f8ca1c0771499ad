-- What `models.list` says: the models with their limits, and which projects list which of them. Most projects list the
-- same models, so that each distinct list is stored once.
CREATE TABLE listed_models (
    id INTEGER PRIMARY KEY,
    -- Without `models/`.
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    -- NULL: not said.
    input_token_limit INTEGER,
    output_token_limit INTEGER,
    -- A JSON array of the supported generation methods.
    methods TEXT NOT NULL
) STRICT;

CREATE TABLE model_lists (
    id INTEGER PRIMARY KEY,
    -- SHA-256 of the names in order.
    digest BLOB NOT NULL UNIQUE
) STRICT;

CREATE TABLE model_list_entries (
    list_id INTEGER NOT NULL REFERENCES model_lists (id) ON DELETE CASCADE,
    model_id INTEGER NOT NULL REFERENCES listed_models (id),
    PRIMARY KEY (list_id, model_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX model_list_entries_by_model ON model_list_entries (model_id);

CREATE TABLE project_models (
    project_id INTEGER PRIMARY KEY REFERENCES projects (id),
    list_id INTEGER NOT NULL REFERENCES model_lists (id),
    listed_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX project_models_by_list ON project_models (list_id);
