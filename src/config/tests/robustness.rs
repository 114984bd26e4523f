//! Files as they are on disk, and texts that no one would write.

use proptest::prelude::*;

use super::*;

fn load_bytes(content: &[u8]) -> Result<Config, LoadError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("gateway.yaml");
    std::fs::write(folder.path().join("key"), "s3cret\n").expect("written");
    std::fs::write(&path, content).expect("written");
    load(&path)
}

#[test]
fn a_file_is_loaded_with_the_secrets_beside_it() {
    let config = load_bytes(one(&["secrets: [{file: key}]"]).as_bytes()).expect("valid");
    assert_eq!(config.routes[0].secret_ids, ["0"]);
}

#[test]
fn a_missing_file_is_unreadable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("gateway.yaml");
    let error = load(&path).expect_err("missing");
    assert!(matches!(error, LoadError::Unreadable { .. }));
    assert!(error.to_string().starts_with(&format!("cannot read {}: No such file", path.display())), "{error}");
    assert!(matches!(load(folder.path()), Err(LoadError::Unreadable { .. })), "a folder is no file");
}

#[test]
fn a_file_that_is_not_utf8_is_refused() {
    let error = load_bytes(b"routes:\n\xff").expect_err("not UTF-8");
    assert_eq!(error.to_string(), "the file is not UTF-8: byte 8 is wrong");
}

#[test]
fn utf_16_is_called_by_its_name() {
    for bytes in [&b"\xff\xfer\0"[..], b"\xfe\xff\0r"] {
        assert_eq!(load_bytes(bytes).expect_err("UTF-16").to_string(), "the file is UTF-16: save it as UTF-8");
    }
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let mut text = one(&["secrets: [{file: key}]"]).into_bytes();
    text.push(b'#');
    text.resize(1 << 20, b'x');
    assert!(load_bytes(&text).is_ok());
    text.push(b'x');
    assert_eq!(load_bytes(&text).expect_err("too long").to_string(), "the file is longer than 1MiB");
}

#[test]
fn a_byte_order_mark_and_crlf_do_no_harm() {
    let text = format!("\u{feff}{}", one(&["secrets: [{file: key}]"]).replace('\n', "\r\n"));
    assert!(load_bytes(text.as_bytes()).is_ok());
}

#[test]
fn endless_nesting_is_refused_without_harm() {
    for text in ["[", "{a: ", "- ", "? ", "[*", "!x "].map(|part| part.repeat(200_000)) {
        assert_eq!(Made::new().errors(&text).len(), 1);
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        if let Err(errors) = Made::new().parse(&text) {
            prop_assert!(!errors.is_empty());
        }
    }

    #[test]
    fn no_yaml_panics(text in "([ \\n:,\\[\\]{}&*!|>'\"#%@?-]|a|server|routes|listen|secrets|env|~|1|!!int){0,60}") {
        if let Err(errors) = Made::new().parse(&text) {
            prop_assert!(!errors.is_empty());
        }
    }

    #[test]
    fn no_damage_to_a_valid_file_panics(at in 0usize..1000, cut in 0usize..20, put in "[ \\n:,\\[\\]{}&*!a1~\"-]{0,6}") {
        let mut text: Vec<char> = include_str!("../../../gateway.yaml").chars().filter(char::is_ascii).collect();
        let at = at * text.len() / 1000;
        text.splice(at..(at + cut).min(text.len()), put.chars());
        let text: String = text.into_iter().collect();
        if let Err(errors) = Made::new().parse(&text) {
            prop_assert!(!errors.is_empty());
        }
    }

    #[test]
    fn no_value_panics(key in "name|path|host|scheme|secrets|upstream|methods|timeout|max_body", value in "[^\\n]{0,30}") {
        let _ = Made::new().parse(&one(&[&format!("{key}: {value}")]));
    }
}
