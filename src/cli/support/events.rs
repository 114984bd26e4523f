//! Server-sent events: reads the events of a stream as its bytes come (WHATWG HTML section 9.2).

use serde_json::Value;

/// The most bytes of one event. A longer one is dropped.
const MAX_EVENT: usize = 16 << 20;

/// An event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// Its type; `message` where none is named.
    pub kind: String,
    /// Its data.
    pub data: String,
}

/// Reads events.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    after_cr: bool,
    kind: String,
    data: Option<String>,
    too_long: bool,
    /// The last id that the stream named, for `Last-Event-ID`.
    pub last_id: Option<String>,
}

impl Events {
    /// Forgets what is incomplete, for a new connection.
    pub fn reconnected(&mut self) {
        *self = Self { last_id: self.last_id.take(), ..Self::default() };
    }

    /// The events that these bytes complete.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            let ends = match byte {
                b'\n' if self.after_cr => false,
                b'\n' | b'\r' => true,
                _ if self.line.len() < MAX_EVENT => {
                    self.line.push(*byte);
                    false
                }
                _ => {
                    self.too_long = true;
                    false
                }
            };
            self.after_cr = *byte == b'\r';
            if ends {
                let line = std::mem::take(&mut self.line);
                events.extend(self.end_of_line(&String::from_utf8_lossy(&line)));
            }
        }
        events
    }

    fn end_of_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            let data = self.data.take().filter(|_| !std::mem::take(&mut self.too_long))?;
            return Some(Event { kind: if kind.is_empty() { "message".to_owned() } else { kind }, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                let data = self.data.get_or_insert_default();
                if data.len() + value.len() > MAX_EVENT {
                    self.too_long = true;
                    return None;
                }
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            "id" if !value.contains('\0') => self.last_id = Some(value.to_owned()).filter(|id| !id.is_empty()),
            // A comment, or a field that does not matter here.
            _ => {}
        }
        None
    }
}

/// The summaries in the data of an event, which has one or several.
pub fn several(data: &Value) -> &[Value] {
    let several = data.get("deliveries").and_then(Value::as_array);
    several.map_or(std::slice::from_ref(data), Vec::as_slice)
}

/// How many deliveries the data of a `gap` says are left out, with a space behind; empty if it does not say.
pub fn left_out(data: &Value) -> String {
    data.get("count").and_then(Value::as_u64).map_or_else(String::new, |count| format!("{count} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> Event {
        Event { kind: kind.to_owned(), data: data.to_owned() }
    }

    const STREAM: &[u8] = b": hello\n\nid: 1\nevent: delivery\ndata: {\"a\":\ndata:1}\n\r\n\
        event:gap\rdata\r\rid\ndata: \xc3\xa9\n\nevent: unfinished\n";

    #[test]
    fn events_come_however_the_bytes_are_cut() {
        for size in 1..STREAM.len() {
            let mut events = Events::default();
            let found: Vec<Event> = STREAM.chunks(size).flat_map(|chunk| events.read(chunk)).collect();
            assert_eq!(found, [event("delivery", "{\"a\":\n1}"), event("gap", ""), event("message", "é")], "{size}");
            assert_eq!(events.last_id, None);
        }
    }

    #[test]
    fn the_last_id_outlives_a_connection_and_half_an_event_does_not() {
        let mut events = Events::default();
        events.read(b"id: 7\ndata: a\n\ndata: half");
        events.reconnected();
        assert_eq!(events.last_id.as_deref(), Some("7"));
        assert_eq!(events.read(b"data: b\n\n"), [event("message", "b")]);
    }

    #[test]
    fn an_event_that_is_too_long_is_dropped() {
        let mut events = Events::default();
        events.read(b"data: ");
        events.read(&vec![b'x'; MAX_EVENT + 10]);
        assert_eq!(events.read(b"\n\ndata: b\n\n"), [event("message", "b")]);
    }
}
