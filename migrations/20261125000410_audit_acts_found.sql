-- The audit is looked through by whoever did something, by what was done, to what, and when.
CREATE INDEX audit_acts_by_actor ON audit_acts (actor);
CREATE INDEX audit_acts_by_action ON audit_acts (action);
CREATE INDEX audit_acts_by_subject ON audit_acts (subject);
CREATE INDEX audit_acts_by_time ON audit_acts (at_ms);
