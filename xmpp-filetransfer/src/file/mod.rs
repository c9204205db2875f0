//! What a file is, to who is asked to take it (XEP-0234).
