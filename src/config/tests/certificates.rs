//! `server.tls` and `upstream.tls`, with certificates made here.

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A self-signed certificate and its key, as PEM.
fn pair(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Good files, and some that are not.
fn made() -> Made {
    let (a, a_key) = pair("a.example");
    let (b, _) = pair("b.example");
    let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    Made::new()
        .file("/etc/hl/a.crt", a.as_bytes())
        .file("/etc/hl/a.key", a_key.as_bytes())
        .file("/etc/hl/b.crt", b.as_bytes())
        .file("/etc/hl/both.pem", format!("{a}{a_key}{b}").as_bytes())
        .file("/etc/hl/empty", b"")
        .file("/etc/hl/cut", &a.as_bytes()[..a.len() / 2])
        .file("/etc/hl/no-certificate", der.as_bytes())
        .file("/etc/hl/encrypted", encrypted.as_bytes())
        .file("/etc/hl/long", &vec![b'x'; sources::MAX_FILE + 1])
        .broken("/etc/hl/broken")
}

fn server(tls: &str) -> String {
    with_routes(&[route(&[])]).replace("server: {", &format!("server: {{tls: {{{tls}}}, "))
}

fn upstream(tls: &str) -> String {
    one(&[&format!("upstream: {{url: 'https://u', tls: {{{tls}}}}}")])
}

fn errors(text: &str) -> Vec<String> {
    made().errors(text)
}

#[test]
fn a_server_has_a_certificate_and_may_ask_clients_for_theirs() {
    let made = made();
    let tls = |text: &str| made.parse(&server(text)).expect("valid").server.tls.expect("there");
    let plain = tls("certificate: a.crt, private_key: a.key");
    assert_eq!(plain.client_ca, None);
    assert_eq!(plain.identity.certified_key().cert.len(), 1);
    let asking = tls("certificate: both.pem, private_key: both.pem, client_ca: both.pem");
    assert_eq!(asking.identity.certified_key().cert.len(), 2, "a chain, with the key beside it");
    assert_eq!(asking.client_ca.expect("there").store().len(), 2);
    assert_ne!(plain.identity, asking.identity);
    assert_eq!(plain, tls("certificate: a.crt, private_key: a.key"), "the same files make the same");
}

#[test]
fn a_chain_ends_with_the_first_of_its_certificates_that_does() {
    let until = |year| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((own, key), (early, _), (late, _)) = (until(2040), until(2030), until(2060));
    for (chain, expiry) in
        [(own.clone(), 2_208_988_800), (own.clone() + &late, 2_208_988_800), (own + &late + &early, 1_893_456_000)]
    {
        let made = Made::new().file("/etc/hl/chain", chain.as_bytes()).file("/etc/hl/key", key.as_bytes());
        let config = made.parse(&server("certificate: chain, private_key: key")).expect("valid");
        assert_eq!(config.server.tls.expect("there").identity.expiry(), Some(expiry));
    }
}

#[test]
fn an_upstream_may_have_its_own_authority_and_want_a_certificate() {
    let made = made();
    let tls = |text: &str| made.parse(&upstream(text)).expect("valid").routes.remove(0).upstream.certificates;
    let both = tls("ca: b.crt, client_certificate: a.crt, client_key: a.key").expect("there");
    assert!(both.ca.is_some() && both.identity.is_some());
    assert_eq!(tls(""), Some(ClientTls::default()));
    assert_eq!(only_route(&["upstream: https://u"]).upstream.certificates, None);
}

#[test]
fn keys_that_belong_together_are_missed() {
    assert_eq!(errors(&server("certificate: a.crt")), ["server.tls.private_key: is missing"]);
    assert_eq!(errors(&server("private_key: a.key")), ["server.tls.certificate: is missing"]);
    let at = "routes[0].upstream.tls";
    assert_eq!(
        errors(&upstream("client_certificate: a.crt")),
        [format!("{at}.client_key: is missing: client_certificate needs it")]
    );
    assert_eq!(
        errors(&upstream("client_key: a.key")),
        [format!("{at}.client_certificate: is missing: client_key needs it")]
    );
    assert_eq!(
        errors(&one(&["upstream: {url: 'http://u', tls: {ca: b.crt}}"])),
        [format!("{at}: applies only to https:// URLs, and there is none here")]
    );
}

#[test]
fn a_file_that_does_not_hold_what_it_should_is_an_error_at_its_key() {
    for (file, error) in [
        ("gone", "the file \"/etc/hl/gone\" does not exist"),
        (
            "broken",
            "cannot read the file \"/etc/hl/broken\": permission denied: the user that hooklatch runs as must be allowed to read it",
        ),
        ("long", "the file \"/etc/hl/long\" is longer than 1MiB"),
        ("empty", "the file \"/etc/hl/empty\" holds no PEM certificate (-----BEGIN CERTIFICATE-----)"),
        ("a.key", "the file \"/etc/hl/a.key\" holds no PEM certificate (-----BEGIN CERTIFICATE-----)"),
        ("cut", "the file \"/etc/hl/cut\" is not valid PEM"),
        ("''", "must be the path of a PEM file"),
        ("'-----BEGIN CERTIFICATE-----'", "must be the path of a PEM file"),
    ] {
        let found = errors(&server(&format!("certificate: {file}, private_key: a.key")));
        assert_eq!(found, [format!("server.tls.certificate: {error}")]);
        assert_eq!(errors(&upstream(&format!("ca: {file}"))), [format!("routes[0].upstream.tls.ca: {error}")]);
    }
    for (file, error) in [
        ("gone", "the file \"/etc/hl/gone\" does not exist"),
        ("a.crt", "the file \"/etc/hl/a.crt\" holds no PEM private key (-----BEGIN PRIVATE KEY-----)"),
        ("encrypted", "the private key in the file \"/etc/hl/encrypted\" is encrypted: decrypt it first"),
        ("cut", "the file \"/etc/hl/cut\" is not valid PEM"),
    ] {
        let found = errors(&server(&format!("certificate: a.crt, private_key: {file}")));
        assert_eq!(found, [format!("server.tls.private_key: {error}")]);
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let expected = "server.tls.private_key: the key does not match the certificate";
    assert_eq!(errors(&server("certificate: b.crt, private_key: a.key")), [expected]);
}

#[test]
fn what_is_in_pem_but_no_certificate_is_refused() {
    let found = errors(&server("certificate: no-certificate, private_key: a.key"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("server.tls.certificate: the first certificate cannot be used: "), "{found:?}");
    let found = errors(&server("certificate: a.crt, private_key: a.key, client_ca: no-certificate"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("server.tls.client_ca: certificate 1 cannot be used: "), "{found:?}");
}

#[test]
fn no_key_is_shown() {
    let made = made();
    let key = String::from_utf8(made.files[Path::new("/etc/hl/a.key")].clone()).unwrap();
    let config = made.parse(&server("certificate: a.crt, private_key: a.key")).expect("valid");
    let shown = format!("{config:?}");
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!shown.contains(line));
    }
    assert!(shown.contains("Identity("), "{shown}");
}
