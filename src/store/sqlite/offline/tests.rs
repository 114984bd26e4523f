//! A database beside the gateway.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::lock::lock;
use crate::store::backend::{Backend as _, Write};
use crate::store::sqlite::Sqlite;
use crate::store::tests::{KEEP, NOW, accept, clock, delivery, id, open_sqlite};
use crate::store::types::{Delivery, State};

#[test]
fn a_backup_is_a_database_of_its_own_and_checks() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    store.commit(&[accept(0, None), accept(1, None)], NOW, &mut |_| ()).unwrap();
    let is_whole = |_, head: &[u8], body: Bytes| head == b"head" && body.starts_with(b"body ");
    assert_eq!(check(folder.path(), is_whole).unwrap(), Checked { deliveries: 2, ..Checked::default() });
    let is_one = |this, _: &[u8], _| this == id(1);
    assert_eq!(check(folder.path(), is_one).unwrap().changed, [id(0)]);
    let parent = TempDir::new().unwrap();
    let to = parent.path().join("made/copy");
    let copy = backup(folder.path(), &to).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&copy), mode(&to)), (0o600, 0o700));
    assert!(backup(folder.path(), &to).is_err(), "it overwrites nothing");
    store.commit(&[accept(2, None)], NOW, &mut |_| ()).unwrap();
    let copied = Sqlite::open_unlocked(&to, KEEP, clock());
    assert!(copied.reader().unwrap().get(id(1)).unwrap().is_some());
    assert!(copied.reader().unwrap().get(id(2)).unwrap().is_none());
}

#[test]
fn recovering_saves_what_can_be_read_of_a_damaged_database_and_keeps_the_damaged_files() {
    let folder = TempDir::new().unwrap();
    let mut store = open_sqlite(&folder);
    for number in 0..200 {
        let body = Some(vec![b'b'; 5_000].into());
        let delivery = Box::new(Delivery { body, ..delivery(number, State::Pending) });
        let write = Write::Accept { delivery, key: None, destinations: 1, claim: false };
        store.commit(&[write], NOW, &mut |_| ()).unwrap();
    }
    store.close().unwrap();
    drop(store);
    let database = folder.path().join("hooklatch.db");
    let mut bytes = std::fs::read(&database).unwrap();
    let middle = bytes.len() / 2 / 16_384 * 16_384;
    bytes[middle..middle + 16_384].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    assert!(!check(folder.path(), |_, _, _| true).unwrap().problems.is_empty());

    let recovered = recover(folder.path(), ".damaged-1").unwrap();
    assert!(recovered.deliveries > 150, "{recovered:?}");
    assert_eq!(std::fs::read(folder.path().join("hooklatch.db.damaged-1")).unwrap(), bytes);
    assert!(check(folder.path(), |_, _, _| true).unwrap().problems.is_empty());
    let store = open_sqlite(&folder);
    let counted: u64 = lock(&store.book).counts.values().sum();
    assert_eq!(counted, recovered.deliveries);
}
