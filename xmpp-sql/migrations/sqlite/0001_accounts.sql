CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE account (
    address TEXT NOT NULL PRIMARY KEY,
    domain  TEXT NOT NULL
) STRICT;

CREATE INDEX account_domain ON account (domain);

CREATE TABLE credential (
    address    TEXT NOT NULL REFERENCES account (address) ON DELETE CASCADE,
    hash       TEXT NOT NULL,
    salt       BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    PRIMARY KEY (address, hash)
) STRICT;
