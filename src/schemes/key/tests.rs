//! Published vectors of the algorithms, and the comparison.

use smallvec::smallvec;

use super::*;
use crate::schemes::content::Piece;

const RFC_TEXT: &[u8] = b"what do ya want for nothing?";

fn hex(digest: &Digest) -> String {
    base16ct::lower::encode_string(digest.as_bytes())
}

fn hmac(hash: HmacHash, key: &[u8], content: &Content<'_>) -> String {
    hex(&Key::new(&Algorithm::Hmac(hash), key).sign(content).unwrap())
}

#[test]
fn the_vectors_of_rfc_2202_and_rfc_4231_come_out() {
    for (hash, expected) in [
        (HmacHash::Md5, "750c783e6ab0b503eaa86e310a5db738"),
        (HmacHash::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (HmacHash::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            HmacHash::Sha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            HmacHash::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737",
        ),
    ] {
        assert_eq!(hmac(hash, b"Jefe", &smallvec![RFC_TEXT.into()]), expected);
    }
}

#[test]
fn a_key_longer_than_a_block_is_hashed_first_as_rfc_4231_case_6_has_it() {
    let content = smallvec![b"Test Using Larger Than Block-Size Key - Hash Key First".as_slice().into()];
    let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
    assert_eq!(hmac(HmacHash::Sha256, &[0xaa; 131], &content), expected);
}

#[test]
fn slices_are_fed_in_order_with_nothing_between() {
    let split: Content<'_> = RFC_TEXT.chunks(5).map(Into::into).collect();
    assert_eq!(hmac(HmacHash::Sha256, b"Jefe", &split), hmac(HmacHash::Sha256, b"Jefe", &smallvec![RFC_TEXT.into()]));
}

#[test]
fn plain_hashes_are_those_of_their_standards() {
    let of = |algorithm, text: &str| hex(&hash(algorithm, [text.as_bytes()]));
    assert_eq!(of(Hash::Md5, "abc"), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(of(Hash::Sha1, "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(of(Hash::Sha256, "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let keccak = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
    assert_eq!(of(Hash::Keccak256, ""), keccak, "Ethereum's hash of nothing, not that of SHA3-256");
}

#[test]
fn the_secret_of_a_plain_hash_stands_where_the_content_has_it() {
    let key = Key::new(&Algorithm::Hash(Hash::Sha256), b"b");
    let content = smallvec![b"a".as_slice().into(), Piece::Secret, b"c".as_slice().into()];
    assert_eq!(hex(&key.sign(&content).unwrap()), hex(&hash(Hash::Sha256, [b"abc".as_slice()])));
}

#[test]
fn any_of_several_candidates_may_match() {
    let key = Key::new(&Algorithm::Hmac(HmacHash::Sha1), b"key");
    let content = smallvec![RFC_TEXT.into()];
    let right = key.sign(&content).unwrap();
    let wrong = Digest::from_slice(&[0; 20]);
    assert!(key.accepts(&[wrong.clone(), right.clone()], &content));
    assert!(key.accepts(&[right.clone(), wrong.clone()], &content));
    assert!(!key.accepts(&[wrong], &content));
    assert!(!key.accepts(&[], &content));
    assert!(!key.accepts(&[Digest::from_slice(&right.as_bytes()[..19])], &content), "a shortened digest");
}

#[test]
fn a_token_is_the_secret_and_nothing_else() {
    let key = Key::new(&Algorithm::Token, b"user:pass:word");
    let accepts = |token: &[u8]| key.accepts(&[Digest::from_slice(token)], &smallvec![]);
    assert!(accepts(b"user:pass:word"));
    for other in [b"user:pass".as_slice(), b"user:pass:wor", b"user:pass:word ", b"User:pass:word", b""] {
        assert!(!accepts(other));
    }
}

#[test]
fn ed25519_verifies_the_third_vector_of_rfc_8032() {
    let key = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    let signature = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                     18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
    let key = Key::new(&Algorithm::Ed25519, &base16ct::lower::decode_vec(key).unwrap());
    let signature = Digest::from_slice(&base16ct::lower::decode_vec(signature).unwrap());
    let content = |bytes: &'static [u8]| -> Content<'static> { bytes.chunks(1).map(Into::into).collect() };
    assert!(key.accepts(std::slice::from_ref(&signature), &content(&[0xaf, 0x82])));
    assert!(!key.accepts(&[signature], &content(&[0xaf, 0x83])));
    assert!(key.sign(&content(&[0xaf, 0x82])).is_none(), "a public key cannot sign");
}

#[test]
fn debug_shows_nothing_of_the_key() {
    assert_eq!(format!("{:?}", Key::new(&Algorithm::Hmac(HmacHash::Sha1), b"canary")), "Key(redacted)");
    assert_eq!(format!("{:?}", Key::new(&Algorithm::Token, b"canary")), "Key(redacted)");
}

#[test]
fn the_length_of_a_digest_is_that_of_what_is_computed() {
    for hash in [HmacHash::Md5, HmacHash::Sha1, HmacHash::Sha256, HmacHash::Sha384, HmacHash::Sha512] {
        let algorithm = Algorithm::Hmac(hash);
        let digest = Key::new(&algorithm, b"key").sign(&smallvec![]).unwrap();
        assert_eq!(Some(digest.as_bytes().len()), signature_len(&algorithm));
    }
    assert_eq!(hash(Hash::Keccak256, []).as_bytes().len(), Hash::Keccak256.len());
}
