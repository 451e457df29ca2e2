//! Topic aliases that a client sets (MQTT 5, section 3.3.2.3.4). Pure.

use std::sync::Arc;

use crate::DisconnectReason;

/// What each alias of a connection stands for; they end with it ([MQTT-3.3.2-7]).
#[derive(Debug, Default)]
pub(super) struct Aliases {
    topics: Vec<Option<Arc<str>>>,
}

impl Aliases {
    /// The topic of a publish with an alias; a topic that is not empty is what it stands for from now on.
    ///
    /// # Errors
    /// `TopicAliasInvalid` for 0 and beyond `maximum` ([MQTT-3.3.2-8], [MQTT-3.3.2-9]), `ProtocolError` for one
    /// that has not been set.
    pub(super) fn resolve(
        &mut self,
        alias: u16,
        topic: &str,
        maximum: u16,
    ) -> Result<Arc<str>, DisconnectReason> {
        if alias == 0 || alias > maximum {
            return Err(DisconnectReason::TopicAliasInvalid);
        }
        if self.topics.is_empty() {
            self.topics.resize(usize::from(maximum), None);
        }
        let known = self.topics.get_mut(usize::from(alias) - 1).ok_or(DisconnectReason::TopicAliasInvalid)?;
        if !topic.is_empty() && known.as_deref() != Some(topic) {
            *known = Some(Arc::from(topic));
        }
        known.clone().ok_or(DisconnectReason::ProtocolError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_the_last_topic_that_it_came_with() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.resolve(2, "", 2), Err(DisconnectReason::ProtocolError));
        for topic in ["a", "b"] {
            assert_eq!(aliases.resolve(2, topic, 2).as_deref(), Ok(topic));
            assert_eq!(aliases.resolve(2, "", 2).as_deref(), Ok(topic));
        }
        assert_eq!(aliases.resolve(1, "", 2), Err(DisconnectReason::ProtocolError));
    }

    #[test]
    fn mqtt_3_3_2_8_and_9_an_alias_is_between_1_and_the_maximum() {
        for (alias, maximum) in [(0, 2), (3, 2), (1, 0)] {
            let found = Aliases::default().resolve(alias, "a", maximum);
            assert_eq!(found, Err(DisconnectReason::TopicAliasInvalid), "{alias} of {maximum}");
        }
    }
}
