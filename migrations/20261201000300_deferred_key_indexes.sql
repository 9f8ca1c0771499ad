-- Which requests an upstream key or a project served, in place of two indexes. An index is written with each row, and each row is
-- on another page of it than the last one; these tables are written for some thousand requests at a time, in their own order.

CREATE TABLE requests_by_upstream_key (
    upstream_key_id INTEGER NOT NULL,
    request_id INTEGER NOT NULL,
    PRIMARY KEY (upstream_key_id, request_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests_by_project (
    project_id INTEGER NOT NULL, -- of any attempt
    request_id INTEGER NOT NULL,
    PRIMARY KEY (project_id, request_id)
) STRICT, WITHOUT ROWID;

-- Requests up to this one are in both tables. Those after it are found by reading their attempts.
CREATE TABLE indexed_requests (
    until_id INTEGER NOT NULL
) STRICT;

INSERT INTO requests_by_upstream_key
SELECT DISTINCT upstream_key_id, request_id
FROM attempts INDEXED BY attempts_by_upstream_key
ORDER BY upstream_key_id, request_id;

INSERT INTO requests_by_project
SELECT DISTINCT project_id, request_id
FROM attempts
ORDER BY project_id, request_id;

INSERT INTO indexed_requests
SELECT ifnull(max(request_id), 0)
FROM attempts;

DROP INDEX attempts_by_upstream_key;
DROP INDEX request_logs_by_project;

CREATE TRIGGER attempts_deleted AFTER DELETE ON attempts
BEGIN
    DELETE FROM requests_by_upstream_key
    WHERE upstream_key_id = old.upstream_key_id AND request_id = old.request_id;
    DELETE FROM requests_by_project
    WHERE project_id = old.project_id AND request_id = old.request_id;
END;
