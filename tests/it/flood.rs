//! A flood of slow senders against a gateway in a process of its own, whose memory the kernel counts.

use std::io::Write;
use std::net::TcpStream;

use crate::support::gateway::Metrics;
use crate::support::http::{self, Connection};
use crate::support::process::{GatewayProcess, poll};
use crate::support::sender::Delivery;
use crate::support::upstream::Upstream;

const SENDERS: usize = 500;
const BUDGET: f64 = (32 << 20) as f64;
const BODY: usize = 1 << 20;
/// Bytes of a head that come before the rest.
const BEGUN: usize = 10;

/// Resident bytes of the gateway.
fn resident(gateway: &GatewayProcess) -> f64 {
    Metrics::scrape(gateway.admin).get("process_resident_memory_bytes", &[])
}

#[test]
fn five_hundred_slow_senders_fill_no_more_memory_than_bodies_may_take() {
    let upstream = Upstream::bind();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let route = |name: &str| {
        format!(
            "  - {{ name: {name}, path: /{name}, scheme: circleci, secrets: [{{ file: secret }}], body_timeout: 5m,\n      \
             upstream: \"http://{}\" }}\n",
            upstream.address
        )
    };
    std::fs::write(folder.path().join("secret"), crate::support::gateway::SECRET).unwrap();
    let server = "server: { listen: 127.0.0.1:0, threads: 2, buffered_bytes: 32MiB }\nadmin: { listen: 127.0.0.1:0 }\n";
    std::fs::write(&file, format!("{server}routes:\n{}{}", route("slow"), route("other"))).unwrap();
    let gateway = GatewayProcess::start(&file);

    // What five hundred connections cost that have begun a request: until then they hold next to nothing.
    let mut senders: Vec<TcpStream> = (0..SENDERS).map(|_| TcpStream::connect(gateway.server).unwrap()).collect();
    let connected = || Metrics::scrape(gateway.admin).get("hooklatch_connections", &[]);
    poll("all are connected", || connected() == SENDERS as f64);
    let delivery = Delivery::circleci(vec![b'x'; BODY]).target("/slow");
    let heads = [delivery.head(), delivery.chunked(1).head()];
    for (at, sender) in senders.iter_mut().enumerate() {
        sender.set_nodelay(true).unwrap();
        sender.write_all(&heads[at % 2][..BEGUN]).unwrap();
    }
    let mut idle = 0.0;
    poll("memory does not grow any more", || resident(&gateway) <= std::mem::replace(&mut idle, resident(&gateway)));

    // Half of them say how long the body is, half send chunks; all have a signature that could be right.
    let mut peak: f64 = idle;
    for (at, sender) in senders.iter_mut().enumerate() {
        sender.write_all(&heads[at % 2][BEGUN..]).unwrap();
        sender.set_nonblocking(true).unwrap();
    }
    // Byte by byte, because each byte could hold a whole buffer of 8 KiB; then more.
    let larger = [10, 100, 1000, 4000, 8000, 16_000, 16_000, 32_000, 64_000, 64_000, 64_000];
    let pieces = std::iter::repeat_n(1usize, 300).chain(larger.into_iter().cycle().take(33));
    for (round, size) in pieces.enumerate() {
        let piece = vec![b'x'; size];
        let chunk = [format!("{size:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
        for (at, sender) in senders.iter_mut().enumerate() {
            // Those that were refused take no more.
            let _ = sender.write(if at % 2 == 0 { &piece } else { &chunk });
        }
        if size == 1 && round % 10 != 0 {
            continue;
        }
        let mut sender = Connection::open(gateway.server);
        sender.write(&Delivery::circleci("{\"id\":\"1\"}").target("/other").bytes());
        let mut peer = upstream.accept();
        peer.request();
        peer.answer();
        assert_eq!(sender.receive().status, 200, "signed deliveries pass");
        peer.slam();
        let metrics = Metrics::scrape(gateway.admin);
        let held = metrics.get("hooklatch_buffered_bytes", &[]);
        assert!(held <= BUDGET + 65_536.0, "{held}");
        peak = peak.max(metrics.get("process_resident_memory_bytes", &[]));
    }
    let labels = [("route", "slow"), ("scheme", "circleci"), ("reason", "overloaded")];
    let metrics = Metrics::scrape(gateway.admin);
    let (shed, held) =
        (metrics.get("hooklatch_rejections_total", &labels), metrics.get("hooklatch_buffered_bytes", &[]));
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    println!("idle {:.1} MiB, peak {:.1} MiB, held {:.1} MiB, shed {shed}", mib(idle), mib(peak), mib(held));
    assert!(shed >= (SENDERS - 64) as f64);
    assert!(peak < idle + BUDGET, "{:.1} MiB over idle", mib(peak - idle));

    drop(senders);
    for gauge in ["hooklatch_buffered_bytes", "hooklatch_in_flight_requests", "hooklatch_connections"] {
        poll(gauge, || Metrics::scrape(gateway.admin).get(gauge, &[]) == 0.0);
    }
    assert_eq!(http::send(gateway.server, &http::get("/none")).status, 404);
}
