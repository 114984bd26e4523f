//! Reads the header that a load balancer sends before a connection's first byte: the PROXY protocol, versions 1 (text)
//! and 2 (binary), <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//!
//! Refuses
//! 1. a connection that begins with neither version's signature;
//! 2. a line of version 1 that is longer than 107 bytes or differs from the specification's form;
//! 3. a header of version 2 with a version, command or family that the specification does not define, that is too short for
//!    its family, or over 16 KiB.
//!
//! With a header that has no address (`UNKNOWN`, `LOCAL`, families other than TCP over IP), the connection's own address
//! counts. Destination addresses and extensions (TLVs) are ignored. Nothing behind the header is read. The caller bounds the
//! time.
//!
//! Does not check the sender of the header: any peer may claim any address. The caller must know that it is a trusted proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Section 2.2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1 with its end, section 2.1. The shortest, `PROXY UNKNOWN`, is longer than the
/// signature of version 2.
const MAX_LINE: usize = 107;
/// The longest version 2 header after its first 16 bytes. Addresses take at most 216 bytes; the rest is for extensions.
const MAX_BINARY: usize = 16 * 1024;

/// Reads the header. Returns the client's address if the header has one.
///
/// # Errors
/// `InvalidData` for a malformed header, `UnexpectedEof` for one that ends early, and those of reading.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut first = [0; SIGNATURE.len()];
    stream.read_exact(&mut first).await?;
    if first == SIGNATURE { read_binary(stream).await } else { read_line(stream, first).await }
}

async fn read_binary(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut rest = [0; 4];
    stream.read_exact(&mut rest).await?;
    let [version_and_command, family, high, low] = rest;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_BINARY {
        return Err(malformed("the header is too long"));
    }
    let mut block = vec![0; length];
    stream.read_exact(&mut block).await?;
    parse_binary(version_and_command, family, &block).map_err(malformed)
}

async fn read_line(stream: &mut TcpStream, first: [u8; SIGNATURE.len()]) -> io::Result<Option<SocketAddr>> {
    if !first.starts_with(b"PROXY ") {
        return Err(malformed("there is no header"));
    }
    let mut line = first.to_vec();
    let mut waiting = [0; MAX_LINE];
    loop {
        // Peeks first: bytes behind the line must stay in the socket.
        let seen = stream.peek(&mut waiting).await?;
        let new = waiting.get(..seen).unwrap_or_default();
        let end = new.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let take = end.unwrap_or(seen);
        let start = line.len();
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if start + take > MAX_LINE {
            return Err(malformed("the line is too long"));
        }
        line.resize(start + take, 0);
        stream.read_exact(line.get_mut(start..).unwrap_or_default()).await?;
        if end.is_some() {
            return parse_line(&line).map_err(malformed);
        }
    }
}

/// Parses a line of version 1 with its end.
fn parse_line(line: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix("\r\n"));
    let line = line.ok_or("the line does not end in CR LF")?;
    let mut words = line.split(' ');
    let known = (words.next(), words.next());
    let addresses = match known {
        // Section 2.1: the rest of the line must be ignored.
        (Some("PROXY"), Some("UNKNOWN")) => return Ok(None),
        (Some("PROXY"), Some("TCP4")) => [words.next(), words.next()].map(|word| Some(IpAddr::V4(word?.parse().ok()?))),
        (Some("PROXY"), Some("TCP6")) => [words.next(), words.next()].map(|word| Some(IpAddr::V6(word?.parse().ok()?))),
        _ => return Err("the protocol is not TCP4, TCP6 or UNKNOWN"),
    };
    let ports = [words.next(), words.next()].map(|word| parse_port(word?));
    match (addresses, ports, words.next()) {
        ([Some(source), Some(_)], [Some(port), Some(_)], None) => Ok(Some(SocketAddr::new(source, port))),
        _ => Err("the line does not have two addresses and two ports"),
    }
}

/// Digits without a sign or a leading zero.
fn parse_port(word: &str) -> Option<u16> {
    let canonical = word == "0" || word.bytes().next().is_some_and(|first| matches!(first, b'1'..=b'9'));
    word.parse().ok().filter(|_| canonical)
}

/// Parses a header of version 2. `block` is what follows its first 16 bytes.
fn parse_binary(version_and_command: u8, family: u8, block: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    match version_and_command {
        // LOCAL: a connection of the balancer itself, such as a health check. Its addresses must be ignored.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err("the version is not 2 or the command not LOCAL or PROXY"),
    }
    let short = "the header is too short for its addresses";
    match family {
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *block.first_chunk::<12>().ok_or(short)?;
            Ok(Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into()))
        }
        0x21 => {
            let address = *block.first_chunk::<16>().ok_or(short)?;
            let [.., high, low, _, _] = *block.first_chunk::<36>().ok_or(short)?;
            Ok(Some((Ipv6Addr::from(address), u16::from_be_bytes([high, low])).into()))
        }
        // Unspecified, and families without an IP address or a connection: UDP, Unix sockets.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(None),
        _ => Err("the specification has no such family"),
    }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What `read` returns for `bytes` and then the end, and the bytes that it leaves.
    async fn sent(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let write = async {
            // Byte by byte at first: a header may come in any number of pieces.
            for byte in bytes.iter().take(40) {
                sender.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            sender.write_all(bytes.get(40..).unwrap_or_default()).await.unwrap();
            sender.shutdown().await.unwrap();
        };
        let read = async {
            let result = read(&mut stream).await;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            (result, rest)
        };
        tokio::join!(write, read).1
    }

    async fn accepted(header: &[u8]) -> Option<SocketAddr> {
        let (result, rest) = sent(&[header, b"GET / HTTP/1.1\r\n"].concat()).await;
        assert_eq!(rest, b"GET / HTTP/1.1\r\n", "what follows is left alone");
        result.unwrap()
    }

    async fn refused(header: &[u8]) -> io::ErrorKind {
        sent(header).await.0.expect_err(&format!("{header:?}")).kind()
    }

    fn binary(version_and_command: u8, family: u8, length: u16, block: &[u8]) -> Vec<u8> {
        [&SIGNATURE[..], &[version_and_command, family], &length.to_be_bytes(), block].concat()
    }

    #[tokio::test]
    async fn a_line_of_version_1_has_the_clients_address() {
        assert_eq!(
            accepted(b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n").await,
            Some("192.0.2.1:4711".parse().unwrap())
        );
        let line = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::1 65535 0\r\n";
        let all: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(accepted(line).await, Some(SocketAddr::new(all, 65535)));
        assert_eq!(accepted(b"PROXY UNKNOWN\r\n").await, None);
        assert_eq!(accepted(b"PROXY UNKNOWN ffff::1 whatever this is\r\n").await, None);
    }

    #[tokio::test]
    async fn a_header_of_version_2_has_the_clients_address() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        assert_eq!(accepted(&binary(0x21, 0x11, 12, &v4)).await, Some("192.0.2.1:4711".parse().unwrap()));
        let with_extensions = [&v4[..], &[0x04, 0, 2, 0, 0]].concat();
        assert_eq!(accepted(&binary(0x21, 0x11, 17, &with_extensions)).await, Some("192.0.2.1:4711".parse().unwrap()));
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..].copy_from_slice(&[0x12, 0x67, 0, 80]);
        assert_eq!(accepted(&binary(0x21, 0x21, 36, &v6)).await, Some("[2001:db8::1]:4711".parse().unwrap()));
        let long = [&v4[..], &vec![0; MAX_BINARY - 12]].concat();
        assert!(accepted(&binary(0x21, 0x11, 16 * 1024, &long)).await.is_some());
    }

    #[tokio::test]
    async fn a_header_of_version_2_may_have_no_address() {
        assert_eq!(accepted(&binary(0x20, 0x00, 0, b"")).await, None);
        assert_eq!(accepted(&binary(0x20, 0x11, 12, &[1; 12])).await, None, "LOCAL");
        for family in [0x00, 0x12, 0x22, 0x31, 0x32] {
            assert_eq!(accepted(&binary(0x21, family, 3, &[1; 3])).await, None, "{family:#x}");
        }
    }

    #[tokio::test]
    async fn a_malformed_header_is_refused() {
        let longest = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; MAX_LINE - 16], b"\r\n"].concat();
        assert_eq!(accepted(&longest).await, None);
        let too_long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; MAX_LINE - 15], b"\r\n"].concat();
        for header in [
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            b"proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
            b"PROXY  TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 \r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 x\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 +4711 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 04711 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 192.0.2.1 a 4711 80\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 4711 80\r\n",
            b"PROXY TCP6 192.0.2.1 10.0.0.1 4711 80\r\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY UNKNOWN \xff\r\n",
            &too_long,
            &binary(0x22, 0x11, 12, &[0; 12]),
            &binary(0x11, 0x11, 12, &[0; 12]),
            &binary(0x21, 0x13, 12, &[0; 12]),
            &binary(0x21, 0x41, 12, &[0; 12]),
            &binary(0x21, 0x11, 11, &[0; 11]),
            &binary(0x21, 0x21, 35, &[0; 35]),
            &binary(0x21, 0x11, 16 * 1024 + 1, &[0; 16 * 1024 + 1]),
        ] {
            assert_eq!(refused(header).await, io::ErrorKind::InvalidData, "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_header_that_ends_early_is_refused() {
        let binary = binary(0x21, 0x11, 12, &[0; 12]);
        for header in [b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".as_slice(), &binary] {
            for length in 0..header.len() {
                assert_eq!(refused(&header[..length]).await, io::ErrorKind::UnexpectedEof, "{length}");
            }
        }
    }
}
