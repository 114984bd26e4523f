//! Several gateways on one PostgreSQL: what one has accepted is delivered though it dies, and all act as one.

/// What the tests stand on.
mod servers;
