//! The states of a client's connection: how far the request is written, how far the response is read, and what becomes of the
//! connection.
//!
//! The two go on independently: a server may answer before it has read the request, and may read the rest after its
//! response. [README.md](https://github.com/hooklatch/hooklatch/blob/main/src/http1/README.md) has both functions as tables,
//! which tests compare with them.

/// How far the request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// Bytes of it are still to be written.
    Writing,
    /// The system has all of it, or there is none.
    Written,
    /// The server takes no more of it: it has closed or reset its receiving side.
    Refused,
}

/// How far the response is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseState {
    /// Its head has not arrived, or only interim responses have.
    Awaited,
    /// Its head has arrived, its body not completely.
    Body,
    /// Its body has ended, or there is no response to wait for.
    Complete,
}

/// What happens to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestEvent {
    /// A request is sent on the connection.
    Sent,
    /// The system has taken its last byte.
    WriteDone,
    /// Writing failed with `EPIPE` or `ECONNRESET`. Other errors end the connection.
    WriteFailed,
}

/// What can become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The response is not complete.
    InUse,
    /// Another request can be sent on it, if it is persistent and nothing else has arrived.
    Reusable,
    /// The rest of the request must be written first.
    FinishRequest,
    /// It must be closed.
    Close,
}

/// What `event` leads to.
pub fn next(state: RequestState, event: RequestEvent) -> RequestState {
    match (state, event) {
        (RequestState::Written, RequestEvent::Sent) => RequestState::Writing,
        (RequestState::Writing, RequestEvent::WriteDone) => RequestState::Written,
        (RequestState::Writing, RequestEvent::WriteFailed) => RequestState::Refused,
        (RequestState::Writing | RequestState::Refused, RequestEvent::Sent)
        | (RequestState::Written | RequestState::Refused, RequestEvent::WriteDone | RequestEvent::WriteFailed) => state,
    }
}

/// What can become of a persistent connection in these states. One that is not persistent must be closed once its response is
/// complete.
pub fn disposition(request: RequestState, response: ResponseState) -> Disposition {
    match (response, request) {
        (ResponseState::Awaited | ResponseState::Body, _) => Disposition::InUse,
        (ResponseState::Complete, RequestState::Writing) => Disposition::FinishRequest,
        (ResponseState::Complete, RequestState::Written) => Disposition::Reusable,
        (ResponseState::Complete, RequestState::Refused) => Disposition::Close,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    const REQUEST: [RequestState; 3] = [RequestState::Writing, RequestState::Written, RequestState::Refused];
    const RESPONSE: [ResponseState; 3] = [ResponseState::Awaited, ResponseState::Body, ResponseState::Complete];
    const EVENTS: [RequestEvent; 3] = [RequestEvent::Sent, RequestEvent::WriteDone, RequestEvent::WriteFailed];

    fn table<S: Debug + Copy, C: Debug + Copy>(rows: [S; 3], columns: [C; 3], cell: impl Fn(S, C) -> String) -> String {
        let head: String = columns.iter().map(|column| format!(" `{column:?}` |")).collect();
        let mut table = format!("| State |{head}\n| --- | --- | --- | --- |\n");
        for row in rows {
            let cells: String = columns.iter().map(|column| format!("{} |", cell(row, *column))).collect();
            table.push_str(&format!("| `{row:?}` |{cells}\n"));
        }
        table
    }

    #[test]
    fn the_readme_has_the_clients_state_machine() {
        let requests = table(REQUEST, EVENTS, |state, event| match next(state, event) {
            next if next == state => String::new(),
            next => format!(" `{next:?}`"),
        });
        let dispositions =
            table(REQUEST, RESPONSE, |request, response| format!(" `{:?}`", disposition(request, response)));
        for table in [requests, dispositions] {
            assert!(include_str!("../README.md").contains(&table), "src/http1/README.md should have\n{table}");
        }
    }

    #[test]
    fn a_connection_is_reusable_only_after_the_whole_request_and_the_whole_response() {
        for request in REQUEST {
            for response in RESPONSE {
                let is_whole = (request, response) == (RequestState::Written, ResponseState::Complete);
                assert_eq!(
                    disposition(request, response) == Disposition::Reusable,
                    is_whole,
                    "{request:?} {response:?}"
                );
            }
        }
    }
}
