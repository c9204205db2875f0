-- Who made a room, whom it counts for; of older rooms the first of the owners.
ALTER TABLE room ADD COLUMN maker TEXT;

UPDATE room SET maker = (
    SELECT min(address) FROM room_affiliation WHERE room = room.address AND affiliation = 'owner'
);

CREATE INDEX room_maker ON room (domain, maker);

-- What is told of the rooms that are listed. Of older rooms only their names are known, until they are configured again.
CREATE TABLE room_listing (
    domain TEXT NOT NULL,
    address TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    lang TEXT,
    open BOOLEAN,
    non_anonymous BOOLEAN,
    -- The address, the name and the description in small letters, to be searched.
    words TEXT NOT NULL,
    PRIMARY KEY (domain, address)
);

INSERT INTO room_listing (domain, address, name, words)
    SELECT domain, address, name, address || char(10) || lower(name) FROM room WHERE listed;

DROP INDEX room_listed;
ALTER TABLE room DROP COLUMN listed;
ALTER TABLE room DROP COLUMN name;
