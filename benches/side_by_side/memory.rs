//! Memory: of connections that wait, and of large bodies that are held.

use std::io;
use std::time::{Duration, Instant};

use crate::certificate::Certificate;
use crate::load::wire::Secure;
use crate::load::{Load, Plan};
use crate::peers::{ALL, Gateway, Setting, Start};
use crate::requests::signed;
use crate::table::{Table, Unit, own_median};
use crate::{CONNECTIONS, Effort, plan, start, start_like};

/// Connections that wait.
const IDLE: usize = 2000;
/// Deliveries before memory is looked at. hooklatch keeps up to 1,000 records in memory: these fill them, so that they do not count as
/// memory of connections.
const BEFORE: usize = 1_200;
/// How long these may take.
const BEFORE_TIME: Duration = Duration::from_secs(60);
/// How long memory may take to settle.
const PATIENCE: Duration = Duration::from_secs(5);
/// Memory has settled if it stays about the same for this long.
pub const STILL: Duration = Duration::from_millis(500);
/// The same after a response: longer than a gateway keeps the buffers of a connection that went idle.
const STILL_IDLE: Duration = Duration::from_secs(2);
/// Differences up to this count as equal, in bytes.
const ABOUT: u64 = 64 << 10;

/// Memory of a keep-alive connection that has served one delivery and waits for the next.
pub fn idle(load: &mut Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    idle_with(load, effort, table, "memory of an idle connection that has served", &ALL, None).map(drop)
}

/// The same over TLS, if a certificate is given. Gives hooklatch's in KiB; `None` if the measure is not wanted.
pub fn idle_with(
    load: &mut Load,
    effort: &Effort,
    table: &mut Table,
    measure: &str,
    peers: &[(&'static str, Start)],
    tls: Option<(&Certificate, &Secure)>,
) -> io::Result<Option<f64>> {
    if !effort.wants(measure) {
        return Ok(None);
    }
    let request = signed(3 * 1024);
    let (certificate, secure) = tls.unzip();
    let mut samples = Vec::new();
    for peer in peers {
        let folder = tempfile::tempdir()?;
        let setting = Setting { certificate, ..Setting::new(folder.path(), load.upstream()?) };
        let gateway = &start_like(load, &folder, &[*peer], &setting)?[0];
        let plan = Plan { secure, ..plan(gateway, &request, 200, Duration::ZERO) };
        load.exactly(Plan { time: BEFORE_TIME, ..plan }, &vec![request.clone(); BEFORE], 0, || Ok(()), || true)?;
        // What their connection still holds is nothing beside what follows.
        let before = settled(gateway, STILL);
        let connections = load.open_idle(Plan { connections: IDLE, ..plan })?;
        let each = settled(gateway, STILL_IDLE).saturating_sub(before) as f64 / connections.len() as f64;
        samples.push((gateway.name, vec![each / 1024.0]));
    }
    table.row(measure, Unit::Kibibytes, &samples);
    Ok(own_median(&samples))
}

/// Memory of deliveries of 1 MiB that have come but for their last byte, beyond that of the gateway without them.
pub fn large(load: &mut Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    let measure = "memory of 64 deliveries of 1 MiB at once";
    if !effort.wants(measure) {
        return Ok(());
    }
    let request = signed(1 << 20);
    let mut samples = Vec::new();
    for peer in ALL {
        let folder = tempfile::tempdir()?;
        let gateway = &start(load, &folder, &[peer], request.len())?[0];
        let before = settled(gateway, STILL);
        let plan = Plan { connections: CONNECTIONS, ..plan(gateway, &request, 200, Duration::ZERO) };
        let held = load.hold(plan)?;
        let held_bytes = settled(gateway, STILL).saturating_sub(before);
        load.finish(plan, held)?;
        samples.push((gateway.name, vec![held_bytes as f64 / 1024.0 / 1024.0]));
    }
    table.row(measure, Unit::Mebibytes, &samples);
    Ok(())
}

/// The gateway's memory once it has settled.
pub fn settled(gateway: &Gateway, still: Duration) -> u64 {
    let start = Instant::now();
    let (mut memory, mut since) = (gateway.memory(), start);
    while since.elapsed() < still && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
        let now = gateway.memory();
        if now.abs_diff(memory) > ABOUT {
            (memory, since) = (now, Instant::now());
        }
    }
    gateway.memory()
}
