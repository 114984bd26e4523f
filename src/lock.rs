//! A lock that outlives a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic of another thread that had it. For values that are whole after each statement.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_value_can_be_locked_after_a_panic() {
        let value = Arc::new(Mutex::new(1));
        let other = value.clone();
        let panicked = std::thread::spawn(move || {
            let mut held = lock(&other);
            *held = 2;
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert_eq!(*lock(&value), 2);
    }
}
