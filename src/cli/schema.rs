//! `hooklatch schema`: the JSON Schema of gateway.yaml, for editors.

use super::Failure;
use crate::config;

pub(super) fn run() -> Result<(), Failure> {
    outln!("{:#}", config::schema());
    Ok(())
}
