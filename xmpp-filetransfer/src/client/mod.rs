//! Files in a client: sent and received by whatever road there is.
