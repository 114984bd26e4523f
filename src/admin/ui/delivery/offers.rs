//! What can be done with a delivery.

use super::reasons::Why;
use crate::acts::Refused;
use crate::acts::replay::{lacks_a_part, sent_once};
use crate::admin::api::detail::Found;
use crate::admin::api::recorded::RecordedRequest;
use crate::admin::ui::acts::{DISCARD, ERASE, Question, REPLAY};
use crate::admin::ui::view::shown;
use crate::queue::state::DISCARDED_FROM;
use crate::store::State;

/// What can be done.
pub struct Offers {
    /// Why it cannot be sent again; empty if it can.
    pub no_replay: String,
    /// Whether it can be taken out of the queue.
    pub discard: bool,
    /// Whether there is something to overwrite.
    pub erase: bool,
    /// Whether it can be written for other programs.
    pub export: bool,
    /// Whether there is a body.
    pub download: bool,
}

impl Offers {
    /// What can be done with a delivery.
    pub fn of(found: &Found, request: Option<&RecordedRequest>, why: &Why) -> Self {
        let delivery = &found.stored.delivery;
        let verifies = matches!(why, Why::Explained(explained) if explained.is_accepted);
        let no_replay = match sent_once(delivery.state) {
            Err(refused) => shown(&refused.to_string()),
            Ok(_) if delivery.state == State::Refused && !verifies => match why {
                Why::NotKept { .. } => Refused::NoBody.to_string(),
                Why::Long => "whether it verifies is not known yet".to_owned(),
                Why::Not(text) => text.clone(),
                Why::NotAsked | Why::Explained(_) => "it does not verify".to_owned(),
            },
            Ok(_) if delivery.state == State::Refused => String::new(),
            Ok(once) if delivery.head.is_empty() || (once && (lacks_a_part(delivery) || found.is_body_cut())) => {
                Refused::NoBody.to_string()
            }
            Ok(_) => String::new(),
        };
        Self {
            no_replay,
            discard: DISCARDED_FROM.contains(&delivery.state),
            erase: delivery.state != State::Erased,
            export: request.is_some() && found.body.is_some(),
            download: found.body.is_some(),
        }
    }

    /// The questions before what can be done.
    pub fn questions(&self) -> Vec<&'static Question> {
        let all = [(self.no_replay.is_empty(), &REPLAY), (self.discard, &DISCARD), (self.erase, &ERASE)];
        all.into_iter().filter_map(|(offered, question)| offered.then_some(question)).collect()
    }
}
