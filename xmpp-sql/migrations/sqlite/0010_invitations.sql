-- Invitations, found by the SHA-256 of their token. Their inviter may be nobody in particular; times are seconds since 1970.
CREATE TABLE invitation (
    digest BLOB NOT NULL PRIMARY KEY,
    address TEXT,
    domain TEXT NOT NULL,
    account TEXT,
    register BOOLEAN NOT NULL,
    contact BOOLEAN NOT NULL,
    expires_at BIGINT NOT NULL,
    -- Until when one who uses it has it alone.
    claimed_until BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX invitation_by_address ON invitation (address);
CREATE INDEX invitation_by_account ON invitation (account);
CREATE INDEX invitation_by_expiry ON invitation (expires_at);
