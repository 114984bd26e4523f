//! What happens to gateways and database, one after the other. Each fault has ended when its function returns.

use std::net::SocketAddr;
use std::time::Duration;

use super::{NAMES, Scene};
use crate::cluster::gateways::Gateway;
use crate::cluster::{CHANGES, end_leases};

/// A fault.
pub struct Fault {
    pub name: &'static str,
    /// The gateways whose deliveries under way may be repeated.
    pub struck: &'static [&'static str],
    /// It is part of the short run, too: the others have tests of their own.
    pub is_short: bool,
    pub strike: fn(&mut Scene),
}

/// All of them, in turn.
pub const FAULTS: &[Fault] = &[
    Fault { name: "a gateway is killed", struck: &["b"], is_short: true, strike: kill_a_gateway },
    Fault {
        name: "the tables change, and all gateways are started again, one by one",
        struck: &[],
        is_short: true,
        strike: roll,
    },
    Fault { name: "a gateway is cut off from the database", struck: &["a"], is_short: true, strike: cut_a_gateway },
    Fault { name: "nothing passes to and from a gateway", struck: &["c"], is_short: true, strike: stall_a_gateway },
    Fault { name: "the database is slow", struck: &[], is_short: false, strike: slow_database },
    Fault { name: "the database takes no connections", struck: &NAMES, is_short: false, strike: refuse_connections },
    Fault { name: "the clock of a gateway is an hour ahead", struck: &[], is_short: false, strike: clock_ahead },
    Fault { name: "the clock of a gateway is an hour behind", struck: &[], is_short: false, strike: clock_behind },
    Fault { name: "the primary is killed, the standby promoted", struck: &NAMES, is_short: false, strike: fail_over },
    Fault { name: "the same, and a gateway is killed", struck: &NAMES, is_short: true, strike: fail_over_without_one },
];

fn kill_a_gateway(scene: &mut Scene) {
    scene.gateways.kill(1);
    scene.last(Duration::from_secs(1), Duration::from_secs(5));
    scene.run_out(1);
    scene.serve(1);
}

/// As an upgrade does it: the tables change, and gateways of before go on until they are replaced.
fn roll(scene: &mut Scene) {
    for change in CHANGES {
        scene.primary.ask(&scene.gateways.database, change);
    }
    for at in 0..NAMES.len() {
        assert!(scene.gateways.take(at).process.terminate().success());
        scene.serve(at);
    }
}

fn cut_a_gateway(scene: &mut Scene) {
    scene.gateways.all[0].cut();
    scene.last(Duration::from_secs(2), Duration::from_secs(10));
    scene.gateways.all[0].restore();
}

/// For longer than a lease, if there is time.
fn stall_a_gateway(scene: &mut Scene) {
    scene.gateways.all[2].stall();
    scene.last(Duration::from_secs(5), Duration::from_secs(40));
    scene.gateways.all[2].restore();
}

fn slow_database(scene: &mut Scene) {
    scene.gateways.all.iter().for_each(|gateway| gateway.slow(Duration::from_millis(25)));
    scene.last(Duration::from_secs(3), Duration::from_secs(15));
    scene.gateways.all.iter().for_each(Gateway::restore);
}

/// As when `max_connections` is used up, and all sessions have ended.
fn refuse_connections(scene: &mut Scene) {
    let database = scene.gateways.database.clone();
    let allow = |is_allowed: bool| {
        scene.primary.ask("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS {is_allowed}"));
    };
    allow(false);
    let sessions =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'");
    scene.primary.ask("postgres", &sessions);
    scene.last(Duration::from_secs(2), Duration::from_secs(10));
    allow(true);
}

fn clock_ahead(scene: &mut Scene) {
    scene.move_clock("clock 3600");
}

fn clock_behind(scene: &mut Scene) {
    scene.move_clock("clock -3600");
}

fn fail_over(scene: &mut Scene) {
    scene.kill_primary();
    scene.last(Duration::from_millis(500), Duration::from_secs(5));
    scene.promote();
}

fn fail_over_without_one(scene: &mut Scene) {
    scene.gateways.kill(0);
    scene.kill_primary();
    scene.promote();
    scene.run_out(0);
    scene.serve(0);
}

impl Scene {
    /// The last gateway has this clock for a while.
    fn move_clock(&mut self, clock: &str) {
        let Some(shim) = &self.shim else { return };
        shim.set(clock);
        self.last(Duration::from_secs(2), Duration::from_secs(10));
        shim.set("");
    }

    /// The leases of a gateway that was killed run out, by themselves if there is time.
    fn run_out(&self, at: usize) {
        if !self.is_long {
            end_leases(&self.primary, &self.gateways, at);
        }
    }

    /// Where the primary was, nothing listens any more; another test may.
    fn kill_primary(&mut self) {
        self.primary.kill();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        self.gateways.all.iter().for_each(|gateway| gateway.ways[self.primary_way].lead_to(nowhere));
    }

    /// The standby becomes the primary, and gets a standby of its own where the old primary was.
    fn promote(&mut self) {
        self.standby.promote();
        let new = self.standby.standby();
        for gateway in &self.gateways.all {
            gateway.ways[self.primary_way].lead_to(new.address());
        }
        self.primary_way = 1 - self.primary_way;
        self.primary = std::mem::replace(&mut self.standby, new);
    }
}
