//! What may be asked for.

use crate::Error;
use crate::pattern::Pattern;
use crate::variable::Variables;

/// What may be asked for: the actions of AWS IoT Core's data plane that are served on site (IoT, "AWS IoT
/// Core policy actions").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A CONNECT, on a client.
    Connect,
    /// A PUBLISH, on a topic.
    Publish,
    /// A PUBLISH with RETAIN, on a topic; [`Action::Publish`] is needed beside it.
    RetainPublish,
    /// A SUBSCRIBE, on a topic filter.
    Subscribe,
    /// A message that is about to be delivered, on its topic.
    Receive,
    /// Reading one retained message by HTTP, on its topic.
    GetRetainedMessage,
    /// Listing retained messages by HTTP, on [`crate::Resource::RetainedMessages`].
    ListRetainedMessages,
    /// Reading a shadow by HTTP, on a thing.
    GetThingShadow,
    /// Changing a shadow by HTTP, on a thing.
    UpdateThingShadow,
    /// Deleting a shadow by HTTP, on a thing.
    DeleteThingShadow,
    /// Listing a thing's named shadows by HTTP, on the thing.
    ListNamedShadowsForThing,
    /// Throwing a connection off by HTTP, on a client.
    DeleteConnection,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Connect,
        Self::Publish,
        Self::RetainPublish,
        Self::Subscribe,
        Self::Receive,
        Self::GetRetainedMessage,
        Self::ListRetainedMessages,
        Self::GetThingShadow,
        Self::UpdateThingShadow,
        Self::DeleteThingShadow,
        Self::ListNamedShadowsForThing,
        Self::DeleteConnection,
    ];

    /// As it stands in documents, such as `iot:Publish`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "iot:Connect",
            Self::Publish => "iot:Publish",
            Self::RetainPublish => "iot:RetainPublish",
            Self::Subscribe => "iot:Subscribe",
            Self::Receive => "iot:Receive",
            Self::GetRetainedMessage => "iot:GetRetainedMessage",
            Self::ListRetainedMessages => "iot:ListRetainedMessages",
            Self::GetThingShadow => "iot:GetThingShadow",
            Self::UpdateThingShadow => "iot:UpdateThingShadow",
            Self::DeleteThingShadow => "iot:DeleteThingShadow",
            Self::ListNamedShadowsForThing => "iot:ListNamedShadowsForThing",
            Self::DeleteConnection => "iot:DeleteConnection",
        }
    }
}

/// The actions that the patterns of a statement select. They are few, so they are matched once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Actions(u16);

impl Actions {
    /// From a statement's `Action`. Other services' actions (`iotjobsdata:*`) are taken and select nothing:
    /// documents written for AWS have them. One of `iot:` that selects nothing is refused, for in a Deny a
    /// misspelt word would be silent.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, Error> {
        let mut actions = Self::default();
        for text in texts {
            actions.0 |= Self::select(text)?;
        }
        Ok(actions)
    }

    fn select(text: &str) -> Result<u16, Error> {
        let refused = || Error::Action { action: text.to_owned() };
        let lower = text.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*?:-".contains(&byte);
        if !lower.bytes().all(plain) || (lower != "*" && lower.matches(':').count() != 1) {
            return Err(refused());
        }
        let pattern = Pattern::parse(&lower)?;
        let nobody = Variables::default();
        let matches = |action: &Action| pattern.matches(&action.name().to_ascii_lowercase(), &nobody, false);
        let selected =
            Action::ALL.iter().filter(|action| matches(action)).fold(0, |all, action| all | bit(*action));
        if selected == 0
            && lower.starts_with("iot:")
            && !ELSEWHERE.iter().any(|name| pattern.matches(name, &nobody, false))
        {
            return Err(Error::UnknownAction { action: text.to_owned() });
        }
        Ok(selected)
    }

    pub(crate) fn contains(self, action: Action) -> bool {
        self.0 & bit(action) != 0
    }
}

/// Actions of AWS IoT that devices' policies hold and that nothing on site asks for; in lower case.
const ELSEWHERE: [&str; 2] = ["iot:assumerolewithcertificate", "iot:connectattach"];

fn bit(action: Action) -> u16 {
    1 << action as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(text: &str) -> Result<Vec<&'static str>, Error> {
        let actions = Actions::parse(&[text.to_owned()])?;
        Ok(Action::ALL.into_iter().filter(|action| actions.contains(*action)).map(Action::name).collect())
    }

    #[test]
    fn patterns_select_actions_whatever_their_case() {
        assert_eq!(selected("*").unwrap().len(), Action::ALL.len());
        assert_eq!(selected("iot:*").unwrap().len(), Action::ALL.len());
        assert_eq!(selected("iot:Get*").unwrap(), ["iot:GetRetainedMessage", "iot:GetThingShadow"]);
        assert_eq!(selected("IOT:publish").unwrap(), ["iot:Publish"]);
        assert_eq!(selected("iot:*Publish").unwrap(), ["iot:Publish", "iot:RetainPublish"]);
        assert_eq!(selected("iot:?ublish").unwrap(), ["iot:Publish"]);
        assert_eq!(selected("iotjobsdata:*").unwrap(), [""; 0]);
        assert_eq!(selected("iot:AssumeRoleWithCertificate").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_action_is_refused() {
        for text in ["", "Publish", "iot:Publsh", "iot:", "iot:Pub lish", "iot:${*}", "a:b:c"] {
            assert!(selected(text).is_err(), "{text}");
        }
    }
}
