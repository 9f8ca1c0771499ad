-- The data key that encrypts the credential; NULL: it is not encrypted, or there is none.
ALTER TABLE egress_proxies ADD COLUMN data_key_id INTEGER REFERENCES data_keys (id);
