-- Persistent rooms. The configuration is the form of XEP-0045 as it would be submitted.
CREATE TABLE room (
    address TEXT NOT NULL PRIMARY KEY,
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    listed BOOLEAN NOT NULL,
    config TEXT NOT NULL,
    secret BLOB NOT NULL,
    -- The message that set the subject, and when that was, in microseconds since 1970.
    subject TEXT,
    subject_at BIGINT
);

CREATE INDEX room_listed ON room (domain, listed, address);

CREATE TABLE room_affiliation (
    room TEXT NOT NULL REFERENCES room (address) ON DELETE CASCADE,
    address TEXT NOT NULL,
    affiliation TEXT NOT NULL,
    nick TEXT,
    reason TEXT,
    PRIMARY KEY (room, address)
);
