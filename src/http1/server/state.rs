//! The states of a server's connection: what it waits for, and until when.
//!
//! [`next`] is the whole state machine; [README.md](https://github.com/hooklatch/hooklatch/blob/main/src/http1/README.md) has
//! it as a table, which a test compares with it. Two things end a connection in every state and are not part of it: an
//! invalid head, and the end of the connection.

use std::time::Duration;

/// While the server drains, how long a connection stays open on which no request, or only part of a head, has arrived: the
/// rest may be on its way.
pub const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The first byte of the first request.
    New,
    /// The first byte of another request.
    Idle,
    /// The rest of a request's head.
    Head,
    /// The rest of a request's head, or the first request, while the server drains.
    Draining,
    /// The response, or the client to read it.
    Response,
}

/// What happens on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An empty line arrived before a request line (RFC 9112 section 2.2).
    EmptyLine,
    /// The first byte of a request line arrived.
    HeadBegan,
    /// A request's head arrived completely.
    HeadComplete,
    /// The response is written completely.
    ResponseWritten,
    /// The system takes no more bytes of the response; sent again each time after it took some.
    WriteBlocked,
    /// The deadline passed.
    DeadlinePassed,
    /// The server drains.
    Drain,
}

/// When a state's deadline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Where it was.
    Unchanged,
    /// `header_timeout` from now.
    HeaderTimeout,
    /// `idle_timeout` from now.
    IdleTimeout,
    /// [`DRAIN_GRACE`] from now, or where it was if that is earlier.
    DrainGrace,
}

/// What an event leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The connection goes on in this state, until this deadline.
    Wait(State, Deadline),
    /// The connection ends.
    End(Ended),
}

/// Why a connection ends without an error of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Part of a head arrived, the rest not in time.
    HeadTimeout,
    /// No request arrived in time.
    IdleTimeout,
    /// The client did not read its response in time.
    WriteTimeout,
    /// The server drains.
    Drained,
}

/// What `event` leads to in `state`.
///
/// A first head has one deadline, from the connection's beginning; a later one has `header_timeout` from its first byte. An
/// event that a state cannot have changes nothing.
pub fn next(state: State, event: Event) -> Next {
    use Deadline::{DrainGrace, HeaderTimeout, IdleTimeout, Unchanged};
    use Next::{End, Wait};

    match (state, event) {
        (State::New, Event::EmptyLine | Event::HeadBegan) => Wait(State::Head, Unchanged),
        (State::New | State::Head, Event::Drain) => Wait(State::Draining, DrainGrace),
        (State::New, Event::DeadlinePassed) => End(Ended::IdleTimeout),

        (State::Idle, Event::HeadBegan) => Wait(State::Head, HeaderTimeout),
        (State::Idle, Event::DeadlinePassed) => End(Ended::IdleTimeout),
        (State::Idle, Event::Drain) => End(Ended::Drained),

        (State::Head, Event::DeadlinePassed) => End(Ended::HeadTimeout),
        (State::Draining, Event::DeadlinePassed) => End(Ended::Drained),
        (State::New | State::Idle | State::Head | State::Draining, Event::HeadComplete) => {
            Wait(State::Response, Unchanged)
        }

        (State::Response, Event::WriteBlocked) => Wait(State::Response, IdleTimeout),
        (State::Response, Event::ResponseWritten) => Wait(State::Idle, IdleTimeout),
        (State::Response, Event::DeadlinePassed) => End(Ended::WriteTimeout),

        (State::Idle, Event::EmptyLine)
        | (State::Head, Event::EmptyLine | Event::HeadBegan)
        | (State::Draining, Event::EmptyLine | Event::HeadBegan | Event::Drain)
        | (State::Response, Event::EmptyLine | Event::HeadBegan | Event::HeadComplete | Event::Drain)
        | (State::New | State::Idle | State::Head | State::Draining, Event::ResponseWritten | Event::WriteBlocked) => {
            Wait(state, Unchanged)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 5] = [State::New, State::Idle, State::Head, State::Draining, State::Response];
    const EVENTS: [Event; 7] = [
        Event::EmptyLine,
        Event::HeadBegan,
        Event::HeadComplete,
        Event::ResponseWritten,
        Event::WriteBlocked,
        Event::DeadlinePassed,
        Event::Drain,
    ];

    /// A cell of the table: the next state and its deadline, or the connection's end; empty if nothing changes.
    fn cell(state: State, event: Event) -> String {
        match next(state, event) {
            Next::End(ended) => format!(" ends: `{ended:?}`"),
            Next::Wait(next, Deadline::Unchanged) if next == state => String::new(),
            Next::Wait(next, Deadline::Unchanged) => format!(" `{next:?}`"),
            Next::Wait(next, Deadline::HeaderTimeout) => format!(" `{next:?}`, `header_timeout`"),
            Next::Wait(next, Deadline::IdleTimeout) => format!(" `{next:?}`, `idle_timeout`"),
            Next::Wait(next, Deadline::DrainGrace) => format!(" `{next:?}`, at most {DRAIN_GRACE:?}"),
        }
    }

    #[test]
    fn the_readme_has_the_servers_state_machine() {
        let columns: String = EVENTS.iter().map(|event| format!(" `{event:?}` |")).collect();
        let mut table = format!("| State |{columns}\n|{}\n", " --- |".repeat(EVENTS.len() + 1));
        for state in STATES {
            let cells: String = EVENTS.iter().map(|event| format!("{} |", cell(state, *event))).collect();
            table.push_str(&format!("| `{state:?}` |{cells}\n"));
        }
        assert!(include_str!("../README.md").contains(&table), "src/http1/README.md should have\n{table}");
    }

    #[test]
    fn a_connection_goes_through_its_states_in_this_order() {
        for (from, event, to) in [
            (State::New, Event::HeadBegan, State::Head),
            (State::Head, Event::HeadComplete, State::Response),
            (State::Response, Event::WriteBlocked, State::Response),
            (State::Response, Event::ResponseWritten, State::Idle),
            (State::Idle, Event::EmptyLine, State::Idle),
            (State::Idle, Event::HeadBegan, State::Head),
            (State::Head, Event::Drain, State::Draining),
            (State::Draining, Event::HeadComplete, State::Response),
        ] {
            assert!(matches!(next(from, event), Next::Wait(state, _) if state == to), "{from:?} {event:?}");
        }
    }

    #[test]
    fn only_a_deadline_and_draining_end_a_connection() {
        for state in STATES {
            for event in EVENTS.into_iter().filter(|event| !matches!(event, Event::DeadlinePassed | Event::Drain)) {
                assert!(matches!(next(state, event), Next::Wait(..)), "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn every_state_that_waits_for_the_client_ends_at_its_deadline() {
        for state in STATES {
            assert!(matches!(next(state, Event::DeadlinePassed), Next::End(_)), "{state:?}");
        }
    }
}
