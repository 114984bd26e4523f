//! Bodies by `http1`'s decoder, and a runtime for hyper's connections in memory.

use std::cell::RefCell;
use std::future::Future;

use hooklatch::http1::body_length::BodyLength;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(Builder::new_current_thread().build().unwrap());
}

/// The data of a body that begins `bytes`, and how many of them are its own; `None` if it is invalid or incomplete.
pub fn body(bytes: &[u8], length: BodyLength) -> Option<(Vec<u8>, usize)> {
    match length {
        BodyLength::Close => Some((bytes.to_vec(), bytes.len())),
        BodyLength::Length(length) => {
            let length = usize::try_from(length).ok()?;
            Some((bytes.get(..length)?.to_vec(), length))
        }
        BodyLength::Chunked(mut decoder) => {
            let (mut data, mut at) = (Vec::new(), 0);
            loop {
                let (taken, next) = decoder.take(&bytes[at..])?;
                if decoder.is_in_data() {
                    data.extend_from_slice(&bytes[at..at + taken]);
                }
                at += taken;
                match next {
                    Some(next) => decoder = next,
                    None => return Some((data, at)),
                }
            }
        }
    }
}

/// Runs `work` to its end.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow(|runtime| runtime.block_on(work))
}

/// Field lines as pairs of a name in lower case and a value.
pub fn lines(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
