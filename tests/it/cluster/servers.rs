//! The servers and the proxy that the other tests stand on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::http::ANSWER;
use crate::support::postgres::{Proxy, Server, url};

#[test]
fn what_a_killed_primary_has_committed_is_on_its_standby() {
    let Some(mut primary) = Server::start() else { return };
    let database = primary.database();
    primary.ask(&database, "CREATE TABLE kept (number int)");
    let standby = primary.standby();
    primary.ask(&database, "INSERT INTO kept VALUES (1), (2)");
    primary.kill();
    standby.promote();
    assert_eq!(standby.ask(&database, "SELECT number FROM kept ORDER BY 1"), "1\n2");
    // It waits for no standby of its own.
    standby.ask(&database, "INSERT INTO kept VALUES (3)");
}

#[test]
fn a_server_that_was_killed_or_stopped_is_back_at_the_same_address_with_its_data() {
    let Some(mut server) = Server::start() else { return };
    let (database, url) = (server.database(), server.url("x"));
    for (number, end) in [Server::kill, Server::stop].into_iter().enumerate() {
        server.ask(&database, &format!("CREATE TABLE kept{number} ()"));
        end(&mut server);
        server.restart();
        let tables = server.ask(&database, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'kept%'");
        assert_eq!(tables, (number + 1).to_string());
    }
    assert_eq!(server.url("x"), url);
}

#[test]
fn a_proxy_holds_what_it_was_told_to_hold_and_ends_what_it_was_told_to_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap());
    let connect = |address: SocketAddr| {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        stream
    };
    let mut client = connect(proxy.address);
    let (mut server, _) = listener.accept().unwrap();
    let mut byte = [0];
    client.write_all(b"a").unwrap();
    server.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"a");

    proxy.stall();
    client.write_all(b"b").unwrap();
    server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(server.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
    server.set_read_timeout(Some(ANSWER)).unwrap();
    proxy.slow(Duration::from_millis(1));
    server.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"b");

    proxy.cut();
    assert_eq!((client.read(&mut byte).unwrap_or(0), server.read(&mut byte).unwrap_or(0)), (0, 0));
    assert_eq!(connect(proxy.address).read(&mut byte).unwrap_or(0), 0);
    proxy.restore();
    connect(proxy.address).write_all(b"c").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"c");
}

#[test]
fn each_test_has_a_database_of_its_own_on_the_shared_server() {
    let Some(server) = Server::shared() else { return };
    let (first, second) = (server.database(), server.database());
    server.ask(&first, "CREATE TABLE kept ()");
    server.ask(&second, "CREATE TABLE kept ()");
    let address = server.proxy.address;
    assert_eq!(server.url(&first), format!("postgresql://hooklatch@{address}/{first}"));
    let other = Proxy::to(server.address());
    let hosts = format!("postgresql://hooklatch@{address},{}/{first}?target_session_attrs=read-write", other.address);
    assert_eq!(url(&[&server.proxy, &other], &first), hosts);
}
