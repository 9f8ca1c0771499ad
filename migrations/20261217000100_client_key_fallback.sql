-- Chains of models that answer in place of others for this client key; empty: none; NULL: those of the setting.
ALTER TABLE client_keys ADD COLUMN model_fallback TEXT;
