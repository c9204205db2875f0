-- The versions of rosters: a row appears with a user's first item.
CREATE TABLE roster (
    address TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    -- What has been removed before this version is not known any more.
    horizon INTEGER NOT NULL
) STRICT;

CREATE TABLE roster_item (
    address      TEXT NOT NULL,
    contact      TEXT NOT NULL,
    -- That of the roster when the item was last changed.
    version      INTEGER NOT NULL,
    -- none, to, from, both; remove is the memory of an item that is gone.
    subscription TEXT NOT NULL,
    ask          INTEGER NOT NULL,
    approved     INTEGER NOT NULL,
    name         TEXT,
    -- Their names, each with U+001F behind it, which no XML can contain.
    groups       TEXT NOT NULL,
    PRIMARY KEY (address, contact)
) STRICT;

CREATE INDEX roster_item_contact ON roster_item (contact);

-- Requests that wait to be answered, in the order of their numbers.
CREATE TABLE roster_request (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL,
    contact TEXT NOT NULL,
    stanza  TEXT NOT NULL,
    UNIQUE (address, contact)
) STRICT;
