//! What gateways tell each other by `NOTIFY`: on which routes something is due, that circuits have changed, and, for followers,
//! which deliveries are new or have changed.
//!
//! It is told after the commit, since a commit that notifies waits for all others that do. What is not heard, because a
//! connection was lost, is found by the look that each gateway takes each second.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_postgres::AsyncMessage;
use uuid::Uuid;

use super::error::PgError;
use super::link::{Setup, open, runtime};
use super::{Postgres, QUERY_TIME, statements};
use crate::clock::{Clock, MonotonicClock};
use crate::lock::lock;
use crate::store::attempt::Notice;
use crate::store::backend::{Heard, Others, Sharing};

/// The longest text of a notification, in bytes; the server takes one byte less than 8,000.
const LONGEST: usize = 7_500;
/// Notices that wait to be told. Those who follow miss what is over.
const WAITING: usize = 4_096;
/// The least time between two notifications.
const APART: Duration = Duration::from_millis(50);
/// Notifications that may wait to be read.
const UNREAD: usize = 256;
/// How long the ear waits before it connects again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be told.
#[derive(Debug)]
pub struct News {
    clock: MonotonicClock,
    /// Tells this process from others.
    token: u64,
    due: HashSet<i32>,
    circuits: bool,
    notices: Vec<(Uuid, bool)>,
    is_followed: bool,
    told: Option<Instant>,
}

impl News {
    /// Nothing yet.
    pub fn new() -> Self {
        let (due, notices) = (HashSet::new(), Vec::new());
        let (clock, token) = (Clock::system().monotonic(), rand::random());
        Self { clock, token, due, circuits: false, notices, is_followed: false, told: None }
    }

    /// Tells this process from others.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether another gateway has followers.
    pub fn set_followed(&mut self, is_followed: bool) {
        self.is_followed = is_followed;
    }

    /// Circuits have changed.
    pub fn set_circuits(&mut self) {
        self.circuits = true;
    }

    /// The texts to send now, if it is time.
    fn take(&mut self) -> Vec<String> {
        let now = self.clock.now();
        let is_empty = self.due.is_empty() && self.notices.is_empty() && !self.circuits;
        if is_empty || self.told.is_some_and(|told| now < told + APART) {
            return Vec::new();
        }
        self.told = Some(now);
        let circuits = std::mem::take(&mut self.circuits);
        texts(self.token, self.due.drain(), circuits, self.notices.drain(..))
    }
}

impl Postgres {
    /// Notes what a commit has to tell.
    pub(super) fn tell(&mut self, due: &HashSet<i32>, notices: impl Iterator<Item = Notice>) {
        if !due.is_empty()
            && let Some(others) = &self.others
        {
            // The dispatchers of this process may have looked before the commit.
            (others.tell)(heard_due(&self.names, due));
        }
        self.news.due.extend(due);
        if self.news.is_followed {
            let room = WAITING.saturating_sub(self.news.notices.len());
            self.news.notices.extend(notices.map(|notice| (notice.id, notice.is_new)).take(room));
        }
    }

    /// Tells the other gateways what is noted, unless they were told a moment ago.
    pub(super) fn tell_others(&mut self) -> Result<(), PgError> {
        let texts = self.news.take();
        if texts.is_empty() {
            return Ok(());
        }
        let channel = channel(self.setup.target.schema());
        self.link.run(QUERY_TIME, async |connection| {
            for text in &texts {
                connection.query(statements::TELL, &[&channel, text]).await?;
            }
            Ok(())
        })
    }
}

/// Says which routes have something that is due.
fn heard_due<'a>(names: &Mutex<HashMap<i32, Arc<str>>>, due: impl IntoIterator<Item = &'a i32>) -> Heard {
    let names = lock(names);
    Heard::Due(due.into_iter().filter_map(|number| names.get(number).cloned()).collect())
}

/// The channel of a schema: a name of at most 63 bytes.
fn channel(schema: &str) -> String {
    let name = format!("hooklatch_{schema}");
    let end = name.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= 63).last();
    name.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

fn texts(
    token: u64,
    due: impl Iterator<Item = i32>,
    circuits: bool,
    notices: impl Iterator<Item = (Uuid, bool)>,
) -> Vec<String> {
    let due = due.map(|number| format!(" d{number}"));
    let circuits = circuits.then(|| " c".to_owned());
    let notices = notices.map(|(id, is_new)| format!(" {}{}", if is_new { '+' } else { '~' }, id.simple()));
    let mut texts = Vec::new();
    let mut text = format!("{token:x}");
    for word in due.chain(circuits).chain(notices) {
        if text.len() + word.len() > LONGEST {
            texts.push(std::mem::replace(&mut text, format!("{token:x}")));
        }
        text.push_str(&word);
    }
    texts.push(text);
    texts
}

/// What a text says.
#[derive(Debug, Default)]
struct Told {
    /// Numbers of routes.
    due: Vec<i32>,
    /// Circuits have changed.
    circuits: bool,
    notices: Vec<Notice>,
}

/// What a text says; `None` if this process has sent it.
fn read(text: &str, token: u64) -> Option<Told> {
    let mut words = text.split(' ');
    if u64::from_str_radix(words.next()?, 16) == Ok(token) {
        return None;
    }
    let mut told = Told::default();
    for word in words {
        let mut chars = word.chars();
        let kind = chars.next()?;
        match (kind, chars.as_str()) {
            ('d', number) => told.due.extend(number.parse::<i32>().ok()),
            ('c', "") => told.circuits = true,
            // What a later version says beside is left out.
            ('+' | '~', id) => {
                let notice = |id| Notice { id, is_new: kind == '+', stored: None };
                told.notices.extend(Uuid::try_parse(id).ok().map(notice));
            }
            _ => {}
        }
    }
    Some(told)
}

/// What the ear needs of the store.
pub struct Hearing {
    /// Tells this process from others.
    pub token: u64,
    /// The names of routes by their numbers.
    pub names: Arc<Mutex<HashMap<i32, Arc<str>>>>,
    /// Who hears.
    pub others: Others,
    /// Where it is noted that circuits are to be read.
    pub sharing: Arc<Sharing>,
}

/// The thread that listens. It ends when this is dropped.
#[derive(Debug)]
pub struct Ear {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    /// Starts it. Without the thread, the look each second has to do.
    pub fn start(setup: Setup, hearing: Hearing) -> Option<Self> {
        let (stop, stopped) = watch::channel(false);
        let hear = move || match runtime() {
            Ok(runtime) => runtime.block_on(listen(&setup, &hearing, stopped)),
            Err(error) => tracing::warn!(%error, "other gateways are not heard"),
        };
        match thread::Builder::new().name("store-hear".to_owned()).spawn(hear) {
            Ok(thread) => Some(Self { stop, thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "other gateways are not heard");
                None
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _panicked = thread.join();
        }
    }
}

async fn listen(setup: &Setup, hearing: &Hearing, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _stop = stopped.wait_for(|stop| *stop) => return,
            lost = listen_once(setup, hearing) => {
                if let Err(error) = lost {
                    tracing::debug!(%error, "the connection that hears of other gateways was lost");
                }
            }
        }
        tokio::select! {
            _stop = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Listens until the connection is lost.
async fn listen_once(setup: &Setup, hearing: &Hearing) -> Result<(), PgError> {
    let (heard, mut unread) = mpsc::channel(UNREAD);
    let client = open(setup, move |message| {
        if let AsyncMessage::Notification(notification) = message {
            // What finds no room is found by the look each second.
            let _lost = heard.try_send(notification.payload().to_owned());
        }
    })
    .await?;
    let channel = super::schema::quoted(&channel(setup.target.schema()));
    client.batch_execute(&format!("LISTEN {channel}")).await?;
    // It ends with the connection, whose task holds the sender.
    while let Some(text) = unread.recv().await {
        let Some(told) = read(&text, hearing.token) else { continue };
        let others = &hearing.others;
        if !told.due.is_empty() {
            (others.tell)(heard_due(&hearing.names, &told.due));
        }
        if told.circuits {
            hearing.sharing.circuits.read_soon();
            (others.wake)();
        }
        if !told.notices.is_empty() {
            (others.tell)(Heard::News(told.notices));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard_by_others_in_texts_that_fit() {
        let ids: Vec<(Uuid, bool)> = (0..500).map(|number| (Uuid::from_u128(number), number % 2 == 0)).collect();
        let texts = texts(7, [3, 4].into_iter(), true, ids.iter().copied());
        assert!(texts.len() > 1 && texts.iter().all(|text| text.len() <= LONGEST));
        let (mut due, mut circuits, mut heard) = (Vec::new(), 0, Vec::new());
        for text in &texts {
            assert!(read(text, 7).is_none(), "its own");
            let told = read(text, 8).unwrap();
            due.extend(told.due);
            circuits += usize::from(told.circuits);
            heard.extend(told.notices.into_iter().map(|notice| (notice.id, notice.is_new)));
        }
        assert_eq!((due, circuits, heard), (vec![3, 4], 1, ids));
    }

    #[test]
    fn a_text_of_others_is_read_as_far_as_it_is_understood() {
        let read = |text| read(text, 2).map(|told| (told.due, told.circuits, told.notices.len()));
        assert_eq!(read("1 d5 x9 d +no dd cc"), Some((vec![5], false, 0)));
        assert_eq!(read(""), Some((Vec::new(), false, 0)));
        assert!(channel(&"ä".repeat(40)).len() <= 63);
    }
}
