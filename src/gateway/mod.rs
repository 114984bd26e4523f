//! The stages of a delivery.
//!
//! [`stack`] assembles them; a [`stage`] is an async function. In their order:
//!
//! - [`receive`] gives a request its id, and finds out who sent it.
//! - [`observe`] counts, times and logs.
//! - [`respond`] makes responses of refusals.
//! - [`route`] finds the route.
//! - [`catch`] turns a panic into a refusal.
//! - [`limit`] counts a delivery against the limits of its route.
//! - [`verify`] checks the signature: its header before the body is read, the rest after.
//! - [`body`] reads the body.
//! - [`dedupe`] recognises deliveries that were there before.
//! - [`enqueue`] stores a delivery, on routes with a queue.
//! - [`forward`] sends the request to the upstream.
//!
//! Their helpers:
//!
//! - [`client_addr`] and [`forwarded`] find the client behind proxies.
//! - [`request_id`] makes the id of a request.
//! - [`accepted`] makes the answers to deliveries that are stored, or were there before.
//! - [`recorded`] judges a request that was recorded, by the checks of the stages.
//! - [`prepare`] makes the message for the upstream.
//! - [`headers`] says which headers the upstream gets.
//! - [`capture`] reads the body of what is refused by its head, if a person has asked for it.
//! - [`discard`] leaves a body unread.
//! - [`challenge`] answers endpoint challenges.
//! - [`report`] logs deliveries that do not verify on routes with `enforce: false`.
//! - [`problem`] makes `application/problem+json`.

pub mod accepted;
pub mod body;
pub mod capture;
pub mod catch;
pub mod challenge;
pub mod client_addr;
pub mod dedupe;
pub mod discard;
pub mod enqueue;
pub mod forward;
pub mod forwarded;
pub mod headers;
pub mod limit;
pub mod observe;
pub mod prepare;
pub mod problem;
pub mod receive;
pub mod recorded;
pub mod report;
pub mod request_id;
pub mod respond;
pub mod route;
pub mod stack;
pub mod stage;
pub mod verify;
