//! TLS to the database: which server a gateway believes, and what it says of another one.

use std::process::Command;

use super::Cluster;
use crate::support::certificates::{Authority, Files};
use crate::support::postgres::{Server, url};
use crate::support::process::BINARY;
use crate::support::tools::succeeds;

/// A server that has a certificate for `localhost`, by the authority of `files`, and listens at 127.0.0.1.
fn server(files: &Files) -> Option<Server> {
    let identity = files.authority.issue("localhost");
    Server::start_with_tls(&identity.certificate, &identity.key)
}

impl Cluster {
    /// Has the first gateway connect to a host of this name, with these parameters.
    fn connect(&self, host: &str, parameters: &str) {
        let way = &self.gateways.all[0].ways[0];
        let url = url(&[way], &self.gateways.database).replace("127.0.0.1", host);
        self.gateways.connect(0, &format!("{url}?{parameters}"));
    }

    /// That the first gateway can use the database so; says whether what is sent is encrypted, by the server's log.
    #[track_caller]
    fn is_encrypted(&self, server: &Server, host: &str, parameters: &str) -> bool {
        let before = server.log().len();
        self.connect(host, parameters);
        let said = succeeds(Command::new(BINARY).arg("check").arg("-c").arg(self.gateways.file(0)));
        assert!(said.contains("  PostgreSQL ") && !said.contains("warning: store"), "{parameters}: {said}");
        let log = server.log().split_off(before);
        let of_gateway = log.lines().find(|line| line.contains("application_name=hooklatch"));
        of_gateway.unwrap_or_else(|| panic!("{log}")).contains("SSL enabled")
    }

    /// That the first gateway does not serve so, with this exit status and these words.
    #[track_caller]
    fn is_refused(&self, host: &str, parameters: &str, status: i32, words: &str) {
        self.connect(host, parameters);
        let (code, said) = self.does_not_serve(0);
        assert!(code == Some(status) && said.contains(words), "{host} {parameters}: {code:?} {said}");
        self.fails_the_check(words);
    }

    /// That `check` of the first gateway's configuration fails with these words.
    #[track_caller]
    fn fails_the_check(&self, words: &str) {
        let output = Command::new(BINARY).arg("check").arg("-c").arg(self.gateways.file(0)).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(words), "check: {:?} {said}", output.status);
    }
}

#[test]
fn gateways_that_verify_their_database_share_it() {
    let files = Files::new();
    let Some(server) = server(&files) else { return };
    let mut cluster = Cluster::new(&[&server], &["a", "b"], "");
    for at in 0..2 {
        let way = &cluster.gateways.all[at].ways[0];
        let url = url(&[way], &cluster.gateways.database).replace("127.0.0.1", "localhost");
        let url = format!("{url}?sslmode=verify-full&sslrootcert={}", files.path("ca.crt"));
        cluster.gateways.connect(at, &url);
        cluster.gateways.serve(at);
    }
    for number in 0..10 {
        cluster.accepts(number as usize % 2, number);
    }
    cluster.delivers(0..10);
    let sessions = "SELECT count(*) >= 6, bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE application_name = 'hooklatch'";
    assert_eq!(server.ask(&cluster.gateways.database, sessions), "t|t");
}

#[test]
fn sslmode_means_to_a_server_with_tls_what_the_documentation_says() {
    let files = Files::new();
    let Some(server) = server(&files) else { return };
    let cluster = Cluster::new(&[&server], &["a"], "");
    let (own, other) = (files.path("ca.crt"), files.write("other.crt", &Authority::new().pem()));
    for (host, parameters, is_encrypted) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
        ("127.0.0.1", "sslmode=allow".to_owned(), true),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        // The default is to prefer it.
        ("127.0.0.1", String::new(), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={own}"), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={own}"), true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={own}"), true),
    ] {
        assert_eq!(cluster.is_encrypted(&server, host, &parameters), is_encrypted, "{parameters}");
    }
    let unknown = "signed by none of the roots";
    for mode in ["require", "verify-ca", "verify-full"] {
        cluster.is_refused("localhost", &format!("sslmode={mode}&sslrootcert={other}"), 1, unknown);
    }
    for mode in ["sslmode=verify-ca", "sslmode=verify-full", "sslrootcert=system"] {
        cluster.is_refused("localhost", mode, 1, unknown);
    }
    let by_address = format!("sslmode=verify-full&sslrootcert={own}");
    cluster.is_refused("127.0.0.1", &by_address, 1, "has another name than the URL");
    let missing = files.path("missing.crt");
    cluster.is_refused("localhost", &format!("sslmode=verify-full&sslrootcert={missing}"), 78, &missing);
    let empty = files.write("empty.crt", "no certificate");
    cluster.is_refused("localhost", &format!("sslmode=verify-full&sslrootcert={empty}"), 78, "no certificate in PEM");
}

#[test]
fn a_server_without_tls_is_used_only_if_none_is_asked_for() {
    let Some(server) = Server::shared() else { return };
    let cluster = Cluster::new(&[server], &["a"], "");
    let files = Files::new();
    let root = files.path("ca.crt");
    cluster.is_refused("127.0.0.1", "sslmode=require", 1, "server does not support TLS");
    for mode in ["verify-ca", "verify-full"] {
        let parameters = format!("sslmode={mode}&sslrootcert={root}");
        cluster.is_refused("localhost", &parameters, 1, "server does not support TLS");
    }
    for mode in ["disable", "prefer"] {
        cluster.connect("127.0.0.1", &format!("sslmode={mode}"));
        let said = succeeds(Command::new(BINARY).arg("check").arg("-c").arg(cluster.gateways.file(0)));
        assert!(said.contains("  PostgreSQL "), "{mode}: {said}");
    }
}

#[test]
fn a_certificate_that_is_its_own_authority_or_has_ended_is_refused_in_words() {
    let files = Files::new();
    let own = files.path("ca.crt");
    let authority = files.authority.identity();
    let Some(server) = Server::start_with_tls(&authority.certificate, &authority.key) else { return };
    let cluster = Cluster::new(&[&server], &["a"], "");
    assert!(cluster.is_encrypted(&server, "localhost", "sslmode=require"));
    cluster.is_refused("localhost", &format!("sslmode=verify-ca&sslrootcert={own}"), 1, "that of an authority");

    let ended = files.authority.issue_expired("localhost");
    let Some(server) = Server::start_with_tls(&ended.certificate, &ended.key) else { return };
    let cluster = Cluster::new(&[&server], &["a"], "");
    cluster.is_refused("localhost", &format!("sslmode=verify-ca&sslrootcert={own}"), 1, "has ended");
}

#[test]
fn a_role_logs_in_by_password_over_tls_where_the_server_takes_nothing_else() {
    let files = Files::new();
    let Some(server) = server(&files) else { return };
    let password = "a-password-of-the-test";
    server.ask("postgres", &format!("CREATE ROLE by_password SUPERUSER LOGIN PASSWORD '{password}'"));
    let cluster = Cluster::new(&[&server], &["a"], "");
    let rules = server.ask("postgres", "SHOW hba_file");
    let only_tls = "('local all all trust'), ('hostssl all all all scram-sha-256')";
    server.ask("postgres", &format!("COPY (VALUES {only_tls}) TO '{rules}'; SELECT pg_reload_conf()"));
    let user = format!("by_password:{password}");
    let by = |user: &str, mode: &str| {
        let way =
            url(&[&cluster.gateways.all[0].ways[0]], &cluster.gateways.database).replace("127.0.0.1", "localhost");
        let url = way.replace("hooklatch@", &format!("{user}@"));
        let root = files.path("ca.crt");
        cluster.gateways.connect(0, &format!("{url}?sslmode={mode}&sslrootcert={root}&channel_binding=require"));
    };
    by(&user, "verify-full");
    let said = succeeds(Command::new(BINARY).arg("check").arg("-c").arg(cluster.gateways.file(0)));
    assert!(said.contains("  PostgreSQL ") && !said.contains("warning: store"), "{said}");
    for (user, mode, words) in
        [(&*user, "disable", "no encryption"), ("by_password:wrong", "verify-full", "password authentication failed")]
    {
        by(user, mode);
        let (code, said) = cluster.does_not_serve(0);
        assert!(code == Some(1) && said.contains(words) && !said.contains(password), "{mode}: {code:?} {said}");
        cluster.fails_the_check(words);
    }
}
