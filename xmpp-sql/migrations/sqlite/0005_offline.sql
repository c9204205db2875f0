-- Messages for accounts that nobody could take them for (XEP-0160).
CREATE TABLE offline (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL,
    sender  TEXT NOT NULL,
    -- When it came, in milliseconds since 1970: the order of an account's messages.
    stamp   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    stanza  TEXT NOT NULL
) STRICT;

CREATE INDEX offline_order ON offline (address, stamp, number);
