use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::Context;

use http_body::{Frame, SizeHint};
use prometheus::IntGauge;
use proptest::prelude::*;

use super::*;
use crate::routing::limits::RouteLimits;

/// A body in pieces, with or without a known length.
struct Pieces {
    pieces: VecDeque<Bytes>,
    length: Option<u64>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn pieces(sizes: &[usize], known: bool) -> Pieces {
    let pieces = sizes.iter().enumerate().map(|(at, size)| Bytes::from(vec![at as u8; *size])).collect();
    Pieces { pieces, length: known.then(|| sizes.iter().sum::<usize>() as u64) }
}

async fn collect(body: Pieces, max: u64, held: Reservation) -> Result<Payload, Reject> {
    Collector::new(body, max, held)?.await
}

/// What a body of such pieces comes to, and the bytes that are counted for it.
async fn read(sizes: &[usize], known: bool, max: u64, limit: u64) -> (Result<Payload, Reject>, i64) {
    let gauge = IntGauge::new("held", "held").unwrap();
    let held = Budget::new(gauge.clone(), limit).open(&RouteLimits::for_tests());
    let read = collect(pieces(sizes, known), max, held).await;
    let held = gauge.get();
    (read, held)
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit_and_not_a_byte_longer() {
    for (length, fits) in [(0, true), (9, true), (10, true), (11, false)] {
        for known in [true, false] {
            let (read, _) = read(&[length], known, 10, 1 << 20).await;
            let expected = if fits { Ok(length as u64) } else { Err(Reject::BodyTooLarge) };
            assert_eq!(read.map(|payload| payload.len()), expected);
        }
    }
}

#[tokio::test]
async fn a_body_of_known_length_counts_with_its_length_from_the_start() {
    let mut held = Budget::new(IntGauge::new("held", "held").unwrap(), 199_999).open(&RouteLimits::for_tests());
    held.grow_to(1).unwrap();
    let nothing = Pieces { pieces: VecDeque::new(), length: Some(200_000) };
    assert!(matches!(collect(nothing, 1 << 20, held).await, Err(Reject::Overloaded)));
    let (read, held) = read(&[100_000, 100_000], true, 1 << 20, 200_000).await;
    assert_eq!((read.map(|payload| payload.len()), held), (Ok(200_000), 200_000));
}

#[tokio::test]
async fn a_body_of_unknown_length_counts_as_it_grows() {
    let (one, held) = read(&[3000], false, 1 << 20, 1 << 20).await;
    assert_eq!((one.map(|payload| payload.len()), held), (Ok(3000), 3000));
    let (over, held) = read(&[50_000, 50_000, 50_000], false, 1 << 20, 149_999).await;
    assert!(matches!(over, Err(Reject::Overloaded)));
    assert_eq!(held, 0, "given back");
}

#[tokio::test]
async fn single_bytes_are_held_as_single_bytes_not_as_the_buffers_that_they_came_in() {
    for known in [true, false] {
        let (read, held) = read(&[1; 40_000], known, 1 << 20, 1 << 20).await;
        let payload = read.unwrap();
        assert_eq!(payload.len(), 40_000);
        assert!(payload.frames().len() <= 10, "{} pieces", payload.frames().len());
        assert!((40_000..=40_000 + BLOCK as i64).contains(&held), "{held}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_in_time_is_refused() {
    let mut never = std::future::pending::<Result<(), Reject>>();
    assert_eq!(within(Duration::from_secs(10), &mut never).await, Err(Reject::BodyTimeout));
}

proptest! {
    #[test]
    fn whatever_the_pieces_the_bytes_are_the_same_and_all_are_counted(
        sizes in prop::collection::vec(prop_oneof![0usize..4, 0usize..20_000, 47_000usize..70_000], 0..12),
        known: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (read, held) = runtime.block_on(read(&sizes, known, 1 << 20, 1 << 30));
        let payload = read.map_err(|reject| TestCaseError::fail(reject.reason()))?;
        let expected: Vec<u8> = sizes.iter().enumerate().flat_map(|(at, size)| vec![at as u8; *size]).collect();
        prop_assert_eq!(payload.frames().concat(), &expected[..]);
        prop_assert_eq!(payload.len(), expected.len() as u64);
        prop_assert!(held >= expected.len() as i64 && held <= (expected.len() + BLOCK) as i64);
    }
}
