//! What a thousand routes cost instead of one.

use std::io;
use std::time::Instant;

use crate::load::Load;
use crate::peers::{Gateway, Setting, hooklatch};
use crate::requests::signed;
use crate::table::{Table, Unit};
use crate::{Effort, cpu_each, plan};

/// Those that are there beside the one that is asked for.
const IDLE: usize = 999;

/// From the start of the process to `/readyz`.
pub fn start(load: &Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    let cases = [("start to ready, 1 route", 0), ("start to ready, 1,000 routes", IDLE)];
    for (measure, idle) in cases.into_iter().filter(|(measure, _)| effort.wants(measure)) {
        let mut samples = Vec::new();
        for _ in 0..effort.rounds {
            let folder = tempfile::tempdir()?;
            let before = Instant::now();
            let gateway = with_routes(load, &folder, idle)?;
            samples.push(before.elapsed().as_secs_f64() * 1e3);
            drop(gateway);
        }
        table.row(measure, Unit::Milliseconds, &[("hooklatch", samples)]);
    }
    Ok(())
}

/// CPU for each request with a thousand routes, to that with one.
pub fn cost(load: &mut Load, effort: &Effort, table: &mut Table) -> io::Result<()> {
    let measure = "CPU a request: 1,000 routes instead of one";
    if !effort.wants(measure) {
        return Ok(());
    }
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let one = with_routes(load, &folders[0], 0)?;
    let thousand = with_routes(load, &folders[1], IDLE)?;
    let request = signed(3 * 1024);
    let mut ratios = Vec::new();
    for _ in 0..2 * effort.rounds {
        let base = cpu_each(load, &one, plan(&one, &request, 200, effort.slice))?;
        ratios.push(cpu_each(load, &thousand, plan(&thousand, &request, 200, effort.slice))? / base);
    }
    table.row(measure, Unit::Times, &[("hooklatch", ratios)]);
    Ok(())
}

fn with_routes(load: &Load, folder: &tempfile::TempDir, idle_routes: usize) -> io::Result<Gateway> {
    let upstream = load.upstream()?;
    hooklatch(&Setting { idle_routes, ..Setting::new(folder.path(), upstream) })
}
