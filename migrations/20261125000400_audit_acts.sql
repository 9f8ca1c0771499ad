-- What one act did to things of one kind, however many: the lines of the audit, so that an import of 50,000 keys is one. `id`
-- is that of the first of its changes. Kept by a trigger, because changes are written by many statements.
CREATE TABLE audit_acts (
    id INTEGER PRIMARY KEY REFERENCES audit_log (id),
    at_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL, -- 0: every change stands for itself
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    action TEXT NOT NULL,
    changes INTEGER NOT NULL -- how many
) STRICT;
CREATE UNIQUE INDEX audit_acts_by_revision ON audit_acts (revision, subject, action) WHERE revision > 0;
-- The audit is looked through by whoever did something, by what was done, to what, and when; by several at once, too: the
-- other columns stand in each index, so that what does not fit is passed over without being read, and the number stands
-- second, so that the newest come first.
CREATE INDEX audit_acts_by_actor ON audit_acts (actor, id, action, subject);
CREATE INDEX audit_acts_by_action ON audit_acts (action, id, subject, actor);
CREATE INDEX audit_acts_by_subject ON audit_acts (subject, id, action, actor);
CREATE INDEX audit_acts_by_time ON audit_acts (at_ms);

INSERT INTO audit_acts (id, at_ms, revision, actor, subject, action, changes)
SELECT min(id), min(at_ms), revision, actor, subject, action, count(*)
FROM audit_log
GROUP BY iif(revision > 0, revision, -id), subject, action;

CREATE TRIGGER audit_log_to_acts AFTER INSERT ON audit_log
BEGIN
    INSERT INTO audit_acts (id, at_ms, revision, actor, subject, action, changes)
    VALUES (new.id, new.at_ms, new.revision, new.actor, new.subject, new.action, 1)
    ON CONFLICT (revision, subject, action) WHERE revision > 0 DO UPDATE
    SET changes = changes + 1;
END;
