use xmpp_core::payload::{Payload, form::DataForm, rsm::ResultSet};

/// The names of XEP-0433.
pub mod channel_search {
    /// What a service announces, and the namespace of requests and results.
    pub const NS: &str = "urn:xmpp:channel-search:0:search";
    /// The type of the form.
    pub const PARAMS: &str = "urn:xmpp:channel-search:0:search-params";
    /// The namespace of errors.
    pub const ERROR: &str = "urn:xmpp:channel-search:0:error";
    /// Results by their number of users, the most first.
    pub const BY_USERS: &str = "{urn:xmpp:channel-search:0:order}nusers";
    /// Results by their addresses.
    pub const BY_ADDRESS: &str = "{urn:xmpp:channel-search:0:order}address";
    /// All occupants see all addresses.
    pub const NON_ANONYMOUS: &str = "{urn:xmpp:channel-search:0:anonymity}none";
    /// Moderators see addresses.
    pub const SEMI_ANONYMOUS: &str = "muc_semianonymous";
    /// The channels are rooms.
    pub const ROOMS: &str = "xep-0045";
}

/// Asks for rooms, or for the form by which rooms are asked for (XEP-0433 §4.2).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "search", ns = channel_search::NS)]
pub struct ChannelSearch {
    /// Which page.
    #[xml(child)]
    pub rsm: Option<ResultSet>,
    /// The form: to be filled in, or filled in.
    #[xml(child)]
    pub form: Option<DataForm>,
}

/// What was found.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "result", ns = channel_search::NS)]
pub struct ChannelResult {
    /// One after another.
    #[xml(children)]
    pub items: Vec<ChannelItem>,
    /// Which page this is.
    #[xml(child)]
    pub rsm: Option<ResultSet>,
}

/// A room, or another channel, that was found (XEP-0433 §6.2). All but the address may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "item", ns = channel_search::NS)]
pub struct ChannelItem {
    /// Its address.
    #[xml(attr)]
    pub address: String,
    /// Its name for people.
    #[xml(child_text = "name")]
    pub name: Option<String>,
    /// What it is about.
    #[xml(child_text = "description")]
    pub description: Option<String>,
    /// The language that is spoken in it.
    #[xml(child_text = "language")]
    pub language: Option<String>,
    /// How many are in it.
    #[xml(child_text = "nusers")]
    pub users: Option<String>,
    /// What it is: [`channel_search::ROOMS`], or something else.
    #[xml(child_text = "service-type")]
    pub service_type: Option<String>,
    /// Whether everybody may come in.
    #[xml(child)]
    pub is_open: Option<IsOpen>,
    /// Who sees addresses.
    #[xml(child_text = "anonymity-mode")]
    pub anonymity: Option<String>,
}

/// Everybody may come in, unless the text says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "is-open", ns = channel_search::NS)]
pub struct IsOpen {
    /// A boolean, or nothing, which is meant as `true`.
    #[xml(text)]
    pub text: String,
}

/// Too much is asked for (XEP-0433 §4.2.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "rate-limit", ns = channel_search::ERROR)]
pub struct RateLimit {
    /// After how many seconds it may be asked again.
    #[xml(attr = "retry-after")]
    pub retry_after: Option<u32>,
}

/// These fields do not go together (XEP-0433 §4.2.2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "conflicting-fields", ns = channel_search::ERROR)]
pub struct ConflictingFields {
    /// The fields.
    #[xml(child_text = "var")]
    pub vars: Vec<String>,
}
