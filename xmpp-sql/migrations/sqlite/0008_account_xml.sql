CREATE TABLE account_xml (
    address TEXT NOT NULL,
    shelf TEXT NOT NULL,
    ns TEXT NOT NULL,
    name TEXT NOT NULL,
    xml TEXT NOT NULL,
    PRIMARY KEY (address, shelf, ns, name)
);

CREATE TABLE last_activity (
    address TEXT NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL,
    status TEXT
);
