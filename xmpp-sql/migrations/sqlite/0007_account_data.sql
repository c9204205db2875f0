-- Whom users block (XEP-0191).
CREATE TABLE blocked (
    address TEXT NOT NULL,
    jid     TEXT NOT NULL,
    PRIMARY KEY (address, jid)
) STRICT;
