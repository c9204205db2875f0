-- Messages of archives (XEP-0313), of accounts and of rooms.
CREATE TABLE archive (
    -- When it came, in microseconds since 1970, and at least one more than the row before it: the order of all archives.
    seq      INTEGER NOT NULL PRIMARY KEY,
    -- What nobody can guess of its id.
    nonce    INTEGER NOT NULL,
    owner    TEXT NOT NULL,
    -- The other's bare address, and resource.
    peer     TEXT NOT NULL,
    resource TEXT,
    message  TEXT NOT NULL
) STRICT;

CREATE INDEX archive_owner ON archive (owner, seq);
CREATE INDEX archive_peer ON archive (owner, peer, seq);

-- What owners want archived (XEP-0441). The lists are addresses, one a line.
CREATE TABLE archive_preferences (
    owner  TEXT NOT NULL PRIMARY KEY,
    policy TEXT NOT NULL,
    always TEXT NOT NULL,
    never  TEXT NOT NULL
) STRICT;
