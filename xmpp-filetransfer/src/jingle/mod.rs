//! Sessions between two clients for any purpose (XEP-0166).
