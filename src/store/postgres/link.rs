//! One connection to the database, for one thread: made when it is needed, and made anew after it was lost.
//!
//! The thread drives the connection itself, by a runtime of its own, as long as it waits for an answer. A connection that
//! could not be made is tried again after a pause that doubles up to [`MAX_PAUSE`]; until then each use is refused at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::seq::SliceRandom as _;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::config::LoadBalanceHosts;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{Consequence, PgError};
use super::schema;
use super::url::Target;
use crate::clock::{Clock, MonotonicClock};

/// How long one host may take to let the gateway in, or `connect_timeout` if that is longer. One that takes the connection and then says nothing must not keep it from
/// the next one.
const HOST_TIME: Duration = Duration::from_secs(5);
/// How long it may take then until the connection is set up.
const SETUP_TIME: Duration = Duration::from_secs(5);
/// How long it may take to cancel a statement at the server.
const CANCEL_TIME: Duration = Duration::from_secs(1);
/// How long a statement waits for another transaction.
const LOCK_TIME: Duration = Duration::from_secs(5);
/// A gateway that the server hears nothing of in the middle of a transaction keeps its locks for so long.
const GIVE_UP: &str = "SET idle_in_transaction_session_timeout = '15s'";
/// The pause after the first connection that could not be made.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// How long a connection counts as used a moment ago.
const WARM: Duration = Duration::from_millis(100);

/// A statement's parameters.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How a connection is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The database.
    pub target: Arc<Target>,
    /// Does TLS as the URL asks for it.
    pub connector: Connector,
    /// How long a statement may take on the server; `None` for one that commits. A commit that the server breaks off is done
    /// all the same, but no standby may have it.
    pub statement_time: Option<Duration>,
}

/// A connection, and what drives it.
type Connected = (Client, tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>);

/// Does TLS.
#[derive(Clone)]
pub struct Connector(pub MakeRustlsConnect);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

/// The connection of one thread.
#[derive(Debug)]
pub struct Link {
    setup: Setup,
    clock: MonotonicClock,
    /// Made by the thread that uses the link.
    runtime: Option<Runtime>,
    connection: Option<Connection>,
    /// How often a connection was made.
    made: u64,
    /// When it was used last.
    used: Option<Instant>,
    pause: Duration,
    /// When to connect again after it has failed, and why it has.
    retry_at: Option<(Instant, String)>,
}

/// A connection that is open.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    statements: RefCell<HashMap<&'static str, Statement>>,
    /// The server has warned of a commit that no standby has confirmed.
    is_in_doubt: Arc<AtomicBool>,
}

impl Link {
    /// A link that is not connected yet.
    pub fn new(setup: Setup) -> Self {
        let clock = Clock::system().monotonic();
        Self { setup, clock, runtime: None, connection: None, made: 0, used: None, pause: MIN_PAUSE, retry_at: None }
    }

    /// How often a connection was made: another number means another connection.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Why the last try to connect has failed, if it has.
    pub fn failure(&self) -> Option<&str> {
        self.retry_at.as_ref().map(|(_, why)| &**why)
    }

    /// Whether there is a connection, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.client.is_closed())
    }

    /// Whether the connection was used a moment ago, so that it hardly was lost meanwhile.
    pub fn is_warm(&self) -> bool {
        let used = self.used.filter(|_| self.is_connected());
        used.is_some_and(|used| self.clock.now().saturating_duration_since(used) < WARM)
    }

    /// Does `work` on the connection within `time`. After an error that leaves the connection in doubt, it is ended.
    pub fn run<T>(
        &mut self,
        time: Duration,
        work: impl AsyncFnOnce(&Connection) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        if let Some((at, why)) = &self.retry_at
            && self.clock.now() < *at
        {
            return Err(PgError::Other(why.clone()));
        }
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => runtime()?,
        };
        let result = runtime.block_on(self.run_on(time, work));
        self.runtime = Some(runtime);
        self.used = Some(self.clock.now());
        result
    }

    /// The same for what does no harm if it is done twice: after a connection that was found to be lost it is tried on another.
    pub fn run_again<T>(
        &mut self,
        time: Duration,
        work: impl AsyncFn(&Connection) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        match self.run(time, &work) {
            Err(error) if error.is_lost() && self.failure().is_none() => self.run(time, &work),
            result => result,
        }
    }

    async fn run_on<T>(
        &mut self,
        time: Duration,
        work: impl AsyncFnOnce(&Connection) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        if self.connection.as_ref().is_some_and(|connection| connection.client.is_closed()) {
            self.connection = None;
        }
        if self.connection.is_none() {
            let made = connect(&self.setup).await;
            self.pause_after(made.as_ref().err());
            self.connection = Some(made?);
            self.made += 1;
        }
        let Some(connection) = &self.connection else { return Err(PgError::Late) };
        let result = match tokio::time::timeout(time, work(connection)).await {
            Ok(result) => result,
            Err(_late) => {
                // A session that waits for a standby would not notice that its gateway has gone, and more and more would wait.
                let token = connection.client.cancel_token();
                let cancel = token.cancel_query(self.setup.connector.0.clone());
                let _unreachable = tokio::time::timeout(CANCEL_TIME, cancel).await;
                Err(PgError::Late)
            }
        };
        if result.as_ref().is_err_and(|error| error.consequence() == Consequence::Reconnect) {
            self.connection = None;
        }
        result
    }

    fn pause_after(&mut self, failed: Option<&PgError>) {
        match failed {
            None => (self.pause, self.retry_at) = (MIN_PAUSE, None),
            Some(error) => {
                self.retry_at = Some((self.clock.now() + self.pause, error.to_string()));
                self.pause = (self.pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

/// A runtime must not end while another one runs on the thread, as it may where a store is opened.
impl Drop for Link {
    fn drop(&mut self) {
        self.connection = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Connection {
    /// The rows of a statement, which is prepared at its first use.
    pub async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, PgError> {
        let statement = self.statement(sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    /// How many rows a statement has changed.
    pub async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64, PgError> {
        let statement = self.statement(sql).await?;
        Ok(self.client.execute(&statement, params).await?)
    }

    /// Prepares statements that have not been used yet.
    pub async fn prepare(&self, statements: &[&'static str]) -> Result<(), PgError> {
        for sql in statements {
            self.statement(sql).await?;
        }
        Ok(())
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<(), PgError> {
        // It may have warned of something else, for instance as the connection was made.
        self.is_in_doubt.store(false, Ordering::Relaxed);
        self.batch("BEGIN").await
    }

    /// Commits. An error if a person has broken off the wait for the standby: the server then calls the commit done, and only
    /// warns.
    pub async fn commit(&self) -> Result<(), PgError> {
        self.batch("COMMIT").await?;
        if self.is_in_doubt.load(Ordering::Relaxed) {
            return Err(PgError::Other("a commit was not confirmed by the standby".to_owned()));
        }
        Ok(())
    }

    /// Statements without parameters.
    pub async fn batch(&self, sql: &str) -> Result<(), PgError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, PgError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }
}

/// A runtime for one thread.
pub fn runtime() -> Result<Runtime, PgError> {
    let made = Builder::new_current_thread().enable_all().build();
    made.map_err(|error| PgError::Other(format!("no runtime: {error}")))
}

async fn connect(setup: &Setup) -> Result<Connection, PgError> {
    let is_in_doubt = Arc::new(AtomicBool::new(false));
    let doubt = Arc::clone(&is_in_doubt);
    let client = open(setup, move |message| {
        if let AsyncMessage::Notice(notice) = message
            && *notice.code() == SqlState::WARNING
        {
            doubt.store(true, Ordering::Relaxed);
        }
    })
    .await?;
    Ok(Connection { client, statements: RefCell::default(), is_in_doubt })
}

/// Connects, checks that commits are durable, and uses the schema of the tables. `hear` gets what the server sends unasked,
/// as long as the runtime runs.
pub async fn open(setup: &Setup, hear: impl FnMut(AsyncMessage) + Send + 'static) -> Result<Client, PgError> {
    let client = bare(setup, hear).await?;
    let setting_up = async {
        let path = schema::select(setup.target.schema());
        let statement = setup.statement_time.unwrap_or_default().as_millis();
        let lock = LOCK_TIME.as_millis();
        let times = format!("SET statement_timeout = {statement}; SET lock_timeout = {lock}");
        client.batch_execute(&format!("{path}; {times}; {GIVE_UP}")).await?;
        let is_durable = client.query_one("SHOW synchronous_commit", &[]).await?;
        check_durable(is_durable.try_get(0)?).map_err(PgError::Other)
    };
    tokio::time::timeout(SETUP_TIME, setting_up).await.unwrap_or(Err(PgError::Late))?;
    Ok(client)
}

/// Connects, and nothing more.
pub async fn bare(setup: &Setup, mut hear: impl FnMut(AsyncMessage) + Send + 'static) -> Result<Client, PgError> {
    let (client, mut connection) = connect_to_one(setup).await?;
    tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(message) => hear(message),
                // The caller that waits for an answer gets the error.
                Err(_lost) => return,
            }
        }
    });
    Ok(client)
}

/// Connects to the first host that lets the gateway in and takes writes; the error is that of the last one.
async fn connect_to_one(setup: &Setup) -> Result<Connected, PgError> {
    let mut last = PgError::Late;
    let mut hosts: Vec<Config> = setup.target.hosts().collect();
    if hosts.first().is_some_and(|host| host.get_load_balance_hosts() == LoadBalanceHosts::Random) {
        hosts.shuffle(&mut rand::rng());
    }
    for host in hosts {
        let time = host.get_connect_timeout().map_or(HOST_TIME, |timeout| HOST_TIME.max(*timeout));
        match tokio::time::timeout(time, host.connect(setup.connector.0.clone())).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => last = error.into(),
            Err(_late) => last = PgError::Late,
        }
    }
    Err(last)
}

/// Refuses a server that answers a commit before it is on disk.
pub fn check_durable(synchronous_commit: &str) -> Result<(), String> {
    match synchronous_commit {
        // With remote_write a standby's machine may lose what it has.
        "off" | "local" | "remote_write" => Err(format!(
            "synchronous_commit is {synchronous_commit}: a delivery could be acknowledged and lost; set it to on \
             (ALTER ROLE … SET synchronous_commit = on)"
        )),
        _ => Ok(()),
    }
}
