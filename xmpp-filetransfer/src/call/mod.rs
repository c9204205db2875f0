//! The signalling of calls: RTP sessions (XEP-0167) and what belongs to them, and their mapping to SDP.
