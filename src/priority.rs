//! Threads that give way to those that handle deliveries.

/// How nice such a thread is: it gets about a tenth of a core that others want as well.
const NICE: i32 = 10;

/// Has the calling thread give way, and those that it starts from then on. Elsewhere than on Linux a process has only one
/// priority for all its threads, and this does nothing (`nice(2)` of Linux, "C library/kernel differences").
pub fn give_way() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(NICE)
    {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_way_changes_nothing_for_others() {
        let nice = || rustix::process::nice(0).unwrap();
        let before = nice();
        let of_thread = std::thread::spawn(move || {
            give_way();
            nice()
        });
        let expected = if cfg!(target_os = "linux") { (before + NICE).min(19) } else { before };
        assert_eq!((of_thread.join().unwrap(), nice()), (expected, before));
    }
}
