//! SOCKS5 bytestreams (XEP-0065): a TCP connection between two clients, direct or through a relay.
