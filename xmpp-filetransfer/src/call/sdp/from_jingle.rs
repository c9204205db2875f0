//! From elements to lines.

use super::{Direction, SdpError};
use crate::{
    call::{Candidate, Feedback, FeedbackInterval, Group, IceTransport, Parameter, PayloadType, RtpDescription},
    jingle::Content,
};
use std::collections::HashSet;
use xmpp_core::payload::{Payload, TextValue};

/// Maps the contents of a session to an offer or an answer. `session` is the number of the session in SDP, digits that stay
/// the same for as long as it lasts.
///
/// # Errors
/// [`SdpError::NotRtp`] for a content that is not RTP over ICE, [`SdpError::Unspeakable`] for what cannot stand in a line.
pub fn from_jingle(
    contents: &[Content],
    groups: &[Group],
    session: &str,
    direction: Direction,
) -> Result<String, SdpError> {
    if session.is_empty() || !session.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SdpError::Unspeakable("the number of the session"));
    }
    let mut out = Lines(format!("v=0\r\no=- {session} 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"));
    for group in groups {
        let mut words = vec![word(&group.semantics, "a group")?];
        for member in &group.members {
            words.push(word(&member.name, "a content's name")?);
        }
        out.line(format_args!("a=group:{}", words.join(" ")));
    }
    let mut names = HashSet::new();
    for content in contents {
        // Both ends may have made one of this name; in SDP there is nothing to tell them apart.
        if !names.insert(&content.id.name) {
            return Err(SdpError::Unspeakable("two contents of one name"));
        }
        let name = || content.id.name.clone();
        let description = content.description.as_ref().and_then(|it| RtpDescription::read(it.root()).ok());
        let transport = content.transport.as_ref().and_then(|it| IceTransport::read(it.root()).ok());
        let (description, transport) = description.zip(transport).ok_or_else(|| SdpError::NotRtp(name()))?;
        media(content, &description, &transport, direction, &mut out)?;
    }
    Ok(out.0)
}

struct Lines(String);

impl Lines {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        use std::fmt::Write as _;
        // Writing into a String does not fail.
        let _ = write!(self.0, "{text}\r\n");
    }
}

/// A word that stands between blanks.
fn word<'a>(text: &'a str, what: &'static str) -> Result<&'a str, SdpError> {
    let fits = !text.is_empty() && text.chars().all(|char| !char.is_control() && !char.is_whitespace());
    if fits { Ok(text) } else { Err(SdpError::Unspeakable(what)) }
}

/// Whether nobody takes anything in it for the end of a line.
fn is_one_line(text: &str) -> bool {
    text.chars().all(|char| !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}'))
}

/// What stands to the end of a line.
fn rest<'a>(text: &'a str, what: &'static str) -> Result<&'a str, SdpError> {
    let text = text.trim();
    if !text.is_empty() && is_one_line(text) { Ok(text) } else { Err(SdpError::Unspeakable(what)) }
}

fn media(
    content: &Content,
    description: &RtpDescription,
    transport: &IceTransport,
    direction: Direction,
    out: &mut Lines,
) -> Result<(), SdpError> {
    let secure = !transport.fingerprints.is_empty();
    let encrypted = description.encryption.as_ref().is_some_and(|encryption| !encryption.crypto.is_empty());
    let talks_back = description.feedback_interval.is_some()
        || !description.feedback.is_empty()
        || description.payload_types.iter().any(|it| !it.feedback.is_empty() || it.feedback_interval.is_some());
    let profile = match (secure, encrypted, talks_back) {
        // WebRTC says so, whatever feedback there is (RFC 8829 §5.1.2).
        (true, _, _) => "UDP/TLS/RTP/SAVPF",
        (false, true, true) => "RTP/SAVPF",
        (false, true, false) => "RTP/SAVP",
        (false, false, true) => "RTP/AVPF",
        (false, false, false) => "RTP/AVP",
    };
    let formats: Vec<_> = description.payload_types.iter().map(|it| it.id.to_string()).collect();
    out.line(format_args!("m={} 9 {profile} {}", word(&description.media, "a medium")?, formats.join(" ")));
    out.line(format_args!("c=IN IP4 0.0.0.0"));
    if let Some(bandwidth) = &description.bandwidth {
        let (type_, value) = (word(&bandwidth.type_, "a bandwidth")?, word(bandwidth.value.trim(), "a bandwidth")?);
        out.line(format_args!("b={type_}:{value}"));
    }
    out.line(format_args!("a=mid:{}", word(&content.id.name, "a content's name")?));
    out.line(format_args!("a={}", direction.word(content.senders.unwrap_or_default())));
    if description.rtcp_mux {
        out.line(format_args!("a=rtcp-mux"));
    }
    ice(transport, out)?;
    for payload in &description.payload_types {
        encoding(payload, out)?;
    }
    let longest = |pick: fn(&PayloadType) -> Option<u32>| description.payload_types.iter().filter_map(pick).max();
    if let Some(ptime) = longest(|payload| payload.ptime) {
        out.line(format_args!("a=ptime:{ptime}"));
    }
    if let Some(maxptime) = longest(|payload| payload.maxptime) {
        out.line(format_args!("a=maxptime:{maxptime}"));
    }
    feedback("*", &description.feedback, description.feedback_interval, out)?;
    for extension in &description.extensions {
        let way = match direction.word(extension.senders) {
            "sendrecv" => String::new(),
            way => format!("/{way}"),
        };
        let uri = word(&extension.uri, "an extension")?;
        let more = words(&extension.parameters, "an extension")?;
        out.line(format_args!("a=extmap:{}{way} {uri}{more}", extension.id));
    }
    if description.extmap_allow_mixed.is_some() {
        out.line(format_args!("a=extmap-allow-mixed"));
    }
    for crypto in description.encryption.iter().flat_map(|it| &it.crypto) {
        let (tag, suite, key) =
            (word(&crypto.tag, "a key")?, word(&crypto.suite, "a key")?, word(&crypto.key, "a key")?);
        let more = crypto.session.as_deref().map(|it| rest(it, "a key")).transpose()?;
        out.line(format_args!(
            "a=crypto:{tag} {suite} {key}{}{}",
            if more.is_some() { " " } else { "" },
            more.unwrap_or("")
        ));
    }
    sources(description, out)
}

/// Credentials, fingerprints and candidates.
fn ice(transport: &IceTransport, out: &mut Lines) -> Result<(), SdpError> {
    for (name, value) in [("ice-ufrag", &transport.ufrag), ("ice-pwd", &transport.pwd)] {
        if let Some(value) = value {
            out.line(format_args!("a={name}:{}", word(value, "the credentials of ICE")?));
        }
    }
    for fingerprint in &transport.fingerprints {
        let (hash, value) =
            (word(&fingerprint.hash, "a fingerprint")?, word(fingerprint.value.trim(), "a fingerprint")?);
        out.line(format_args!("a=fingerprint:{hash} {value}"));
    }
    if let Some(setup) = transport.fingerprints.iter().find_map(|fingerprint| fingerprint.setup) {
        out.line(format_args!("a=setup:{}", setup.to_text()));
    }
    for candidate in &transport.candidates {
        out.line(format_args!("a={}", candidate.to_sdp()?));
    }
    Ok(())
}

impl Candidate {
    /// As a WebRTC stack takes one that is found later: `candidate:…` (RFC 8839 §5.1).
    ///
    /// # Errors
    /// [`SdpError::Unspeakable`] if something of it cannot stand in a line.
    pub fn to_sdp(&self) -> Result<String, SdpError> {
        let it = |text| word(text, "a candidate");
        let mut line = format!(
            "candidate:{} {} {} {} {} {} typ {}",
            it(&self.foundation)?,
            self.component,
            it(&self.protocol)?,
            self.priority,
            it(&self.ip)?,
            self.port,
            self.type_.to_text(),
        );
        if let Some(address) = &self.rel_addr {
            line += &format!(" raddr {}", it(address)?);
        }
        if let Some(port) = self.rel_port {
            line += &format!(" rport {port}");
        }
        line += &format!(" generation {}", self.generation);
        if let Some(network) = self.network {
            line += &format!(" network {network}");
        }
        Ok(line)
    }
}

fn encoding(payload: &PayloadType, out: &mut Lines) -> Result<(), SdpError> {
    let id = payload.id;
    if let Some(name) = &payload.name {
        let name = word(name, "an encoding")?;
        // Old encodings need no rate in Jingle; in SDP there is always one (RFC 3551: 8,000 for those of speech).
        let rate = payload.clockrate.unwrap_or(8_000);
        let channels = payload.channels.filter(|channels| *channels > 1).map(|channels| format!("/{channels}"));
        out.line(format_args!("a=rtpmap:{id} {name}/{rate}{}", channels.unwrap_or_default()));
    }
    if !payload.parameters.is_empty() {
        let mut parts = Vec::new();
        for Parameter { name, value } in &payload.parameters {
            let fits = |text: &str| !text.contains(';') && is_one_line(text);
            match (name.as_str(), value.as_str()) {
                ("", "") => continue,
                (name, value) if !fits(name) || !fits(value) => return Err(SdpError::Unspeakable("a parameter")),
                ("", value) => parts.push(value.to_owned()),
                (name, "") => parts.push(name.to_owned()),
                (name, value) => parts.push(format!("{name}={value}")),
            }
        }
        if !parts.is_empty() {
            out.line(format_args!("a=fmtp:{id} {}", parts.join(";")));
        }
    }
    feedback(&id.to_string(), &payload.feedback, payload.feedback_interval, out)
}

fn feedback(id: &str, all: &[Feedback], interval: Option<FeedbackInterval>, out: &mut Lines) -> Result<(), SdpError> {
    for feedback in all {
        let type_ = word(&feedback.type_, "a kind of feedback")?;
        let subtype = feedback.subtype.as_deref().map(|it| word(it, "a kind of feedback")).transpose()?;
        let subtype = subtype.map(|it| format!(" {it}")).unwrap_or_default();
        let more = words(&feedback.parameters, "a kind of feedback")?;
        out.line(format_args!("a=rtcp-fb:{id} {type_}{subtype}{more}"));
    }
    if let Some(FeedbackInterval { value }) = interval {
        out.line(format_args!("a=rtcp-fb:{id} trr-int {value}"));
    }
    Ok(())
}

/// Parameters between blanks, with one in front.
fn words(parameters: &[Parameter], what: &'static str) -> Result<String, SdpError> {
    parameters.iter().try_fold(String::new(), |mut text, Parameter { name, value }| {
        text.push(' ');
        match value.as_str() {
            "" => text.push_str(word(name, what)?),
            value => {
                text.push_str(word(name, what)?);
                text.push('=');
                text.push_str(word(value, what)?);
            }
        }
        Ok(text)
    })
}

fn sources(description: &RtpDescription, out: &mut Lines) -> Result<(), SdpError> {
    for group in &description.source_groups {
        let members: Vec<_> = group.sources.iter().map(|source| source.ssrc.to_string()).collect();
        out.line(format_args!("a=ssrc-group:{} {}", word(&group.semantics, "a group of sources")?, members.join(" ")));
    }
    for source in &description.sources {
        for parameter in &source.parameters {
            let name = word(&parameter.name, "a source")?;
            match &parameter.value {
                Some(value) => {
                    out.line(format_args!("a=ssrc:{} {name}:{}", source.ssrc, rest(value, "a source")?));
                }
                None => out.line(format_args!("a=ssrc:{} {name}", source.ssrc)),
            }
        }
    }
    Ok(())
}
