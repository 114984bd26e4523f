//! `hooklatch store`: checks, copies and repairs the database of `store.path`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;

use super::{ConfigArgs, Failure, load};
use crate::acts::is_as_stored;
use crate::clock::Clock;
use crate::config::Place;
use crate::store::sqlite::{self, Checked, OpenError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read the database from end to end; exit status 1 if it is damaged. The gateway may be running
    Check(ConfigArgs),
    /// Copy the database into another folder. The gateway may be running
    Backup {
        #[command(flatten)]
        config: ConfigArgs,
        /// The folder for the copy; it must not have a database yet
        folder: PathBuf,
    },
    /// Copy what can be read of a damaged database into a new one, and keep the damaged files. Stop the gateway first
    Recover(ConfigArgs),
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Check(config) => check(&folder(&config.config)?),
        Action::Backup { config, folder: to } => {
            let copy = sqlite::backup(&folder(&config.config)?, to).map_err(failed)?;
            outln!("{}", copy.display());
            Ok(())
        }
        Action::Recover(config) => recover(&folder(&config.config)?),
    }
}

/// `store.path` of the configuration.
fn folder(config: &Path) -> Result<PathBuf, Failure> {
    let store = load(config)?.store;
    let missing = || Failure::Failed(format!("{} has no store: nothing is written to disk", config.display()));
    match store.ok_or_else(missing)?.place {
        Place::Folder(path) => Ok(path),
        Place::Postgres { target, .. } => Err(Failure::Failed(format!(
            "the store is {target}: use the tools of PostgreSQL, for instance pg_dump and pg_amcheck"
        ))),
    }
}

fn check(folder: &Path) -> Result<(), Failure> {
    let Checked { deliveries, problems, changed } = sqlite::check(folder, is_as_stored).map_err(failed)?;
    for problem in &problems {
        errln!("{problem}");
    }
    for id in &changed {
        errln!(
            "delivery {id} waits, and its bytes are not those that were stored: it will not be sent, but become dead"
        );
    }
    if !problems.is_empty() {
        errln!("the database is damaged: stop the gateway, then run `hooklatch store recover`");
    } else if !changed.is_empty() {
        errln!("the disk has changed bytes: check it, and have the providers send these deliveries again");
    } else {
        outln!("ok: {deliveries} deliveries");
        return Ok(());
    }
    Err(Failure::Told)
}

fn recover(folder: &Path) -> Result<(), Failure> {
    let since_epoch = Clock::system().unix();
    let now = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_epoch).to_string();
    let suffix = format!(".damaged-{}", now.replace(':', ""));
    let Checked { deliveries, problems, .. } = sqlite::recover(folder, &suffix).map_err(failed)?;
    for problem in &problems {
        errln!("{problem}");
    }
    outln!(
        "recovered {deliveries} deliveries; the damaged files are kept beside the new database, with {suffix} in their names"
    );
    Ok(())
}

fn failed(error: OpenError) -> Failure {
    Failure::Failed(error.to_string())
}
