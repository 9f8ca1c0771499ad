-- One row: how far logs were deleted by age. Sums of hours and days that begin later still agree with the logs.
CREATE TABLE pruned_logs (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    until_ms INTEGER NOT NULL -- the latest start of a deleted request or attempt; -1: none was deleted
) STRICT;
INSERT INTO pruned_logs (id, until_ms) VALUES (1, -1);
