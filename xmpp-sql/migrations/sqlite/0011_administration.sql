-- Whether the owner may not log in for the time being (XEP-0133).
ALTER TABLE account ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;

CREATE INDEX account_disabled ON account (domain, address) WHERE disabled = 1;

-- When users last logged in, and the last message of the day that they were told.
CREATE TABLE login (
    address    TEXT NOT NULL PRIMARY KEY,
    -- In seconds since 1970; NULL for who was there before it was noted.
    last_login INTEGER,
    motd       INTEGER NOT NULL
) STRICT;

-- Who is here already is not newly registered.
INSERT INTO login (address, last_login, motd) SELECT address, NULL, 0 FROM account;

-- What users are told when they log in. The number of the message of the day grows with each that is set.
CREATE TABLE notice (
    kind   TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    text   TEXT
) STRICT;
