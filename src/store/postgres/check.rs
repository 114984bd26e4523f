//! Whether a database is fit for the store: what is looked at before it is used, and what `hooklatch check` says of it.

use std::time::Duration;

use tokio_postgres::Client;

use super::error::{OpenError, PgError};
use super::link::{Setup, bare, check_durable, runtime};
use super::schema::{self, Found};
use super::tls;
use super::url::Target;

/// The oldest version of PostgreSQL that is taken, as the server numbers it.
const OLDEST: i32 = 130_000;
/// How long a look at the database may take.
const LOOK_TIME: Duration = Duration::from_secs(30);

/// What a look at a database has found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// The server's version, in its own words.
    pub server: String,
    /// The version of the tables; `None` if there are none yet.
    pub schema: Option<i32>,
    /// A standby has each commit before it is answered.
    pub is_synchronous: bool,
}

/// How to connect to a database.
pub(super) fn setup(target: &Target) -> Result<Setup, OpenError> {
    let unfit = |why| OpenError::Unfit { target: target.to_string(), why };
    let connector = tls::connector(target.verify()).map_err(unfit)?;
    Ok(Setup { target: target.clone().into(), connector, statement_time: None })
}

/// Looks at a database, and changes nothing.
///
/// # Errors
/// It cannot be reached, or is not fit.
pub fn look(target: &Target) -> Result<Seen, OpenError> {
    let setup = setup(target)?;
    on(&setup, async |client| {
        let seen = fitness(client, target).await?;
        let Some(found) = seen.schema else { return Ok(seen) };
        match schema::can_use(client, target.schema(), found).await {
            Ok(true) => Ok(seen),
            Ok(false) => Err(newer(target, found)),
            Err(error) => Err(unreachable(target, error)),
        }
    })
}

/// Makes the tables or brings them up to date.
pub(super) fn prepare(setup: &Setup) -> Result<(), OpenError> {
    let target = &*setup.target;
    on(setup, async |client| {
        let seen = fitness(client, target).await?;
        if !seen.is_synchronous {
            tracing::warn!(
                "the database has no synchronous standby: what was acknowledged can be lost with the machine of the \
                 primary (synchronous_standby_names)"
            );
        }
        match schema::migrate(client, target.schema()).await {
            Ok(Found::Ours) => Ok(()),
            Ok(Found::Newer(found)) => Err(newer(target, found)),
            Ok(Found::Foreign) => Err(OpenError::Unfit {
                target: target.to_string(),
                why: "the schema has tables of something else; name a schema of its own by search_path".to_owned(),
            }),
            Err(error) => Err(unreachable(target, error)),
        }
    })
}

fn newer(target: &Target, found: i32) -> OpenError {
    let known = schema::version();
    let why = format!(
        "its tables have version {found}, of a newer version of hooklatch; this version knows tables up to {known}"
    );
    OpenError::Unfit { target: target.to_string(), why }
}

fn unreachable(target: &Target, error: PgError) -> OpenError {
    OpenError::Unreachable { target: target.to_string(), error }
}

/// Connects and does something, on this thread.
pub(super) fn on<T>(
    setup: &Setup,
    work: impl AsyncFnOnce(&mut Client) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let target = &setup.target;
    let runtime = runtime().map_err(|error| unreachable(target, error))?;
    let looking = async {
        let mut client = bare(setup, |_message| ()).await.map_err(|error| explain(target, error))?;
        work(&mut client).await
    };
    let done = runtime.block_on(async { tokio::time::timeout(LOOK_TIME, looking).await });
    done.unwrap_or_else(|_late| Err(unreachable(target, PgError::Late)))
}

/// What to do about a server that takes no writes. One that answers, and refuses the gateway or is refused by it, is not as the
/// URL says: waiting does not help.
fn explain(target: &Target, error: PgError) -> OpenError {
    if error.is_refusal() {
        return OpenError::Refused { target: target.to_string(), error };
    }
    if error.to_string().contains("does not allow writes") {
        let why = "none of its hosts takes writes: a standby does not; name the primary, too".to_owned();
        return OpenError::Unfit { target: target.to_string(), why };
    }
    unreachable(target, error)
}

async fn fitness(client: &Client, target: &Target) -> Result<Seen, OpenError> {
    let unfit = |why: String| OpenError::Unfit { target: target.to_string(), why };
    let settings = settings(client).await.map_err(|error| unreachable(target, error))?;
    let [number, server, encoding, commit, standbys] = settings;
    if number.parse().unwrap_or(0) < OLDEST {
        return Err(unfit(format!("PostgreSQL 13 or later is needed, this is {server}")));
    }
    if encoding != "UTF8" {
        return Err(unfit(format!("its encoding is {encoding}; make a database with ENCODING 'UTF8'")));
    }
    check_durable(&commit).map_err(unfit)?;
    let schema = schema::look(client, target.schema()).await.map_err(|error| unreachable(target, error))?;
    Ok(Seen { server, schema, is_synchronous: !standbys.is_empty() })
}

async fn settings(client: &Client) -> Result<[String; 5], PgError> {
    let names =
        ["server_version_num", "server_version", "server_encoding", "synchronous_commit", "synchronous_standby_names"];
    let sql = "SELECT current_setting(name) FROM unnest($1::text[]) WITH ORDINALITY AS t (name, place) ORDER BY place";
    let rows = client.query(sql, &[&&names[..]]).await?;
    let values: Result<Vec<String>, PgError> = rows.iter().map(|row| Ok(row.try_get(0)?)).collect();
    values?.try_into().map_err(|_other| PgError::Other("the server does not tell its settings".to_owned()))
}
