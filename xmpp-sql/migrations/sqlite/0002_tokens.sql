-- The tokens of one client installation (XEP-0484): the one in use, and one that was given and not used yet.
CREATE TABLE token (
    address           TEXT NOT NULL REFERENCES account (address) ON DELETE CASCADE,
    client            TEXT NOT NULL,
    revision          INTEGER NOT NULL,
    -- When the last of them ends, in seconds since 1970.
    expiry            INTEGER NOT NULL,
    current_secret    TEXT,
    current_mechanism TEXT,
    current_issued    INTEGER,
    current_expiry    INTEGER,
    current_count     INTEGER,
    fresh_secret      TEXT,
    fresh_mechanism   TEXT,
    fresh_issued      INTEGER,
    fresh_expiry      INTEGER,
    fresh_count       INTEGER,
    PRIMARY KEY (address, client)
) STRICT;
