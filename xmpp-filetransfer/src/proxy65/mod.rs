//! The relay of bytestreams between clients that cannot reach each other (XEP-0065 §6).
