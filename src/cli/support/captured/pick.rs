//! Which request of a file is taken, if it has several: the one that the user asks for, else the newest `POST`.

use crate::schemes::parse_time;

/// What is known of a request of the file.
pub struct Candidate<'a> {
    /// Its method.
    pub method: &'a str,
    /// When it was sent, in RFC 3339, if the file says it. Without times, a later one is newer.
    pub at: Option<&'a str>,
}

/// The position of the request to take, and a note if there were others. `wanted` counts from 1.
///
/// # Errors
/// There is no request, or no such one.
pub fn pick<'a>(
    candidates: impl ExactSizeIterator<Item = Candidate<'a>>,
    wanted: Option<usize>,
) -> Result<(usize, Option<String>), String> {
    let count = candidates.len();
    if let Some(wanted) = wanted {
        return match wanted.checked_sub(1).filter(|at| *at < count) {
            Some(at) => Ok((at, Some(format!("it was taken as number {wanted} of {count} requests in the file")))),
            None => Err(format!("has {count} requests, and --entry asks for number {wanted}")),
        };
    }
    let newest = candidates.enumerate().max_by_key(|(_, candidate)| {
        (candidate.method.eq_ignore_ascii_case("post"), candidate.at.and_then(parse_time))
    });
    let Some((at, candidate)) = newest else { return Err("has no request".to_owned()) };
    let kind = if candidate.method.eq_ignore_ascii_case("post") { "newest POST" } else { "newest request" };
    let note = (count > 1).then(|| {
        format!("the file has {count} requests; the {kind} was taken, number {}: --entry N takes another", at + 1)
    });
    Ok((at, note))
}

/// Refuses `--entry` beyond the first for a format that has one request a file.
///
/// # Errors
/// Another than the first is wanted.
pub fn only_one(wanted: Option<usize>) -> Result<(), String> {
    match wanted {
        None | Some(1) => Ok(()),
        Some(wanted) => Err(format!("has one request, and --entry asks for number {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(candidates: &[(&str, Option<&str>)], wanted: Option<usize>) -> Result<(usize, Option<String>), String> {
        pick(candidates.iter().map(|(method, at)| Candidate { method, at: *at }), wanted)
    }

    #[test]
    fn the_newest_post_is_taken_unless_another_one_is_asked_for() {
        let [old, new] = ["2026-01-02T03:04:05.250+02:00", "2026-01-02T03:04:05Z"].map(Some);
        let four = [("POST", old), ("POST", new), ("POST", old), ("GET", Some("2027-01-01T00:00:00Z"))];
        let (at, note) = picked(&four, None).unwrap();
        assert_eq!(at, 1);
        assert!(note.unwrap().contains("4 requests; the newest POST was taken, number 2"));
        assert_eq!(picked(&four, Some(4)).unwrap().0, 3);
        for wanted in [0, 5, usize::MAX] {
            assert!(picked(&four, Some(wanted)).unwrap_err().contains("has 4 requests"));
        }
        assert_eq!(picked(&[("POST", None), ("POST", None), ("PUT", None)], None).unwrap().0, 1);
        let [late, early] = ["2026-01-31 12:00:01", "2026-01-31 12:00:00"].map(Some);
        assert_eq!(picked(&[("POST", late), ("POST", early)], None).unwrap().0, 0);
        assert_eq!(picked(&[("get", None)], None).unwrap(), (0, None));
        assert!(picked(&[], None).is_err() && picked(&[], Some(1)).is_err());
        assert!(only_one(Some(1)).is_ok() && only_one(None).is_ok() && only_one(Some(2)).is_err());
    }
}
