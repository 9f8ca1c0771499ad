-- What Google's refusals have said a project may use of a model. What none of them named is presumed from projects
-- with the same billing.
CREATE TABLE quota_limits (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    model TEXT NOT NULL,
    measure TEXT NOT NULL
        CHECK (measure IN ('requests_per_minute', 'tokens_per_minute', 'requests_per_day', 'tokens_per_day')),
    most INTEGER, -- null: more went through than was presumed
    message TEXT NOT NULL, -- redacted; empty where there was none
    request_id INTEGER NOT NULL, -- the request that showed it
    learnt_at_ms INTEGER NOT NULL,
    PRIMARY KEY (project_id, model, measure)
) STRICT, WITHOUT ROWID;

-- What attempts have used in a day of Google's, which begins at midnight in California. By key, so that it goes with
-- the key to whatever project it turns out to be in.
CREATE TABLE quota_days (
    day_ms INTEGER NOT NULL, -- when the day began
    upstream_key_id INTEGER NOT NULL,
    model_id INTEGER NOT NULL, -- a text
    requests INTEGER NOT NULL, -- each text of a batch of embeddings is one
    input_tokens INTEGER NOT NULL,
    PRIMARY KEY (day_ms, upstream_key_id, model_id)
) STRICT, WITHOUT ROWID;
