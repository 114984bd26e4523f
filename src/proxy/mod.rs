//! The way of a delivery, in the order of the stages.
//!
//! [`listener`] accepts connections; [`stack`] assembles the stages, which a reload exchanges through a [`swap`];
//! [`observe`] counts and logs; [`respond`] turns refusals into responses; [`route`] finds the route; [`verify`] looks
//! at the signature header; [`body`] reads the body; [`verify`] checks the signature; [`forward`] sends the request to
//! the upstream through a [`pool`] of connections that [`transport`] opens. [`delivery`] has the types that pass from
//! stage to stage, [`reject`] the closed list of refusals, [`headers`] the edits of header maps.

pub mod body;
pub mod delivery;
pub mod forward;
pub mod headers;
pub mod listener;
pub mod observe;
pub mod pool;
pub mod reject;
pub mod respond;
pub mod route;
pub mod stack;
pub mod swap;
pub mod transport;
pub mod verify;
