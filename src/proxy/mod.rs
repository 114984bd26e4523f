//! The way of a delivery, in the order of the stages.
//!
//! [`listener`] accepts connections; [`entrance`] takes the PROXY protocol's header ([`proxy_protocol`]) and [`tls`]
//! off them; [`http2`] serves those that have agreed on it, [`http1`] the rest: each has a [`sender`] at its far end, whose
//! [`request`]s it answers by a [`reply`] with a [`date`]; [`early`] answers what is none; [`stack`] assembles the stages
//! (each a [`stage`]), which a reload exchanges through a [`swap`]; [`arrive`] takes a request up; [`client`] finds out
//! who sent a request, from what proxies have [`forwarded`]; [`observe`] counts, and has a line logged ([`access`]) of
//! what stages have noted in a [`trail`]; [`trace`] knows the trace that a delivery belongs to; [`respond`] turns
//! refusals into responses; [`route`] finds the route; [`catch`] sees to it that a bug costs one delivery; [`limits`]
//! bounds what is on its way; [`verify`] looks at the signature header; [`body`] reads the body; [`verify`] checks the
//! signature, and has a [`challenge`] answered where there is one; [`forward`] sends the request ([`outgoing`], with
//! its [`headers`]) to the upstream through a [`pool`] of connections that [`transport`] opens; on each, an
//! [`exchange`] follows another, and [`response`] reads what comes back. Either side's connection is a [`socket`], and
//! has one [`timer`], an [`inflow`] of bodies, [`chunked`] or not, and heads whose [`lines`] are written. [`report`]
//! tells operators of what does not verify where that is not enforced. [`delivery`] has the types that pass from stage
//! to stage, [`reject`] the closed list of refusals.

pub mod access;
pub mod arrive;
pub mod body;
pub mod catch;
pub mod challenge;
pub mod chunked;
pub mod client;
pub mod date;
pub mod delivery;
pub mod early;
pub mod entrance;
pub mod exchange;
pub mod forward;
pub mod forwarded;
pub mod headers;
pub mod http1;
pub mod http2;
pub mod inflow;
pub mod limits;
pub mod lines;
pub mod listener;
pub mod observe;
pub mod outgoing;
pub mod pool;
pub mod proxy_protocol;
pub mod reject;
pub mod reply;
pub mod report;
pub mod request;
pub mod respond;
pub mod response;
pub mod route;
pub mod sender;
pub mod socket;
pub mod stack;
pub mod stage;
pub mod swap;
pub mod timer;
pub mod tls;
pub mod trace;
pub mod trail;
pub mod transport;
pub mod verify;
