//! What comes of a server's tool list: bounded, the good tools kept, the bad ones told.
