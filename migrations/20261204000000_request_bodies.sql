-- Bodies that are kept by `body_log_mode`. No foreign key: the row of the request may still be in the journal.
CREATE TABLE request_bodies (
    request_id INTEGER PRIMARY KEY,
    request_form TEXT NOT NULL CHECK (request_form IN ('whole', 'cut', 'binary', 'encoded')),
    request_type TEXT, -- the content type; NULL: none
    request_bytes INTEGER NOT NULL, -- as sent
    request_content BLOB, -- a redacted text, as zstd; NULL: empty, binary or encoded
    answer_form TEXT NOT NULL CHECK (answer_form IN ('whole', 'cut', 'binary', 'encoded')),
    answer_type TEXT,
    answer_bytes INTEGER NOT NULL,
    answer_content BLOB,
    stored_bytes INTEGER NOT NULL -- of both contents
) STRICT;
-- The sum of all sizes is read from it.
CREATE INDEX request_bodies_by_size ON request_bodies (request_id, stored_bytes);
