//! What several test modules need.

/// A small HTTP/1.1 client that sends exactly the bytes it is given.
pub mod http;
/// Child processes: started, listened to, killed.
pub mod process;
