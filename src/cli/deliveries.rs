//! `hooklatch deliveries`: a line for each delivery that a search finds, the newest first.

use serde_json::{Value, json};

use super::Failure;
use super::support::api::{Api, GatewayArgs, with_query};
use super::support::summary::Summary;
use crate::text;

/// Deliveries that the API gives at once.
const PAGE: usize = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to look for, in the search language; without it, all deliveries
    #[arg(value_name = "QUERY", allow_hyphen_values = true)]
    query: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The most deliveries to print
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print the JSON of the API
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.gateway)?;
    let mut pages = Pages::new(args.query.as_deref(), &[]);
    let mut found = Vec::new();
    while found.len() < args.limit
        && let Some(page) = pages.next(&api, args.limit - found.len())?
    {
        if !args.json {
            for delivery in &page {
                outln!("{}", Summary::of(delivery).line());
            }
        }
        found.extend(page);
    }
    if args.json {
        outln!("{}", text::json(&json!({ "deliveries": found, "next": pages.before })));
    }
    Ok(())
}

/// The pages of a list. One may be empty, though others follow.
pub(super) struct Pages<'a> {
    query: Option<&'a str>,
    states: &'a [&'a str],
    /// Where the next page begins.
    before: Option<String>,
    end: bool,
}

impl<'a> Pages<'a> {
    /// The pages of a search, with these states alone if there are any.
    pub(super) fn new(query: Option<&'a str>, states: &'a [&'a str]) -> Self {
        Self { query, states, before: None, end: false }
    }

    /// The next page; `None` after the last one.
    pub(super) fn next(&mut self, api: &Api, limit: usize) -> Result<Option<Vec<Value>>, Failure> {
        if self.end {
            return Ok(None);
        }
        let limit = limit.clamp(1, PAGE).to_string();
        let states = self.states.iter().map(|state| ("state", Some(*state)));
        let others = [("q", self.query), ("before", self.before.as_deref()), ("limit", Some(limit.as_str()))];
        let mut page = api.get(&with_query("/api/v1/deliveries", others.into_iter().chain(states)))?;
        self.before = page.get("next").and_then(Value::as_str).map(str::to_owned);
        self.end = self.before.is_none();
        match page.get_mut("deliveries").map(Value::take) {
            Some(Value::Array(deliveries)) => Ok(Some(deliveries)),
            _ => Err(Failure::Failed("the answer has no deliveries: is this the admin listener?".to_owned())),
        }
    }
}
