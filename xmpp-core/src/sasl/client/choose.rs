//! Which mechanism a client uses (RFC 6120 §6.3.3, XEP-0440 §3).

use zeroize::Zeroizing;

use super::super::scram::ScramKeys;
use super::super::{BindingType, ChannelBindings, Hash, Mechanism};
use super::scram::{Binding, ScramClient};
use super::{ChooseError, ClientPolicy, Credentials, Run};

/// What a server has announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The names of `<mechanisms/>`, also those that nobody here knows: they count for XEP-0474.
    pub mechanisms: Vec<String>,
    /// The types of `<sasl-channel-binding/>` (XEP-0440), `None` if it wasn't there.
    pub bindings: Option<Vec<String>>,
    /// Whether it is the offer of SASL2 (XEP-0388), for which XEP-0440 §4 is stricter.
    pub sasl2: bool,
}

impl Offer {
    fn has(&self, name: &str) -> bool {
        self.mechanisms.iter().any(|offered| offered == name)
    }

    fn offers(&self, mechanism: Mechanism) -> bool {
        self.has(mechanism.name())
    }

    fn any_plus(&self) -> bool {
        self.mechanisms.iter().any(|name| name.ends_with("-PLUS"))
    }

    fn none_common(&self) -> ChooseError {
        ChooseError::NoCommonMechanism { offered: self.mechanisms.clone() }
    }
}

pub(super) fn choose(
    offer: &Offer,
    credentials: Credentials,
    bindings: &ChannelBindings,
    secured: bool,
    policy: &ClientPolicy,
) -> Result<Run, ChooseError> {
    let run = match credentials {
        Credentials::Password { username, password, cached } => match choose_scram(offer, bindings, &Hash::ALL)? {
            Some((mechanism, binding)) => {
                let binding = (binding, bindings.tls_version);
                scram(offer, policy, mechanism, binding, username, Some(password), cached)
            }
            None if !offer.offers(Mechanism::Plain) || scram_on_offer(offer) => return Err(offer.none_common()),
            None if !secured || !policy.plain => return Err(ChooseError::PlainRefused),
            None => Run::Plain { username, password },
        },
        Credentials::Keys { username, keys } => match choose_scram(offer, bindings, &[keys.hash])? {
            Some((mechanism, binding)) => {
                let binding = (binding, bindings.tls_version);
                scram(offer, policy, mechanism, binding, username, None, Some(keys))
            }
            None => return Err(offer.none_common()),
        },
        Credentials::External if offer.offers(Mechanism::External) => Run::External,
        Credentials::Anonymous { trace } if offer.offers(Mechanism::Anonymous) => Run::Anonymous(trace),
        Credentials::Custom(custom) if offer.has(custom.name()) => Run::Custom(custom),
        Credentials::External | Credentials::Anonymous { .. } | Credentials::Custom(_) => {
            return Err(offer.none_common());
        }
    };
    match (policy.floor, run.mechanism()) {
        (Some(floor), Some(best)) if best < floor => Err(ChooseError::Downgrade { floor, best }),
        _ => Ok(run),
    }
}

fn scram(
    offer: &Offer,
    policy: &ClientPolicy,
    mechanism: Mechanism,
    binding: (Binding, Option<u16>),
    username: String,
    password: Option<Zeroizing<String>>,
    cached: Option<ScramKeys>,
) -> Run {
    Run::Scram(Box::new(ScramClient::new(
        mechanism,
        binding,
        offer.clone(),
        policy.iterations.clone(),
        username,
        password,
        cached,
    )))
}

/// A server that can do SCRAM with us, bound or not, has no reason to get the password.
fn scram_on_offer(offer: &Offer) -> bool {
    offer.mechanisms.iter().filter_map(|name| Mechanism::from_name(name)).any(|mechanism| mechanism.hash().is_some())
}

fn choose_scram(
    offer: &Offer,
    bindings: &ChannelBindings,
    hashes: &[Hash],
) -> Result<Option<(Mechanism, Binding)>, ChooseError> {
    let best = |plus| hashes.iter().map(|hash| Mechanism::scram(*hash, plus)).find(|best| offer.offers(*best));
    if bindings.is_empty() {
        return Ok(best(false).map(|mechanism| (mechanism, Binding::Unsupported)));
    }
    if !offer.any_plus() {
        // Types without a mechanism that uses them: the mechanisms were removed on the way.
        return match &offer.bindings {
            Some(types) if !types.is_empty() && scram_on_offer(offer) => Err(ChooseError::ContradictoryBindings),
            _ => Ok(best(false).map(|mechanism| (mechanism, Binding::NotOffered))),
        };
    }
    if offer.sasl2 && offer.bindings.as_ref().is_none_or(Vec::is_empty) {
        // Mechanisms without a type that they could use: the types were removed on the way.
        return Err(ChooseError::ContradictoryBindings);
    }
    let announced = |binding: &BindingType| match &offer.bindings {
        // Servers from before XEP-0440 know tls-unique alone, which TLS 1.3 does not have, and answer any other type
        // as they answer a wrong password. An account that was ever bound keeps that as its floor.
        None => false,
        Some(types) => types.iter().any(|name| name == binding.name()),
    };
    match (bindings.types().into_iter().find(announced), best(true)) {
        (Some(binding), Some(mechanism)) => {
            let data = bindings.get(binding).unwrap_or_default().to_vec();
            Ok(Some((mechanism, Binding::Bound { binding, data })))
        }
        // PLUS is there, but not with our hash: `y` would be a lie that the server punishes.
        (Some(_), None) => Ok(best(false).map(|mechanism| (mechanism, Binding::Unsupported))),
        // Nothing shared. Every server has tls-server-end-point, so a list without it is suspect until the server has
        // vouched for it.
        (None, _) => {
            let suspect = offer.bindings.is_some() && !announced(&BindingType::TlsServerEndPoint);
            let binding = if suspect { Binding::Suspect } else { Binding::Unsupported };
            Ok(best(false).map(|mechanism| (mechanism, binding)))
        }
    }
}
