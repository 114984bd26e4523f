//! TLS to upstreams, with certificates made here: whom the gateway trusts, and the certificate that it shows.

use std::net::SocketAddr;

use crate::support::certificates::{Authority, Files, Identity};
use crate::support::rig::{Rig, route};
use crate::support::sender::Delivery;

/// A rig whose upstream is by https, at 127.0.0.1, with these keys of `tls`.
fn rig(tls: &str) -> Rig {
    let tls = if tls.is_empty() { String::new() } else { format!(", tls: {{ {tls} }}") };
    Rig::of_routes("circleci", |upstream: SocketAddr| {
        route("circleci", &format!("upstream: {{ url: \"https://{upstream}/in\"{tls} }}"))
    })
}

/// Sends a delivery to the gateway while the upstream shows `identity` (and asks for one by `clients`): what the
/// upstream saw, or `None` if the gateway broke off.
fn through(rig: &mut Rig, identity: &Identity, clients: Option<&Authority>) -> Option<Vec<u8>> {
    let before = rig.gateway.metrics();
    let mut sender = rig.connect();
    sender.write(&Delivery::circleci("{}").bytes());
    let mut upstream = rig.upstream.accept_tls(identity.server(clients));
    if upstream.stream().handshake().is_err() {
        let response = sender.receive();
        rig.failed(&before, &response, 502, "unreachable");
        return None;
    }
    let seen = upstream.request();
    upstream.answer();
    assert_eq!(sender.receive().status, 200);
    Some(seen.body)
}

#[test]
fn an_upstream_is_trusted_by_its_own_authority_alone() {
    let files = Files::new();
    let ca = format!("ca: \"{}\"", files.path("ca.crt"));
    let good = files.authority.issue("127.0.0.1");
    assert_eq!(through(&mut rig(&ca), &good, None), Some(b"{}".to_vec()));
    assert_eq!(through(&mut rig(""), &good, None), None, "the system's roots do not have it");

    let mut rig = rig(&ca);
    assert_eq!(through(&mut rig, &Authority::new().issue("127.0.0.1"), None), None, "another authority");
    assert_eq!(through(&mut rig, &files.authority.issue("127.0.0.2"), None), None, "another address");
    assert_eq!(through(&mut rig, &files.authority.issue("gateway.example"), None), None, "a name");
    assert_eq!(through(&mut rig, &files.authority.issue_expired("127.0.0.1"), None), None, "expired");
    assert_eq!(through(&mut rig, &good, None), Some(b"{}".to_vec()), "and none of that lasts");
}

#[test]
fn an_upstream_that_asks_for_a_certificate_gets_the_routes() {
    let files = Files::new();
    let clients = Authority::new();
    files.write_identity("client", &clients.issue("gateway.example"));
    let ca = format!("ca: \"{}\"", files.path("ca.crt"));
    let pair = |name: &str| {
        format!(
            "{ca}, client_certificate: \"{}\", client_key: \"{}\"",
            files.path(&format!("{name}.crt")),
            files.path(&format!("{name}.key"))
        )
    };
    let good = files.authority.issue("127.0.0.1");
    assert_eq!(through(&mut rig(&pair("client")), &good, Some(&clients)), Some(b"{}".to_vec()));
    assert_eq!(through(&mut rig(&pair("client")), &good, None), Some(b"{}".to_vec()), "it need not be asked for");
    for keys in [&ca, &pair("tls")] {
        let rig = rig(keys);
        let mut sender = rig.connect();
        sender.write(&Delivery::circleci("{}").bytes());
        let mut upstream = rig.upstream.accept_tls(good.server(Some(&clients)));
        assert!(upstream.stream().handshake().is_err());
        // With TLS 1.3 the gateway's own handshake is done, and the request perhaps sent, before it hears of it.
        upstream.slam();
        assert_eq!(sender.receive().status, 502);
    }
}

#[test]
fn routes_with_other_certificates_do_not_share_connections() {
    let files = Files::new();
    let clients = Authority::new();
    files.write_identity("client", &clients.issue("gateway.example"));
    let (ca, certificate, key) = (files.path("ca.crt"), files.path("client.crt"), files.path("client.key"));
    let rig = Rig::of_routes("circleci", |upstream| {
        let url = format!("url: \"https://{upstream}/in\"");
        let with = format!("ca: \"{ca}\", client_certificate: \"{certificate}\", client_key: \"{key}\"");
        let other = format!(
            "  - {{ name: other, path: /other, scheme: circleci, secrets: [{{ env: SECRET }}], \
             upstream: {{ {url}, tls: {{ ca: \"{ca}\" }} }} }}\n"
        );
        route("circleci", &format!("upstream: {{ {url}, tls: {{ {with} }} }}")) + &other
    });
    let server = files.authority.issue("127.0.0.1").server(None);
    let deliver = |target: &str| {
        let mut sender = rig.connect();
        sender.write(&Delivery::circleci("{}").target(target).bytes());
        let mut upstream = rig.upstream.accept_tls(server.clone());
        upstream.request();
        upstream.answer();
        assert_eq!(sender.receive().status, 200);
        upstream
    };
    // The first one's connection is idle when the second one comes, and stays so.
    let _first = deliver("/hook");
    let _second = deliver("/other");
}
