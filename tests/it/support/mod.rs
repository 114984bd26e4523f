//! Helpers of several test modules.

/// A client of the API of the admin listener.
pub mod api;
/// A handler that takes every delivery and keeps book of it.
pub mod bookkeeper;
/// Certificates that the tests make, and the files that they stand in.
pub mod certificates;
/// A receiver of traces.
pub mod collector;
/// The gateway in this process, and its metrics.
pub mod gateway;
/// A small HTTP/1.1 client that sends exactly the bytes it is given.
pub mod http;
/// HTTP/2: a client that behaves, and frames that do not.
pub mod http2;
/// A service manager that keeps sockets.
pub mod manager;
/// Pages of the admin listener, as a browser without script gets them.
pub mod page;
/// PostgreSQL servers, and what stands between them and a gateway.
pub mod postgres;
/// Child processes: started, listened to, killed.
pub mod process;
/// A gateway with a store, which can be stopped and started again.
pub mod queued;
/// A gateway with one route, its upstream, and the checks that most tests make.
pub mod rig;
/// Deliveries as the three providers sign them, byte by byte.
pub mod sender;
/// The gateway as a process on a configuration that the test changes.
pub mod served;
/// Faults of the disk and jumps of the clock, for a gateway in a process.
pub mod shim;
/// What the long runs of `scripts/soak` share.
pub mod soaked;
/// A connection of a test, with or without TLS.
pub mod stream;
/// Programs that the deployment is tested with.
pub mod tools;
/// The handler's place: a server that the test itself plays, and that fails the test on what it did not expect.
pub mod upstream;
/// Deliveries with a known verdict.
pub mod vectors;
