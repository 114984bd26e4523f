//! The way of a delivery, in the order of the stages.
//!
//! [`listener`] accepts connections; [`http1`] serves them, reading through a [`wire`] that follows the [`framing`] of
//! requests, and answers with [`early`] what is none; [`stack`] assembles the stages; [`observe`] counts and logs; [`respond`] turns
//! refusals into responses; [`route`] finds the route; [`limits`] bounds what is on its way; [`verify`] looks at the signature header; [`body`] reads the
//! body; [`verify`] checks the signature; [`forward`] sends the request to the upstream through a [`pool`] of
//! connections that [`transport`] opens. [`delivery`] has the types that pass from stage to stage, [`reject`] the
//! closed list of refusals, [`headers`] the edits of header maps.

pub mod body;
pub mod delivery;
pub mod early;
pub mod forward;
pub mod framing;
pub mod headers;
pub mod http1;
pub mod limits;
pub mod listener;
pub mod observe;
pub mod pool;
pub mod reject;
pub mod respond;
pub mod route;
pub mod stack;
pub mod transport;
pub mod verify;
pub mod wire;
