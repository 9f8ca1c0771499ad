-- Plain names for tables and columns. Only the text of the schema changes: no row is read or written and no index is rebuilt, so that
-- this takes no longer with millions of rows.
ALTER TABLE texts RENAME TO strings;
ALTER TABLE strings RENAME COLUMN text TO value;
ALTER TABLE quota_limits RENAME COLUMN most TO maximum; -- null: more succeeded than the inherited limit allows
ALTER TABLE quota_limits RENAME COLUMN learnt_at_ms TO observed_at_ms;
ALTER TABLE projects RENAME COLUMN cleared_revision TO cooldowns_cleared_revision;
ALTER TABLE pruned_logs RENAME TO log_pruning;
