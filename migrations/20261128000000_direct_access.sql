-- Whether a client key may hand out access to Google that goes past this server: ephemeral tokens, permissions, webhooks,
-- credentials.
ALTER TABLE client_keys ADD COLUMN direct_access INTEGER NOT NULL DEFAULT 0 CHECK (direct_access IN (0, 1));
