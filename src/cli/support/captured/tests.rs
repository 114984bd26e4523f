//! Samples of each format, and what holds for every file.

use proptest::prelude::*;

use super::*;

/// What the tests of the readers stand on: a route at `/hook`.
pub fn context() -> Context<'static> {
    Context {
        method: "POST",
        path: "/hook",
        host: None,
        entry: None,
        body: None,
        open: &|name| {
            if name == "body.json" { Ok(b"{\r\n}\n".to_vec()) } else { Err("there is no such file".to_owned()) }
        },
    }
}

/// Reads a file in this context.
pub fn read(file: &[u8]) -> Result<Captured, String> {
    super::read(file, &context())
}

/// A sample of each format. Those of curl were written by curl 7.88 and a later one's ids.
const SAMPLES: [(Format, &str); 14] = [
    (Format::RawHttp, "POST /hook HTTP/1.1\r\nHost: a.example\r\nX-Sig: abc\r\nContent-Length: 7\r\n\r\n{\"a\":1}"),
    (Format::RawHttp, "POST /hook HTTP/2\nhost: a.example\nx-sig: abc\ncontent-length: 7\n\n{\"a\":1}"),
    (Format::RawHttp, ":method: POST\n:authority: a.example\n:scheme: https\n:path: /hook\nx-sig: abc\n\n{\"a\":1}"),
    (Format::RawHttp, "Request URL: https://a.example/hook\nRequest method: POST\nX-Sig: abc\n\n{\"a\":1}"),
    (Format::RawHttp, "Host: a.example\nX-Sig: abc\n\n{\"a\":1}"),
    (Format::Har, include_str!("../../../../tests/captured/har.json")),
    (Format::Ngrok, include_str!("../../../../tests/captured/ngrok.json")),
    (Format::WebhookSite, include_str!("../../../../tests/captured/webhook_site.json")),
    (Format::Hookdeck, include_str!("../../../../tests/captured/hookdeck.json")),
    (
        Format::CurlCommand,
        "curl 'https://a.example/hook' \\\n  -H 'X-Sig: abc' \\\n  --data-raw $'{\"a\":\\u0031}' --compressed",
    ),
    (
        Format::CurlCommand,
        "curl ^\"https://a.example/hook^\" ^\r\n  -H ^\"x-sig: abc^\" ^\r\n  --data-raw ^\"^{^\\^\"a^\\^\":1^}^\"",
    ),
    (Format::CurlVerbose, include_str!("../../../../tests/captured/curl_verbose.txt")),
    (Format::CurlTrace, include_str!("../../../../tests/captured/curl_trace.txt")),
    (Format::CurlTraceAscii, include_str!("../../../../tests/captured/curl_trace_ascii.txt")),
];

#[test]
fn each_sample_is_taken_for_what_it_is_and_has_the_same_request() {
    for (format, sample) in SAMPLES {
        let captured = read(sample.as_bytes()).unwrap();
        let parts = captured.parts.unwrap();
        assert_eq!(captured.format, format, "{sample}");
        assert_eq!((parts.method.as_str(), parts.uri.path()), ("POST", "/hook"), "{sample}");
        assert_eq!(parts.headers["x-sig"], "abc", "{sample}");
        let head = String::from_utf8(captured.request.head).unwrap();
        if format == Format::CurlVerbose {
            assert!(matches!(captured.lost, Some(Lost::Body(_))) && captured.request.body.is_empty());
            assert!(head.contains("Content-Length: 0"), "{head}");
        } else {
            assert_eq!(captured.lost.is_some(), format == Format::Hookdeck, "{sample}");
            assert_eq!(captured.request.body, b"{\"a\":1}", "{sample}");
            assert!(head.to_ascii_lowercase().contains("content-length: 7\r\n"), "{head}");
        }
        assert_eq!(parts.headers.get_all("host").iter().count(), 1, "{head}");
        assert!(captured.cut_short.is_none());
    }
}

#[test]
fn a_body_may_have_a_file_of_its_own() {
    let with = |file: &str, body: &str| super::read(file.as_bytes(), &Context { body: Some(body.into()), ..context() });
    for head in ["X-Sig: abc\n", SAMPLES[11].1, "POST /hook HTTP/1.1\nHost: a\nContent-Length: 7\n\n"] {
        let captured = with(head, "{\"a\":1}").unwrap();
        assert_eq!((captured.request.body, captured.lost, captured.cut_short), (b"{\"a\":1}".to_vec(), None, None));
    }
    let longer = with(SAMPLES[11].1, "{\"a\":1}\n").unwrap();
    assert_eq!(longer.request.body, b"{\"a\":1}");
    assert!(longer.notes.iter().any(|note| note.contains("1 bytes follow the body")));
    assert!(with(SAMPLES[11].1, "{}").unwrap().cut_short.is_some());
    assert!(with(SAMPLES[0].1, "{}").err().unwrap().contains("leave out --body"));
}

#[test]
fn of_several_requests_the_newest_post_or_the_wanted_one_is_taken() {
    let wanted = |file: &str, entry| super::read(file.as_bytes(), &Context { entry: Some(entry), ..context() });
    for at in [5, 6, 7, 8, 11, 12] {
        let (format, sample) = SAMPLES[at];
        assert!(wanted(sample, 9).err().unwrap().contains("--entry asks for number 9"), "{format:?}");
        assert_eq!(
            read(sample.as_bytes()).unwrap().request.body,
            wanted(sample, 1).unwrap().request.body,
            "{format:?}"
        );
    }
    let twice = |at: usize| [SAMPLES[at].1, &SAMPLES[at].1.replace("/hook", "/last")].concat();
    for at in [11, 13] {
        assert_eq!(read(twice(at).as_bytes()).unwrap().parts.unwrap().uri.path(), "/last");
        assert_eq!(wanted(&twice(at), 1).unwrap().parts.unwrap().uri.path(), "/hook");
    }
    assert!(wanted(SAMPLES[0].1, 2).is_err() && wanted(SAMPLES[9].1, 2).is_err());
}

#[test]
fn what_a_format_loses_is_told() {
    let lost = |sample: &str| read(sample.as_bytes()).unwrap().lost;
    let har = SAMPLES[5].1;
    let other = har.replace(r#"{\"a\":1}"#, r#"{\"a\": 1}"#);
    assert!(matches!(lost(&other), Some(Lost::Bytes(why)) if why.contains("announced 7 bytes, and the file has 8")));
    let base64 = har.replace(r#""text": "{\"a\":1}""#, r#""encoding": "base64", "text": "eyJhIjoxfQ==""#);
    assert_eq!(read(base64.as_bytes()).unwrap().request.body, b"{\"a\":1}");
    assert_eq!(lost(&base64), None);
    let fields = har.replace(r#""text": "{\"a\":1}""#, r#""params": [{"name": "a b", "value": "ü"}]"#);
    assert_eq!(read(fields.as_bytes()).unwrap().request.body, b"a%20b=%C3%BC");
    assert!(matches!(lost(&fields), Some(Lost::Bytes(why)) if why.contains("fields of a form")));
    let none = har.replace("postData", "other");
    assert!(matches!(lost(&none), Some(Lost::Body(_))));
    let cut = SAMPLES[6].1.replace("Q29udGVudC1MZW5ndGg6IDc", "Q29udGVudC1MZW5ndGg6IDk");
    assert!(matches!(lost(&cut), Some(Lost::Bytes(why)) if why.contains("ngrok keeps only the beginning")));
    let large = SAMPLES[7].1.replace("\"size\": 7", "\"size\": 8").replace("content-length", "x-length");
    assert!(matches!(lost(&large), Some(Lost::Bytes(_))));
    let text = SAMPLES[8].1.replace("{\n      \"a\": 1\n    }", r#""{\"a\":1}""#);
    assert_ne!(text, SAMPLES[8].1);
    assert_eq!((lost(&text), read(text.as_bytes()).unwrap().request.body), (None, b"{\"a\":1}".to_vec()));
    let stops = SAMPLES[13].1.replace("0000: {\"a\":1}", "0000: {\"a\":..").replace("7 bytes (0x7)", "8 bytes (0x8)");
    assert!(matches!(lost(&stops), Some(Lost::Bytes(why)) if why.contains("the body has 2 of them")));
    assert!(matches!(lost("curl -d \"$BODY\" https://a.example/"), Some(Lost::Bytes(_))));
}

#[test]
fn a_curl_command_sends_what_curl_would_send() {
    let body = |options: &str| {
        let captured = read(format!("$ curl {options} http://a.example/x?y=1").as_bytes())?;
        let head = String::from_utf8(captured.request.head).unwrap();
        let line = head.lines().next().unwrap().to_owned();
        Ok::<_, String>((line, String::from_utf8(captured.request.body).unwrap(), head))
    };
    for (options, line, text) in [
        ("", "GET /x?y=1", ""),
        ("-I", "HEAD /x?y=1", ""),
        ("-d a -d 'b c'", "POST /x?y=1", "a&b c"),
        ("-d @body.json", "POST /x?y=1", "{}"),
        ("--data-binary @body.json", "POST /x?y=1", "{\r\n}\n"),
        ("--data-raw @body.json", "POST /x?y=1", "@body.json"),
        ("--data-urlencode 'a=b c&d' --data-urlencode =ü", "POST /x?y=1", "a=b%20c%26d&%C3%BC"),
        ("-G -d a=b", "GET /x?y=1&a=b", ""),
        ("-sSXPUT -dabc", "PUT /x?y=1", "abc"),
        ("--request-target '*'", "GET *", ""),
        ("-T body.json", "PUT /x?y=1", "{\r\n}\n"),
    ] {
        let (first, sent, _) = body(options).unwrap();
        assert_eq!((first, sent), (format!("{line} HTTP/1.1"), text.to_owned()), "{options}");
    }
    let (_, _, head) = body("-u a:b -A x -H 'Y: z' -H 'Accept:' -H 'E;' --json {}").unwrap();
    for line in ["Authorization: Basic YTpi", "User-Agent: x", "Y: z", "E: ", "Content-Type: application/json"] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    assert!(!head.contains("Accept"));
    let piped = read(br"printf '\173\175%%\n\377' | curl --data-binary @- 'http://a.example/'").unwrap();
    assert_eq!(piped.request.body, b"{}%\n\xff");
    assert!(read(b"printf 'a' && curl 'http://a.example/'").is_err() && read(b"printf %s a | tee").is_err());
    for (options, why) in [
        ("-F a=b -d c", "both a form (-F) and data (-d)"),
        ("-F a", "without ="),
        ("-d @-", "standard input"),
        ("-d @nowhere", "there is no such file"),
        ("--no-such-option", "--no-such-option"),
        ("-H @headers", "headers from a file"),
        ("-d 'a", "not closed"),
        ("http://a.example/ -X; echo", "-X without a value"),
        ("-d a; echo", "without a URL"),
    ] {
        let error = body(options).unwrap_err();
        assert!(error.contains(why), "{options}: {error}");
    }
}

#[test]
fn what_is_no_request_is_told_without_its_content() {
    for (file, why) in [
        ("", "is empty"),
        ("{\"secret\":1", "begins as JSON, but is none: line 1"),
        ("{\"a\":\"canary\"}", "--body"),
        ("[]", "is an empty list"),
        // Bodies, without their heads.
        ("{\"type\":\"invoice.paid\",\"timestamp\":\"canary\",\"data\":{\"id\":\"canary\"}}", "--body"),
        ("{\"id\":\"canary\",\"data\":{\"object\":{}},\"request\":{\"id\":null}}", "--body"),
        ("{\"log\":{\"level\":\"canary\"}}", "--body"),
        ("{\"log\":{\"entries\":[{\"request\":\"canary\"}]}}", "was taken for a HAR file"),
        ("{\"log\":{\"entries\":[]}}", "has no request"),
        ("{\"requests\":[{\"request\":{\"raw\":\"canary!\"}}]}", "not base64"),
        ("{\"models\":[{\"data\":null}]}", "include=data"),
        ("{\"id\":\"evt_a\",\"team_id\":\"tm_a\",\"source_id\":\"src_a\",\"status\":\"FAILED\"}", "include=data"),
        ("{\"token_id\":\"canary\",\"content\":\"a\"}", "no HTTP request"),
        ("\0\u{1}canary", "raw HTTP (POST /path HTTP/1.1"),
    ] {
        let error = read(file.as_bytes()).err().unwrap();
        assert!(error.contains(why) && !error.contains("canary"), "{file}: {error}");
    }
    // A method that looks like a field line.
    drop(read(b"{\"token_id\":\"x\",\"method\":\"Host:\",\"headers\":{}}"));
    let deep = "[".repeat(100_000);
    assert!(read(deep.as_bytes()).is_err());
}

#[test]
fn a_command_of_older_firefox_for_windows_has_doubled_quotes() {
    let request = |command: &str| read(command.as_bytes()).unwrap().request;
    let windows =
        "curl \"https://a.example/hook\" -X POST -H \"X-A: \"\"b\"\"\" --data-raw \"{\"\"a\"\":\"\"b c\"\"}\"";
    let body = request(windows).body;
    assert_eq!(String::from_utf8_lossy(&body), r#"{"a":"b c"}"#);
    for bash in [
        r#"curl "https://a.example/hook" -H "X-A;" --data-raw "" "#,
        r#"curl "https://a.example/hook" --data-raw "{\"a\":\"\"}""#,
    ] {
        let expected = if bash.contains('{') { r#"{"a":""}"# } else { "" };
        assert_eq!(String::from_utf8_lossy(&request(bash).body), expected, "{bash}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        drop(read(&bytes));
    }

    #[test]
    fn no_cut_or_changed_sample_makes_a_reader_panic(
        sample in 0..SAMPLES.len(),
        cut in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        entry in proptest::option::of(0_usize..4),
        body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..16)),
    ) {
        let mut file = SAMPLES[sample].1.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let mut short = file.clone();
        short.truncate(cut.index(file.len() + 1));
        for file in [file, short] {
            if let Ok(captured) = super::read(&file, &Context { entry, body: body.clone(), ..context() }) {
                prop_assert!(captured.request.body.len() <= 4 * file.len() + 16);
            }
        }
    }

    #[test]
    fn bash_and_windows_words_never_panic(text in ".{0,80}", marks in "[\\\\'\"$^%\n u0-9a-f]{0,40}") {
        for text in [&text, &marks] {
            drop((shell::bash(text), shell::cmd(text)));
        }
    }

    #[test]
    fn a_text_in_single_quotes_is_itself(text in "[^'\0]{0,80}") {
        let words = shell::bash(&format!("'{text}'")).unwrap();
        prop_assert_eq!(words.words, vec![text]);
    }
}
