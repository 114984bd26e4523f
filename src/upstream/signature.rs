//! Signs what goes to a handler, by Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): so a handler checks one
//! scheme, whatever the provider, and an attempt that comes late is not stale.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::config::{SIGN_HEADERS, Sign};
use crate::http1::client::request::Head;
use crate::http1::payload::Payload;

/// The keys with which a route's messages are signed, one signature for each.
pub struct MessageSigner(Vec<Hmac<Sha256>>);

impl MessageSigner {
    /// With the secrets of `sign`.
    pub fn new(sign: &Sign) -> Self {
        let keys = sign.secrets.iter().map(|secret| Hmac::new_from_slice(secret.expose()));
        Self(keys.map(|key| key.expect("HMAC takes a key of any length")).collect())
    }

    /// Writes `webhook-id`, `webhook-timestamp` and `webhook-signature` for a message that is sent at `now`, the time since
    /// 1970-01-01T00:00:00Z.
    pub fn write(&self, head: &mut Head, id: Uuid, now: Duration, payload: &Payload) {
        let (id, timestamp) = (id.to_string(), now.as_secs().to_string());
        let signatures: Vec<String> =
            self.0.iter().map(|key| signature(key.clone(), &id, &timestamp, payload)).collect();
        let [id_name, timestamp_name, signature_name] = &SIGN_HEADERS;
        head.text_line(id_name.as_str(), &id);
        head.text_line(timestamp_name.as_str(), &timestamp);
        head.text_line(signature_name.as_str(), &signatures.join(" "));
    }
}

/// The signature of version 1: an HMAC-SHA256 over `id.timestamp.body`.
fn signature(mut mac: Hmac<Sha256>, id: &str, timestamp: &str, payload: &Payload) -> String {
    for part in [id, ".", timestamp, "."] {
        mac.update(part.as_bytes());
    }
    payload.frames().iter().for_each(|frame| mac.update(frame));
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::schemes::Secret;

    #[test]
    fn a_message_has_a_signature_for_each_secret_as_the_specification_has_it() {
        // The example of the specification's reference libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let payload = Payload::from(Bytes::from_static(br#"{"test": 2432232314}"#));
        let mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(mac, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", &payload), expected);

        let signer = MessageSigner::new(&Sign { secrets: vec![Secret::from(secret), Secret::from(b"other".to_vec())] });
        let mut head = Head::default();
        signer.write(&mut head, Uuid::nil(), Duration::from_millis(1_614_265_330_999), &payload);
        let text = String::from_utf8(head.bytes().to_vec()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["webhook-id: 00000000-0000-0000-0000-000000000000", "webhook-timestamp: 1614265330"]);
        assert_eq!(lines[2].matches("v1,").count(), 2);
    }
}
