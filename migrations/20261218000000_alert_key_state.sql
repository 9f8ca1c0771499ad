-- An alert about an upstream key stores the key and its state apart, so that each language has its own name for the state.
ALTER TABLE alert_events ADD COLUMN key_state TEXT
    CHECK (key_state IN ('invalid', 'leaked', 'suspended', 'misconfigured')); -- NULL: the alert is not about an upstream key
UPDATE alert_events
SET key_state = s.value, detail = substr(detail, 1, length(detail) - length(s.value) - 3)
FROM json_each('["invalid", "leaked", "suspended", "misconfigured"]') AS s
WHERE kind IN ('key_dead', 'key_leaked') AND detail LIKE '% (' || s.value || ')';
-- The subject names the limit: 12:requests_per_day.
UPDATE alert_events
SET detail = substr(detail, 1, length(detail) - length(subject) + instr(subject, ':') - 3)
WHERE kind IN ('budget_used', 'budget_nearly_used') AND instr(subject, ':') > 0
    AND detail LIKE '% (' || substr(subject, instr(subject, ':') + 1) || ')';
