//! What all pages have around their content: title, navigation, banners.

use askama::Template;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::assets;
use super::view::{self, Time, counted, encoded};
use crate::admin::AdminContext;
use crate::search::choice::written;
use crate::store::{Health, Shown, State};

/// What all pages have.
#[derive(Debug)]
pub struct Chrome {
    /// The title, without the name of the program.
    pub title: String,
    /// Which page it is, for the script.
    pub page: &'static str,
    /// The entry of the navigation that the page belongs to; empty for none.
    pub section: &'static str,
    /// The address of the stylesheet.
    pub style: &'static str,
    /// The address of the script.
    pub script: &'static str,
    /// The address of the icon.
    pub icon: &'static str,
    /// Whether there is a navigation: on pages for people who are let in.
    pub navigation: bool,
    /// Whether nothing can be changed.
    pub read_only: bool,
    /// Whether people log in and out.
    pub has_login: bool,
    /// Dead deliveries.
    pub dead: u64,
    /// What people should know wherever they are.
    pub banners: Vec<Banner>,
    /// The version that runs.
    pub version: &'static str,
}

/// A line above the content.
#[derive(Debug)]
pub struct Banner {
    /// `bad`, `warn` or `note`.
    pub class: &'static str,
    /// The text.
    pub text: String,
    /// Where there is more about it; empty for nowhere.
    pub link: String,
}

impl Chrome {
    /// That of a page which tells nothing about the gateway, for people who are not let in.
    pub fn bare(title: impl Into<String>, page: &'static str) -> Self {
        Self {
            title: title.into(),
            page,
            section: "",
            style: assets::style(),
            script: assets::script(),
            icon: assets::icon(),
            navigation: false,
            read_only: false,
            has_login: false,
            dead: 0,
            banners: Vec::new(),
            version: crate::VERSION,
        }
    }

    /// That of a page for people who are let in.
    pub fn of(context: &AdminContext, title: impl Into<String>, page: &'static str, section: &'static str) -> Self {
        let running = (context.running)();
        let counts = context.queue.store.counts();
        let is_dead = |shown: &Shown| *shown == Shown::Settled(State::Dead);
        Self {
            section,
            navigation: true,
            read_only: running.admin.read_only,
            has_login: running.admin.token.is_some(),
            dead: counts.iter().filter(|((_, shown), _)| is_dead(shown)).map(|(_, count)| count).sum(),
            banners: banners(context),
            ..Self::bare(title, page)
        }
    }
}

fn banners(context: &AdminContext) -> Vec<Banner> {
    let mut banners = Vec::new();
    let mut add = |class, text: String, link: &str| banners.push(Banner { class, text, link: link.to_owned() });
    let store = &context.queue.store;
    let health = store.health();
    match &health {
        Health::Good => {}
        Health::Full => add(
            "bad",
            "The store is full: routes with a queue answer 503 storage_full until there is room again.".to_owned(),
            "/ui/status",
        ),
        Health::Unreachable(why) => add(
            "bad",
            format!(
                "The database cannot be reached: routes with a queue answer 503 storage_failed until it can. {}",
                view::shown(why)
            ),
            "/ui/status",
        ),
        Health::Failed(why) => add(
            "bad",
            format!(
                "The store has failed: routes with a queue answer 503 storage_failed until the gateway is restarted. {}",
                view::shown(why)
            ),
            "/ui/status",
        ),
    }
    if !(context.ready)() && !matches!(health, Health::Failed(_) | Health::Unreachable(_)) {
        add("warn", "The gateway is draining: it takes no more deliveries, and is about to end.".to_owned(), "");
    }
    if store.dropped() > 0 {
        let text = format!(
            "{} not recorded since the start: more came than can be recorded.",
            counted(store.dropped(), "delivery was", "deliveries were")
        );
        add("warn", text, "/ui/status");
    }
    for ((route, shown), count) in &store.counts() {
        if *shown == Shown::Held {
            let held = counted(*count, "delivery waits", "deliveries wait");
            let text = format!("{held} for the route {route}, which the configuration does not have any more.");
            add("warn", text, &format!("/ui/deliveries?q={}", encoded(&format!("is:held route:{}", written(route)))));
        }
    }
    if !context.metrics.last_reload().0 {
        let text = "The last reload has failed: the former configuration runs. The log says why.";
        add("bad", text.to_owned(), "/ui/status");
    }
    for route in &*(context.running)().routes {
        let name = &route.config.name;
        if let Some(left) = route.limits.capture().left(context.clock.now()) {
            let text = format!(
                "Capture is on for the route {name}: up to {} more refused requests are recorded with their bodies, \
                 until {}.",
                left.left,
                Time::of(left.until).short
            );
            add("note", text, &format!("/ui/routes/{name}"));
        }
    }
    banners
}

/// A page.
pub fn html(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
