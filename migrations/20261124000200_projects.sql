-- A project has two names: Google's number (`projects/123`), learnt from errors or set by hand, and whatever the admin
-- calls it.
ALTER TABLE projects ADD COLUMN number TEXT; -- projects/123; null until Google or the admin tells it
CREATE UNIQUE INDEX projects_by_number ON projects (number);
UPDATE projects SET number = name, name = NULL
WHERE name GLOB 'projects/[0-9]*' AND substr(name, 10) NOT GLOB '*[^0-9]*';

-- The project that this one turned out to be. It has no keys any more, and is here for the log rows that name it.
ALTER TABLE projects ADD COLUMN merged_into_id INTEGER REFERENCES projects (id); -- null: it is one of its own

-- When a hand last cleared its cooldowns, which a running server holds in memory.
ALTER TABLE projects ADD COLUMN cleared_revision INTEGER NOT NULL DEFAULT 0;

CREATE INDEX projects_by_revision ON projects (revision);
CREATE INDEX projects_merged ON projects (merged_into_id) WHERE merged_into_id IS NOT NULL;
