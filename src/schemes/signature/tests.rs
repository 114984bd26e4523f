//! Grammars on their own, and what every header must pass.

use http::header::HeaderName;
use http::{HeaderMap, Method};

use super::*;
use VerifyError::{AmbiguousSignature, MalformedSignature, MissingSignature};

const A: &str = "00112233445566778899aabbccddeeff00112233";
const B: &str = "ffffffffffffffffffffffffffffffffffffffff";

fn reader(grammar: Grammar) -> Reader {
    let encoding = OneOrMany(vec![Encoding::Hex]);
    let signature = Signature { at: Location::Header(HeaderName::from_static("sig")), grammar, encoding };
    Reader::new(&signature, Some(20), None)
}

fn prefix(required: bool) -> Grammar {
    Grammar::Prefix { text: OneOrMany(vec!["sha1=".to_owned()]), required, ignore_case: false }
}

fn list(strict: bool) -> Grammar {
    let (separator, assign) = (",".to_owned(), "=".to_owned());
    Grammar::List { separator, assign, key: OneOrMany(vec!["v1".to_owned()]), at_most: 8, strict, spaced: false }
}

fn versions() -> Grammar {
    list(true)
}

/// The candidates of these header lines, as hex.
fn parsed(grammar: Grammar, lines: &[&[u8]]) -> Result<Vec<String>, VerifyError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("sig", HeaderValue::from_bytes(line).unwrap());
    }
    let head = RequestHead { method: &Method::POST, path: "/", query: None, headers: &headers };
    let claimed = reader(grammar).read(head, None)?;
    Ok(claimed.candidates.iter().map(|digest| base16ct::lower::encode_string(digest.as_bytes())).collect())
}

fn one(grammar: Grammar, value: impl AsRef<[u8]>) -> Result<Vec<String>, VerifyError> {
    parsed(grammar, &[value.as_ref()])
}

#[test]
fn a_header_that_is_absent_empty_or_blank_is_missing() {
    for grammar in [Grammar::Bare, prefix(true), prefix(false), versions()] {
        assert_eq!(parsed(grammar.clone(), &[]), Err(MissingSignature));
        for blank in ["", " ", "\t  \t"] {
            assert_eq!(one(grammar.clone(), blank), Err(MissingSignature));
        }
    }
}

#[test]
fn a_header_that_is_there_twice_is_ambiguous_even_if_both_lines_agree() {
    for second in [A, B, "", "nonsense"] {
        assert_eq!(parsed(Grammar::Bare, &[A.as_bytes(), second.as_bytes()]), Err(AmbiguousSignature));
        assert_eq!(parsed(Grammar::Bare, &[second.as_bytes(), A.as_bytes()]), Err(AmbiguousSignature));
    }
}

#[test]
fn hex_is_read_in_either_case_and_white_space_around_the_value_is_no_part_of_it() {
    assert_eq!(one(Grammar::Bare, A.to_uppercase()), Ok(vec![A.to_owned()]));
    assert_eq!(one(Grammar::Bare, A.replace("aa", "aA")), Ok(vec![A.to_owned()]));
    assert_eq!(one(Grammar::Bare, format!(" \t{A} ")), Ok(vec![A.to_owned()]));
}

#[test]
fn a_digest_of_another_length_or_alphabet_is_malformed() {
    let bad = [
        A[1..].to_owned(),
        A[2..].to_owned(),
        format!("{A}0"),
        format!("{A}00"),
        A.replace('0', "g"),
        A.replacen("00", "0 ", 1),
        A.replacen("00", "0x", 1),
        "a".repeat(10_000),
    ];
    for digest in bad {
        assert_eq!(one(Grammar::Bare, &digest), Err(MalformedSignature), "{digest}");
        assert_eq!(one(prefix(false), &digest), Err(MalformedSignature), "{digest}");
        assert_eq!(one(prefix(true), format!("sha1={digest}")), Err(MalformedSignature), "{digest}");
        assert_eq!(one(versions(), format!("v1={digest}")), Err(MalformedSignature), "{digest}");
    }
}

#[test]
fn bytes_beyond_ascii_are_malformed() {
    let mut latin1 = A.as_bytes().to_vec();
    latin1[7] = 0xe9;
    assert_eq!(one(Grammar::Bare, &latin1), Err(MalformedSignature));
    assert_eq!(one(prefix(false), &latin1), Err(MalformedSignature));
    assert_eq!(one(versions(), &latin1), Err(MalformedSignature));
    assert_eq!(one(Grammar::Bare, "٠".repeat(20)), Err(MalformedSignature), "digits of another script");
}

#[test]
fn a_bare_value_has_no_prefix() {
    assert_eq!(one(Grammar::Bare, A), Ok(vec![A.to_owned()]));
    assert_eq!(one(Grammar::Bare, format!("sha1={A}")), Err(MalformedSignature));
}

#[test]
fn a_prefix_is_taken_off_once_and_must_be_there_if_required() {
    for required in [true, false] {
        assert_eq!(one(prefix(required), format!("sha1={A}")), Ok(vec![A.to_owned()]));
        for value in [format!("sha1=sha1={A}"), format!("SHA1={A}"), format!("sha1= {A}"), "sha1=".to_owned()] {
            assert_eq!(one(prefix(required), &value), Err(MalformedSignature), "{value}");
        }
    }
    assert_eq!(one(prefix(false), A), Ok(vec![A.to_owned()]));
    assert_eq!(one(prefix(true), A), Err(MalformedSignature));
}

#[test]
fn only_the_accepted_version_of_a_list_counts() {
    for value in [
        format!("v1={A}"),
        format!("v1={A},v2={B},v3=zz"),
        format!("v2=,v1={A}"),
        format!("v2={B}, \tv1={A}\t,"),
        format!(",,v1={A},,"),
        format!("nonsense,v1={A},=,v11={B},V1={B},v1"),
        format!("v2=v1={B},v1={A}"),
    ] {
        assert_eq!(one(versions(), &value), Ok(vec![A.to_owned()]), "{value}");
    }
    let mut binary = format!("v1={A},v2=").into_bytes();
    binary.push(0xff);
    assert_eq!(one(versions(), &binary), Ok(vec![A.to_owned()]));
}

#[test]
fn lines_that_were_joined_by_a_comma_are_a_list() {
    let blank = |strict| match list(strict) {
        Grammar::List { key, at_most, spaced, .. } => {
            Grammar::List { separator: " ".to_owned(), assign: ",".to_owned(), key, at_most, strict, spaced }
        }
        other => other,
    };
    for strict in [false, true] {
        let both = vec![A.to_owned(), B.to_owned()];
        for value in [
            format!("v1,{A}, v1,{B}"),
            format!("v1,{A},v1,{B}"),
            format!("v1,{A} v1,{B},"),
            format!("v1,{A} v2,x,v1,{B},,"),
            format!("v1,{A}, v2,x, v1,{B}"),
        ] {
            assert_eq!(one(blank(strict), &value), Ok(both.clone()), "{value}");
        }
        assert_eq!(one(blank(strict), format!("v1,{A},{B}")), Ok(vec![A.to_owned()]), "an entry without a key");
        assert_eq!(one(blank(strict), format!("v1,,v1,{A}")).is_ok(), !strict, "an empty entry");
    }
}

#[test]
fn a_list_without_the_accepted_version_is_malformed() {
    for value in [
        A.to_owned(),
        format!("v2={A}"),
        format!("V1={A}"),
        format!("v1:{A}"),
        ",".to_owned(),
        format!("v1 ={A}"),
        format!("v1={A} v2={B}"),
    ] {
        assert_eq!(one(versions(), &value), Err(MalformedSignature), "{value}");
    }
}

#[test]
fn several_entries_of_the_accepted_version_are_all_candidates_up_to_eight() {
    assert_eq!(one(versions(), format!("v1={A},v1={B}")), Ok(vec![A.to_owned(), B.to_owned()]));
    let list = |entries: usize| vec![format!("v1={A}"); entries].join(",");
    assert_eq!(one(versions(), list(7)).map(|candidates| candidates.len()), Ok(7));
    assert_eq!(one(versions(), list(8)).map(|candidates| candidates.len()), Ok(8));
    assert_eq!(one(versions(), list(9)), Err(MalformedSignature));
}

#[test]
fn a_malformed_entry_of_the_accepted_version_spoils_the_list() {
    for value in [format!("v1=zz,v1={A}"), format!("v1={A},v1=zz"), format!("v1={A},v1="), format!("v1={A},v1= {A}")] {
        assert_eq!(one(versions(), &value), Err(MalformedSignature), "{value}");
    }
}

#[test]
fn a_list_that_is_not_strict_passes_over_malformed_entries_beside_a_good_one() {
    for value in [format!("v1=zz,v1={A}"), format!("v1={A},v1="), format!("v1= {A}, v1={A}")] {
        assert_eq!(one(list(false), &value), Ok(vec![A.to_owned()]), "{value}");
    }
    for value in ["v1=zz".to_owned(), "v1=,v1".to_owned(), ["v1=zz"; 9].join(",")] {
        assert_eq!(one(list(false), &value), Err(MalformedSignature), "{value}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for grammar in [Grammar::Bare, prefix(true), prefix(false), list(true), list(false)] {
        let digest = base16ct::lower::decode_vec(A).unwrap();
        let value = reader(grammar.clone()).write(&digest, "", &[]);
        assert_eq!(one(grammar, &value), Ok(vec![A.to_owned()]));
    }
}
