/// Who wrote the text, and so how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// An agent of the hotline, about a customer.
    Agent,
    /// A customer in a form on the web.
    Web,
    /// A customer by SMS, in haste.
    Sms,
    /// A customer in Cantonese.
    Cantonese,
}

impl Voice {
    pub(super) const WITH_WEIGHT: [(Voice, u32); 4] = [(Voice::Agent, 50), (Voice::Web, 22), (Voice::Sms, 18), (Voice::Cantonese, 10)];

    /// Its part in the names of rules.
    pub(super) const fn name_zh(self) -> &'static str {
        match self {
            Voice::Agent => "客服",
            Voice::Web => "网页",
            Voice::Sms => "短信",
            Voice::Cantonese => "粤语",
        }
    }

    /// How the customer is called; one of these throughout a text.
    pub(super) const fn pronouns(self) -> &'static [&'static str] {
        match self {
            Voice::Agent => &["客户", "用户", "机主", "客户本人", "其"],
            Voice::Web => &["我", "我", "我", "本人"],
            Voice::Sms | Voice::Cantonese => &["我"],
        }
    }

    /// The share of texts with a wrong character or more.
    pub(super) const fn misspelt_percent(self) -> u32 {
        match self {
            Voice::Agent => 8,
            Voice::Web => 28,
            Voice::Sms => 45,
            Voice::Cantonese => 20,
        }
    }
}
