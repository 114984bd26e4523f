//! What deliveries are like: a new connection for each, mostly by TLS; and many secrets, many fields, HTTP/2.
//! `scripts/bench --connections` runs this.

use std::io;
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::capacity::{self, Costs};
use crate::certificate::{Certificate, ECDSA_P256, RSA_2048};
use crate::load::wire::Secure;
use crate::load::{CLOSING, Load, Plan, closes};
use crate::memory;
use crate::peers::{ALL, Gateway, SECURE, Setting, Start};
use crate::requests::{signed, signed_with};
use crate::speed::in_turn;
use crate::table::{Table, Unit, own_median};
use crate::{CONNECTIONS, Effort, plan, start_like};

/// The size of each body.
const BODY: usize = 3 * 1024;
/// Field lines of a delivery with many.
const LINES: usize = 30;
/// Those that each delivery has.
const USUAL_LINES: usize = 8;
/// Of connections that may resume a session, this share does at least: the first ones have none.
const RESUMED: f64 = 0.8;
/// Before a sample.
const WARM_UP: Duration = Duration::from_millis(200);

/// How a case differs from deliveries in the clear on kept connections.
#[derive(Clone, Copy, Default)]
struct Case<'a> {
    certificate: Option<&'a Certificate>,
    version: Option<&'static SupportedProtocolVersion>,
    /// Each connection resumes the session of an earlier one.
    resumes: bool,
    is_http2: bool,
    /// How many the route has; none means one.
    secrets: usize,
}

/// Prints the table, and writes the page about capacity if that is asked for.
pub fn run(load: &mut Load, effort: &Effort, writes: bool) -> io::Result<()> {
    let (ecdsa, rsa) = (Certificate::new(ECDSA_P256)?, Certificate::new(RSA_2048)?);
    let closing = signed_with(BODY, CLOSING);
    let kept = signed(BODY);
    let mut table = Table::new();
    let clear = Case::default();
    row(load, effort, &mut table, "new connection each, in the clear", &ALL, &closing, clear)?;
    let mut fresh = Vec::new();
    for (version_name, version) in [("1.3", &TLS13), ("1.2", &TLS12)] {
        for (key, certificate) in [("ECDSA P-256", &ecdsa), ("RSA 2048", &rsa)] {
            for (resumption, resumes) in [("", false), (", resumed", true)] {
                let measure = format!("new TLS {version_name} connection each, {key}{resumption}");
                let case = Case { certificate: Some(certificate), version: Some(version), resumes, ..clear };
                fresh.push(row(load, effort, &mut table, &measure, SECURE, &closing, case)?);
            }
        }
    }
    let secure = Case { certificate: Some(&ecdsa), version: Some(&TLS13), ..clear };
    let secure_kept = row(load, effort, &mut table, "kept connections, TLS 1.3", SECURE, &kept, secure)?;
    row(load, effort, &mut table, "kept connections, HTTP/2", SECURE, &kept, Case { is_http2: true, ..secure })?;
    let fields: String = (USUAL_LINES..LINES).map(|line| format!("X-Field-{line}: what a provider adds\r\n")).collect();
    let many = signed_with(BODY, &fields);
    row(load, effort, &mut table, &format!("kept connections, {LINES} field lines"), &ALL, &many, clear)?;
    for (count, secrets) in [("1 secret", 1), ("10 secrets", 10), ("100 secrets", 100)] {
        let measure = format!("kept connections, {count}, the last one signs");
        row(load, effort, &mut table, &measure, &ALL, &kept, Case { secrets, ..clear })?;
    }
    let tls = Secure::new(&TLS13, false, false)?;
    let measure = "memory of an idle TLS connection";
    let idle = memory::idle_with(load, effort, &mut table, measure, SECURE, Some((&ecdsa, &tls)))?;
    table.end();
    match (fresh.as_slice(), secure_kept, idle) {
        // TLS 1.3 comes first.
        ([Some(ecdsa), Some(resumed), Some(rsa), ..], Some(kept), Some(idle)) if writes => {
            capacity::write(&Costs { ecdsa: *ecdsa, resumed: *resumed, rsa: *rsa, kept, idle })
        }
        _ => Ok(()),
    }
}

/// CPU for each request in one case, in microseconds. Gives hooklatch's; `None` if the case is not wanted.
fn row(
    load: &mut Load,
    effort: &Effort,
    table: &mut Table,
    measure: &str,
    peers: &[(&'static str, Start)],
    request: &[u8],
    case: Case<'_>,
) -> io::Result<Option<f64>> {
    if !effort.wants(measure) {
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let setting = Setting {
        certificate: case.certificate,
        secrets: case.secrets.max(1),
        ..Setting::new(folder.path(), load.upstream()?)
    };
    let gateways = start_like(load, &folder, peers, &setting)?;
    // Each gateway has senders of its own, which have its tickets.
    let senders =
        |_: &Gateway| case.version.map(|version| Secure::new(version, case.resumes, case.is_http2)).transpose();
    let senders: Vec<_> = gateways.iter().map(senders).collect::<io::Result<_>>()?;
    let is_kept = !closes(request);
    let sample = |gateway: &Gateway| {
        let at = gateways.iter().position(|other| other.address == gateway.address).unwrap();
        let plan = Plan { secure: senders[at].as_ref(), ..plan(gateway, request, 200, effort.slice) };
        let mut senders = load.connect(&plan)?;
        if is_kept || case.resumes {
            // Handshakes are no part of what kept connections cost, and the first ones can resume nothing.
            load.run_over(Plan { time: WARM_UP, ..plan }, &mut senders, CONNECTIONS)?;
        }
        let before = gateway.cpu();
        let count = load.run_over(plan, &mut senders, CONNECTIONS)?;
        let resumed = count.resumed as f64 / count.responses as f64;
        if case.resumes != (resumed > 0.0) || case.resumes && resumed < RESUMED {
            return Err(io::Error::other(format!("{measure}: {} resumed {resumed:.2} of its sessions", gateway.name)));
        }
        Ok((gateway.cpu() - before).as_secs_f64() * 1e6 / count.responses as f64)
    };
    let samples = in_turn(effort, &gateways, sample)?;
    table.row(measure, Unit::Microseconds, &samples);
    Ok(own_median(&samples))
}
