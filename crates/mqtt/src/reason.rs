//! Reason codes (MQTT 5, section 2.4) as types.

/// Why the application does not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishError {
    /// 0x80, no particular reason.
    Unspecified,
    /// 0x83, the broker's own reason.
    ImplementationSpecific,
    /// 0x87, the client may not publish there.
    NotAuthorized,
    /// 0x90, the topic has no meaning here.
    TopicNameInvalid,
    /// 0x97, no room now: the message may be sent again.
    QuotaExceeded,
    /// 0x99, the payload is not what the topic takes.
    PayloadFormatInvalid,
}

/// What MQTT 3.1.1, whose PUBACK cannot say no, gets in place of a reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum V3Answer {
    /// PUBACK: sending it again could never help.
    Acknowledge,
    /// No PUBACK: the client sends it again after its next connect.
    Silence,
    /// The connection is closed.
    Close,
}

impl PublishError {
    /// The reason code in an MQTT 5 PUBACK.
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0x80,
            Self::ImplementationSpecific => 0x83,
            Self::NotAuthorized => 0x87,
            Self::TopicNameInvalid => 0x90,
            Self::QuotaExceeded => 0x97,
            Self::PayloadFormatInvalid => 0x99,
        }
    }

    /// The error behind a reason code of a PUBACK; any other failure is unspecified.
    pub fn from_code(code: u8) -> Self {
        match code {
            0x83 => Self::ImplementationSpecific,
            0x87 => Self::NotAuthorized,
            0x90 => Self::TopicNameInvalid,
            0x97 => Self::QuotaExceeded,
            0x99 => Self::PayloadFormatInvalid,
            _ => Self::Unspecified,
        }
    }

    pub(crate) fn v3_answer(self) -> V3Answer {
        match self {
            Self::PayloadFormatInvalid | Self::TopicNameInvalid => V3Answer::Acknowledge,
            Self::QuotaExceeded | Self::Unspecified | Self::ImplementationSpecific => V3Answer::Silence,
            Self::NotAuthorized => V3Answer::Close,
        }
    }
}

/// Why a connection ends; the reason codes of DISCONNECT that are used here (section 3.14.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// 0x00.
    Normal,
    /// 0x04, a client that wants its will published all the same.
    WithWill,
    /// 0x81.
    MalformedPacket,
    /// 0x82.
    ProtocolError,
    /// 0x87.
    NotAuthorized,
    /// 0x8B.
    ShuttingDown,
    /// 0x8D.
    KeepAliveTimeout,
    /// 0x8E, the same client identifier connected again.
    TakenOver,
    /// 0x90.
    TopicNameInvalid,
    /// 0x93.
    ReceiveMaximumExceeded,
    /// 0x94.
    TopicAliasInvalid,
    /// 0x95.
    PacketTooLarge,
    /// 0x97.
    QuotaExceeded,
    /// 0x98.
    AdministrativeAction,
    /// 0x9B.
    QosNotSupported,
    /// Any other code.
    Other(u8),
}

impl DisconnectReason {
    /// The reason code on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::Normal => 0x00,
            Self::WithWill => 0x04,
            Self::MalformedPacket => 0x81,
            Self::ProtocolError => 0x82,
            Self::NotAuthorized => 0x87,
            Self::ShuttingDown => 0x8b,
            Self::KeepAliveTimeout => 0x8d,
            Self::TakenOver => 0x8e,
            Self::TopicNameInvalid => 0x90,
            Self::ReceiveMaximumExceeded => 0x93,
            Self::TopicAliasInvalid => 0x94,
            Self::PacketTooLarge => 0x95,
            Self::QuotaExceeded => 0x97,
            Self::AdministrativeAction => 0x98,
            Self::QosNotSupported => 0x9b,
            Self::Other(code) => code,
        }
    }

    /// The reason behind a code.
    pub fn from_code(code: u8) -> Self {
        const KNOWN: [DisconnectReason; 15] = [
            DisconnectReason::Normal,
            DisconnectReason::WithWill,
            DisconnectReason::MalformedPacket,
            DisconnectReason::ProtocolError,
            DisconnectReason::NotAuthorized,
            DisconnectReason::ShuttingDown,
            DisconnectReason::KeepAliveTimeout,
            DisconnectReason::TakenOver,
            DisconnectReason::TopicNameInvalid,
            DisconnectReason::ReceiveMaximumExceeded,
            DisconnectReason::TopicAliasInvalid,
            DisconnectReason::PacketTooLarge,
            DisconnectReason::QuotaExceeded,
            DisconnectReason::AdministrativeAction,
            DisconnectReason::QosNotSupported,
        ];
        KNOWN.into_iter().find(|reason| reason.code() == code).unwrap_or(Self::Other(code))
    }
}
