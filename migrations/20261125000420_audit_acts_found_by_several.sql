-- Filters are asked together, too: the other columns stand in each index, so that what does not fit is passed over without
-- being read, and the number stands second, so that the newest come first.
DROP INDEX audit_acts_by_actor;
DROP INDEX audit_acts_by_action;
DROP INDEX audit_acts_by_subject;
CREATE INDEX audit_acts_by_actor ON audit_acts (actor, id, action, subject);
CREATE INDEX audit_acts_by_action ON audit_acts (action, id, subject, actor);
CREATE INDEX audit_acts_by_subject ON audit_acts (subject, id, action, actor);
