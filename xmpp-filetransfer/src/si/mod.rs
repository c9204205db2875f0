//! Stream initiation (XEP-0095), by which older clients offer files (XEP-0096).
