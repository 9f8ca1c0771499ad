-- `client_key_hours` by day of UTC: of a long range the usage page reads these, which are few and narrow.
CREATE TABLE client_key_days (
    day_ms INTEGER NOT NULL,
    client_key_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    sent_requests INTEGER NOT NULL,
    retried_successes INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (day_ms, client_key_id)
) STRICT, WITHOUT ROWID;

INSERT INTO client_key_days (
    day_ms, client_key_id, requests, successes, failures, sent_requests, retried_successes, prompt_tokens, output_tokens,
    thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd
)
SELECT
    hour_ms - hour_ms % 86400000, client_key_id, sum(requests), sum(successes), sum(failures), sum(sent_requests),
    sum(retried_successes), sum(prompt_tokens), sum(output_tokens), sum(thought_tokens), sum(cached_tokens),
    sum(tool_tokens), sum(total_tokens), sum(cost_nano_usd)
FROM client_key_hours
GROUP BY 1, 2;
