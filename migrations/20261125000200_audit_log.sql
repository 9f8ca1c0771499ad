-- What hands have changed: who, from where, what was there before and what after. Nothing is deleted from it. `subject` and
-- `action` have no CHECK: later versions name more of them, and this table shall not be written anew for that.
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL, -- of the act: what was changed together has the same; 0: older than this table
    actor TEXT NOT NULL,
    address TEXT, -- null: not over the network
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    subject_id INTEGER, -- null: a subject that is known by its name
    name TEXT NOT NULL, -- what the subject was called then
    before TEXT, -- a JSON object of what changed, without secrets; null: there was nothing
    after TEXT -- the same; null: there is nothing any more
) STRICT;
CREATE INDEX audit_log_by_subject ON audit_log (subject, subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX audit_log_by_name ON audit_log (subject, name) WHERE subject_id IS NULL;
CREATE INDEX audit_log_by_revision ON audit_log (revision);

INSERT INTO audit_log (at_ms, revision, actor, action, subject, name, before, after)
SELECT
    changed_at_ms, 0, actor, 'update', 'setting', name,
    CASE WHEN before IS NOT NULL THEN json_object('value', before) END,
    CASE WHEN after IS NOT NULL THEN json_object('value', after) END
FROM setting_changes
ORDER BY id;
DROP TABLE setting_changes;
