-- One index of archives instead of two: each has a page of its own to be written for every message. It has the peer, so
-- that a question about one reads the index of the owner, and of the table only what is found.
DROP INDEX archive_owner;
DROP INDEX archive_peer;
CREATE INDEX archive_owner ON archive (owner, seq, peer);
