//! Out of band data (XEP-0066).
