-- When slots were given out, 0 where that was not noted, and what the files are for.
ALTER TABLE upload ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN bucket TEXT NOT NULL DEFAULT 'message';

CREATE INDEX upload_by_owner_age ON upload (owner, created_at, id);
CREATE INDEX upload_by_owner_bucket ON upload (owner, bucket, size);
CREATE INDEX upload_usage_by_bytes ON upload_usage (bytes DESC, address);
