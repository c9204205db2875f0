//! In-band bytestreams (XEP-0047): bytes within stanzas, where nothing better is to be had.
