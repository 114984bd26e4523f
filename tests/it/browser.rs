//! The page in a real browser: Debian's Chromium, driven by WebDriver.
//!
//! Each test has a browser and a gateway of its own, with real deliveries.

mod delivery;
mod driver;
mod foreign;
mod hostile;
mod keyboard;
mod live;
mod looks;
mod pictures;
mod plain;
mod routes;
mod session;
mod site;
