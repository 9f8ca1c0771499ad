-- A key's page shows its last checks, which are rare among its requests.
CREATE INDEX request_logs_checks ON request_logs (upstream_key_id) WHERE kind = 'check';
