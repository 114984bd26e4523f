//! Routes as they run: the table that finds them, and the limits that hold over all threads.

pub mod limits;
pub mod table;
