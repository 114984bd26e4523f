//! Reuses the host of a delivery for the record of the next one, if both have the same.

use std::cell::RefCell;

use smol_str::SmolStr;

/// The host of the last delivery. Most deliveries of a route have the same host, so their records share one text. It stays in memory
/// until another one comes; nothing shows it.
#[derive(Debug, Default)]
pub struct LastHost(RefCell<SmolStr>);

impl LastHost {
    /// This host as text; `None` if it is not UTF-8. On a route a host is ASCII: others are refused before.
    pub fn of(&self, host: &[u8]) -> Option<SmolStr> {
        let mut last = self.0.borrow_mut();
        if last.as_bytes() != host {
            *last = SmolStr::new(str::from_utf8(host).ok()?);
        }
        Some(last.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_host_that_comes_again_is_not_copied() {
        let last = LastHost::default();
        for host in
            ["", "hooks.example.com", "hooks.a-subdomain-too-long-for-the-value.example.com", "hooks.example.com"]
        {
            let [first, second] = [(); 2].map(|()| last.of(host.as_bytes()).unwrap());
            assert_eq!((first.as_str(), second.as_str()), (host, host));
            assert_eq!(first.is_heap_allocated(), first.as_ptr() == second.as_ptr(), "{host}");
        }
        assert_eq!(last.of(b"\xff"), None);
        assert_eq!(last.of(b"hooks.example.com").as_deref(), Some("hooks.example.com"));
    }
}
