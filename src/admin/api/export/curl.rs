//! A command for `sh` that sends the request again by curl. It needs no file beside it.

use std::fmt::Write as _;

use super::{host, url};
use crate::admin::api::detail::Found;
use crate::admin::api::recorded::RecordedRequest;
use crate::text::misleads;

/// Fields that curl adds unless it is told not to.
const OF_CURL: [&str; 4] = ["Accept", "User-Agent", "Content-Type", "Expect"];

/// The command; behind it a comment, if the body is not whole.
pub fn curl(found: &Found, request: &RecordedRequest, body: &[u8]) -> Vec<u8> {
    let mut command = command(request, body);
    if found.is_body_cut() {
        let (kept, came) = (body.len(), found.stored.delivery.request_bytes);
        command.extend_from_slice(format!("# The body is cut: {kept} of its {came} bytes are kept.\n").as_bytes());
    }
    command
}

/// The command. Bytes that are not text, such as NUL, are spelled as octal numbers where they stand.
fn command(request: &RecordedRequest, body: &[u8]) -> Vec<u8> {
    let mut command = String::new();
    if !body.is_empty() {
        // The shell's own printf takes a text of any length, which an argument of curl cannot have.
        let _infallible = write!(command, "printf {} | ", format_of(body));
    }
    command.push_str("curl --globoff --path-as-is");
    match request.version.as_str() {
        "HTTP/1.1" => command.push_str(" --http1.1"),
        "HTTP/1.0" => command.push_str(" --http1.0"),
        _ => {}
    }
    if request.method == "HEAD" {
        command.push_str(" --head");
    } else {
        let _infallible = write!(command, " --request {}", quoted(&request.method));
    }
    if !is_plain(&request.target) {
        let _infallible = write!(command, " --request-target {}", argument(request.target.as_bytes()));
    }
    if let Some(name) = request.host().filter(|name| *name != host(request)) {
        let _infallible = write!(command, " \\\n  --header {}", argument(format!("Host: {name}").as_bytes()));
    }
    for name in OF_CURL {
        if !request.sendable().any(|field| field.name.eq_ignore_ascii_case(name)) {
            let _infallible = write!(command, " \\\n  --header '{name}:'");
        }
    }
    for field in request.sendable() {
        let mut line = field.name.clone().into_bytes();
        // curl takes a colon without a value for an order to leave the field out.
        line.extend_from_slice(if field.value.is_empty() { b";" } else { b": " });
        line.extend_from_slice(&field.value);
        let _infallible = write!(command, " \\\n  --header {}", argument(&line));
    }
    if !body.is_empty() {
        command.push_str(" \\\n  --data-binary @-");
    } else if request.fields.iter().any(|field| field.name.eq_ignore_ascii_case("content-length")) {
        command.push_str(" \\\n  --data-binary ''");
    }
    let url = if is_plain(&request.target) { url(request) } else { url(&origin(request)) };
    let _infallible = write!(command, " \\\n  {}\n", quoted(&url));
    command.into_bytes()
}

/// The same request for `/`, the rest of whose target is said apart.
fn origin(request: &RecordedRequest) -> RecordedRequest {
    RecordedRequest { target: "/".to_owned(), ..request.clone() }
}

/// Whether curl sends a target as it is.
fn is_plain(target: &str) -> bool {
    target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/?&=%:@!$*+,;()".contains(&byte))
}

/// A word of the shell that stands for these bytes.
fn argument(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_harmless) => quoted(text),
        _ => format!("\"$(printf {})\"", format_of(bytes)),
    }
}

/// Text in quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The format for the shell's printf that prints these bytes.
fn format_of(bytes: &[u8]) -> String {
    let mut format = String::with_capacity(bytes.len() + 2);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '%' => format.push_str("%%"),
                '\\' => format.push_str(r"\\"),
                harmless if is_harmless(harmless) => format.push(harmless),
                other => octal(&mut format, other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        octal(&mut format, chunk.invalid());
    }
    // A format that begins with a hyphen would be an option.
    if let Some(rest) = format.strip_prefix('-') {
        format = format!("\\055{rest}");
    }
    quoted(&format)
}

fn octal(format: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _infallible = write!(format, "\\{byte:03o}");
    }
}

/// Whether a terminal and an editor show a character as what it is.
fn is_harmless(character: char) -> bool {
    matches!(character, '\n' | '\t') || !misleads(character)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use proptest::prelude::*;

    use super::super::tests::request;
    use super::*;

    fn run(shell: &str, script: &str) -> Output {
        let folder = tempfile::tempdir().unwrap();
        Command::new(shell).arg("-c").arg(script).current_dir(folder.path()).env("LC_ALL", "C").output().unwrap()
    }

    #[test]
    fn a_command_reads_well() {
        let request = request("/in?a=b", &[("content-type", b"application/json"), ("x-empty", b""), ("x-q", b"it's")]);
        let command = String::from_utf8(command(&request, b"{\"a\": \"100%\"}\n")).unwrap();
        assert_eq!(
            command,
            r#"printf '{"a": "100%%"}
' | curl --globoff --path-as-is --http1.1 --request 'POST' \
  --header 'Accept:' \
  --header 'User-Agent:' \
  --header 'Expect:' \
  --header 'content-type: application/json' \
  --header 'x-empty;' \
  --header 'x-q: it'\''s' \
  --data-binary @- \
  'http://hooks.example.com:8080/in?a=b'
"#
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled() {
        let spelled = command(&request("/", &[("x", b"\x1b[2J")]), "\u{202e}\r\0".as_bytes());
        let text = String::from_utf8(spelled).unwrap();
        assert!(text.starts_with(r"printf '\342\200\256\015\000' | curl"), "{text}");
        assert!(text.contains(r#"--header "$(printf 'x: \033[2J')""#), "{text}");
        // On a terminal the command-line tool would escape what is left of these, in a way of its own.
        let hidden = ('\u{80}'..='\u{ffff}').filter(|character| misleads(*character)).collect::<String>();
        let text = String::from_utf8(command(&request("/", &[]), hidden.as_bytes())).unwrap();
        assert!(hidden.contains('\u{2028}') && !text.replace('\n', "").contains(misleads), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_shells_print_the_bytes_that_are_spelled(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            for shell in ["sh", "bash"] {
                let printed = run(shell, &format!("printf {}", format_of(&bytes)));
                prop_assert_eq!(&printed.stdout, &bytes, "{}", shell);
            }
        }
    }

    #[test]
    fn a_body_of_a_megabyte_is_printed() {
        let body: Vec<u8> = (0..1_u32 << 20).map(|at| u8::try_from(at % 251).unwrap()).collect();
        // The shell reads a script of this length from its input.
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, format!("printf {}", format_of(&body))).unwrap();
        for shell in ["sh", "bash"] {
            let printed = Command::new(shell).arg(&script).output().unwrap();
            assert!(printed.stdout == body, "{shell}");
        }
    }
}
