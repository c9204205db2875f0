-- Slots for uploads, and the files that came, which are not in the database. Times are seconds since 1970.
CREATE TABLE upload (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    content_type TEXT,
    size BIGINT NOT NULL,
    -- The SHA-256 of what its owner has to know.
    token BLOB NOT NULL,
    -- Until when a file may come, or is kept; 0 when its owner is gone.
    expires_at BIGINT,
    expire_before BIGINT,
    published BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE INDEX upload_by_owner ON upload (owner, id);
CREATE INDEX upload_by_owner_expiry ON upload (owner, expires_at);
CREATE INDEX upload_by_expiry ON upload (expires_at, id);

-- What the uploads of each owner take, and, under no name, those of all.
CREATE TABLE upload_usage (
    address TEXT NOT NULL PRIMARY KEY,
    bytes BIGINT NOT NULL,
    files BIGINT NOT NULL
);
