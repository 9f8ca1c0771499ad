-- What the log can be filtered by finds its rows by an index, newest first; what most rows have alike is left out.
CREATE INDEX request_logs_by_status ON request_logs (status) WHERE status <> 200;
CREATE INDEX request_logs_by_user_agent ON request_logs (user_agent_id);
CREATE INDEX request_logs_by_path ON request_logs (path_id);
CREATE INDEX request_logs_by_project ON request_logs (project_id);
CREATE INDEX request_logs_by_method ON request_logs (method) WHERE method <> 'POST';
CREATE INDEX request_logs_checks_by_id ON request_logs (id) WHERE kind = 'check';
CREATE INDEX request_logs_retried ON request_logs (id) WHERE attempts > 1;
CREATE INDEX request_logs_slow ON request_logs (id) WHERE duration_ms >= 10000 OR first_byte_ms >= 10000;
CREATE INDEX request_logs_with_error ON request_logs (id) WHERE error IS NOT NULL;
