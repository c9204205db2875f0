//! Files uploaded to the server, and fetched from it, by HTTP (XEP-0363).
