-- Changes with the password: what a login before that leads to is not stored after it.
ALTER TABLE account ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

-- What is known of the client that the tokens belong to (XEP-0494), with or without tokens. Times are in seconds since
-- 1970; of a client that was never here both are NULL.
ALTER TABLE token ADD COLUMN first_seen INTEGER;
ALTER TABLE token ADD COLUMN last_seen INTEGER;
ALTER TABLE token ADD COLUMN software TEXT;
ALTER TABLE token ADD COLUMN device TEXT;
ALTER TABLE token ADD COLUMN password INTEGER NOT NULL DEFAULT 0;
ALTER TABLE token ADD COLUMN certificate INTEGER NOT NULL DEFAULT 0;
