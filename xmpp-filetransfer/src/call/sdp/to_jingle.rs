//! From lines to elements.

use super::{
    Call, Direction, SdpError,
    lines::{CONTROLS, Line, Media, Sdp, named},
};
use crate::{
    call::{
        Bandwidth, Candidate, CandidateType, Crypto, Encryption, ExtmapAllowMixed, Feedback, FeedbackInterval,
        Fingerprint, Group, GroupMember, HeaderExtension, IceTransport, Parameter, PayloadType, RtpDescription, Source,
        SourceGroup, SourceParameter,
    },
    jingle::Content,
};
use xmpp_core::{
    payload::{Payload, TextValue},
    xml::{Stanza, Writer},
};

/// Maps an offer or an answer to what a `<jingle/>` says. Its contents are made by `direction.creator`, and named by their `mid`,
/// or by their place if they have none.
///
/// # Errors
/// [`SdpError`] says which line is wrong. Media other than RTP are no error: [`Call::left_out`].
pub fn to_jingle(sdp: &str, direction: Direction) -> Result<Call, SdpError> {
    let sdp = Sdp::parse(sdp)?;
    let mut call = Call { contents: Vec::new(), groups: Vec::new(), left_out: Vec::new() };
    for (place, media) in sdp.media.iter().enumerate() {
        let mid = media.named("mid").next().map_or_else(|| place.to_string(), |line| line.value.trim().to_owned());
        if !media.protocol.contains("RTP/") {
            call.left_out.push(mid);
            continue;
        }
        // A port of 0 is how SDP refuses a medium, unless it is bundled with another (RFC 8843).
        if media.port == 0 && media.named("bundle-only").next().is_none() {
            call.left_out.push(mid);
            continue;
        }
        let words = ["sendrecv", "sendonly", "recvonly", "inactive"];
        let mut said = media.attributes.iter().chain(&sdp.attributes).map(|line| line.value);
        let senders = said.find(|value| words.contains(value)).and_then(|word| direction.senders(word));
        let mut content = Content::new(direction.creator, mid)
            .with_description(element(&description(media, &sdp, direction)?))
            .with_transport(element(&transport(media, &sdp)?));
        content.senders = Some(senders.unwrap_or_default());
        call.contents.push(content);
    }
    for line in named(&sdp.attributes, "group") {
        let mut words = line.value.split_ascii_whitespace().map(str::to_owned);
        let semantics = words.next().ok_or_else(|| line.wrong("a group is for something"))?;
        let members = words.filter(|name| !call.left_out.contains(name)).map(|name| GroupMember { name }).collect();
        call.groups.push(Group { semantics, members });
    }
    Ok(call)
}

fn element(payload: &impl Payload) -> Stanza {
    let mut w = Writer::new("");
    payload.write(&mut w);
    w.into_stanza()
}

fn description(media: &Media<'_>, sdp: &Sdp<'_>, direction: Direction) -> Result<RtpDescription, SdpError> {
    let mut out = RtpDescription::new(media.kind);
    for format in &media.formats {
        let id = format.parse().map_err(|_| media.line.wrong("the formats of RTP are numbers"))?;
        out.payload_types.push(PayloadType { id, ..PayloadType::default() });
    }
    for line in media.named("rtpmap") {
        rtpmap(line, &mut out.payload_types)?;
    }
    for line in media.named("fmtp") {
        let (id, text) = line.value.split_once(' ').ok_or_else(|| line.wrong("parameters belong to a format"))?;
        if let Some(payload) = payload_type(line, id, &mut out.payload_types)? {
            payload.parameters.extend(parameters(text));
        }
    }
    for line in media.named("rtcp-fb") {
        feedback(line, &mut out)?;
    }
    let milliseconds = |name| media.named(name).next().and_then(|line| line.value.trim().parse().ok());
    let (ptime, maxptime) = (milliseconds("ptime"), milliseconds("maxptime"));
    for payload in &mut out.payload_types {
        (payload.ptime, payload.maxptime) = (ptime, maxptime);
    }
    if let Some(line) = media.bandwidth {
        let (type_, value) = line.value.split_once(':').ok_or_else(|| line.wrong("a bandwidth has a type"))?;
        out.bandwidth = Some(Bandwidth { type_: type_.to_owned(), value: value.trim().to_owned() });
    }
    let crypto = media.named("crypto").map(crypto).collect::<Result<Vec<_>, _>>()?;
    if !crypto.is_empty() {
        out.encryption = Some(Encryption { required: true, crypto });
    }
    out.rtcp_mux = media.named("rtcp-mux").next().is_some();
    for line in media.named("extmap") {
        out.extensions.push(extension(line, direction)?);
    }
    let mixed = named(&sdp.attributes, "extmap-allow-mixed").chain(media.named("extmap-allow-mixed")).next();
    out.extmap_allow_mixed = mixed.map(|_| ExtmapAllowMixed);
    sources(media, &mut out)?;
    Ok(out)
}

/// The payload type that a line names; none if the medium has it not.
fn payload_type<'p>(
    line: Line<'_>,
    id: &str,
    payload_types: &'p mut [PayloadType],
) -> Result<Option<&'p mut PayloadType>, SdpError> {
    let id: u8 = id.parse().map_err(|_| line.wrong("a format is a number"))?;
    Ok(payload_types.iter_mut().find(|payload| payload.id == id))
}

/// `a=rtpmap:111 opus/48000/2`.
fn rtpmap(line: Line<'_>, payload_types: &mut [PayloadType]) -> Result<(), SdpError> {
    let (id, what) = line.value.split_once(' ').ok_or_else(|| line.wrong("a format is something"))?;
    let Some(payload) = payload_type(line, id, payload_types)? else { return Ok(()) };
    let mut parts = what.trim().split('/');
    payload.name = parts.next().map(str::to_owned);
    let rate = parts.next().ok_or_else(|| line.wrong("an encoding has a clock rate"))?;
    payload.clockrate = Some(rate.parse().map_err(|_| line.wrong("a clock rate is a number"))?);
    payload.channels = parts.next().and_then(|channels| channels.parse().ok());
    Ok(())
}

/// `minptime=10;useinbandfec=1`, or words that are no assignments (XEP-0293 §3: a name without a value, or a value without
/// a name, as most put it).
fn parameters(text: &str) -> Vec<Parameter> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let parameter = |part: &str| match part.split_once('=') {
        Some((name, value)) => Parameter { name: name.to_owned(), value: value.to_owned() },
        None => Parameter { name: String::new(), value: part.to_owned() },
    };
    parts.map(parameter).collect()
}

/// `a=rtcp-fb:96 nack pli`.
fn feedback(line: Line<'_>, out: &mut RtpDescription) -> Result<(), SdpError> {
    let mut words = line.value.split_ascii_whitespace();
    let (Some(id), Some(kind)) = (words.next(), words.next()) else {
        return Err(line.wrong("feedback is for a format, and of a kind"));
    };
    let payload = match id {
        "*" => None,
        id => match payload_type(line, id, &mut out.payload_types)? {
            None => return Ok(()),
            payload => payload,
        },
    };
    if kind == "trr-int" {
        let value = words.next().and_then(|value| value.parse().ok());
        let value = FeedbackInterval { value: value.ok_or_else(|| line.wrong("an interval is a number"))? };
        match payload {
            Some(payload) => payload.feedback_interval = Some(value),
            None => out.feedback_interval = Some(value),
        }
        return Ok(());
    }
    let subtype = words.next().map(str::to_owned);
    let parameter = |word: &str| match word.split_once('=') {
        Some((name, value)) => Parameter { name: name.to_owned(), value: value.to_owned() },
        None => Parameter { name: word.to_owned(), value: String::new() },
    };
    let feedback = Feedback { type_: kind.to_owned(), subtype, parameters: words.map(parameter).collect() };
    match payload {
        Some(payload) => payload.feedback.push(feedback),
        None => out.feedback.push(feedback),
    }
    Ok(())
}

/// `a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:… KDR=1`.
fn crypto(line: Line<'_>) -> Result<Crypto, SdpError> {
    let mut words = line.value.splitn(4, ' ').map(str::to_owned);
    let (Some(tag), Some(suite), Some(key)) = (words.next(), words.next(), words.next()) else {
        return Err(line.wrong("a key has a tag, a suite and parameters"));
    };
    Ok(Crypto { tag, suite, key, session: words.next() })
}

/// `a=extmap:2/sendonly urn:… x=y`.
fn extension(line: Line<'_>, direction: Direction) -> Result<HeaderExtension, SdpError> {
    let mut words = line.value.split_ascii_whitespace();
    let (Some(id), Some(uri)) = (words.next(), words.next()) else {
        return Err(line.wrong("an extension has a number and a name"));
    };
    let (id, way) = id.split_once('/').unwrap_or((id, "sendrecv"));
    let parameter = |word: &str| match word.split_once('=') {
        Some((name, value)) => Parameter { name: name.to_owned(), value: value.to_owned() },
        None => Parameter { name: word.to_owned(), value: String::new() },
    };
    Ok(HeaderExtension {
        id: id.parse().map_err(|_| line.wrong("the number of an extension is a number"))?,
        uri: uri.to_owned(),
        senders: direction.senders(way).ok_or_else(|| line.wrong("no such direction"))?,
        parameters: words.map(parameter).collect(),
    })
}

/// `a=ssrc:7 cname:x` and `a=ssrc-group:FID 7 8`.
fn sources(media: &Media<'_>, out: &mut RtpDescription) -> Result<(), SdpError> {
    let number = |line: Line<'_>, text: &str| text.parse::<u32>().map_err(|_| line.wrong("a source is a number"));
    for line in media.named("ssrc") {
        let (ssrc, attribute) = line.value.split_once(' ').unwrap_or((line.value, ""));
        let ssrc = number(line, ssrc)?;
        if out.sources.iter().all(|source| source.ssrc != ssrc) {
            out.sources.push(Source { ssrc, parameters: Vec::new() });
        }
        let source = out.sources.iter_mut().find(|source| source.ssrc == ssrc);
        if let (Some(source), false) = (source, attribute.is_empty()) {
            let (name, value) =
                attribute.split_once(':').map_or((attribute, None), |(name, value)| (name, Some(value)));
            source.parameters.push(SourceParameter { name: name.to_owned(), value: value.map(str::to_owned) });
        }
    }
    for line in media.named("ssrc-group") {
        let mut words = line.value.split_ascii_whitespace();
        let semantics = words.next().ok_or_else(|| line.wrong("a group is for something"))?.to_owned();
        let source = |word| Ok(Source { ssrc: number(line, word)?, parameters: Vec::new() });
        out.source_groups.push(SourceGroup { semantics, sources: words.map(source).collect::<Result<_, _>>()? });
    }
    Ok(())
}

fn transport(media: &Media<'_>, sdp: &Sdp<'_>) -> Result<IceTransport, SdpError> {
    let either = |name| media.named(name).chain(named(&sdp.attributes, name)).next();
    let text = |name| either(name).map(|line| line.value.trim().to_owned());
    let setup = either("setup").and_then(|line| crate::call::Setup::from_text(line.value.trim()).ok());
    let own: Vec<_> = media.named("fingerprint").collect();
    let lines = if own.is_empty() { named(&sdp.attributes, "fingerprint").collect() } else { own };
    let mut out = IceTransport { ufrag: text("ice-ufrag"), pwd: text("ice-pwd"), ..IceTransport::default() };
    for line in lines {
        let (hash, value) = line.value.split_once(' ').ok_or_else(|| line.wrong("a fingerprint has a function"))?;
        let (hash, value) = (hash.to_ascii_lowercase(), value.trim().to_owned());
        out.fingerprints.push(Fingerprint { hash, setup, value });
    }
    for line in media.named("candidate") {
        let id = out.candidates.len();
        out.candidates.push(read_candidate(line, id)?);
    }
    Ok(out)
}

/// Maps one candidate that was found later, with or without `a=` or `candidate:` in front. `id` is what it goes by in the
/// session.
///
/// # Errors
/// [`SdpError`] if it is none.
pub fn candidate(text: &str, id: &str) -> Result<Candidate, SdpError> {
    let text = text.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    let line = Line { number: 1, value: text.strip_prefix("candidate:").unwrap_or(text) };
    if text.chars().any(char::is_control) {
        return Err(line.wrong(CONTROLS));
    }
    Ok(Candidate { id: id.to_owned(), ..read_candidate(line, 0)? })
}

/// `1 1 udp 2130706431 10.0.1.1 8998 typ host generation 0` (RFC 8839 §5.1).
fn read_candidate(line: Line<'_>, id: usize) -> Result<Candidate, SdpError> {
    let mut words = line.value.split_ascii_whitespace();
    let mut next = |problem| words.next().ok_or_else(|| line.wrong(problem));
    let number = |text: &str| text.parse::<u32>().map_err(|_| line.wrong("a candidate has numbers"));
    let small = |text: &str| u8::try_from(number(text)?).map_err(|_| line.wrong("a component is a small number"));
    let port = |text: &str| u16::try_from(number(text)?).map_err(|_| line.wrong("there is no such port"));
    let mut out = Candidate {
        foundation: next("a candidate has a foundation")?.to_owned(),
        component: small(next("a candidate has a component")?)?,
        protocol: next("a candidate has a protocol")?.to_ascii_lowercase(),
        priority: number(next("a candidate has a priority")?)?,
        ip: next("a candidate has an address")?.to_owned(),
        port: port(next("a candidate has a port")?)?,
        generation: 0,
        id: format!("c{id}"),
        rel_addr: None,
        rel_port: None,
        network: None,
        type_: CandidateType::Host,
    };
    if next("a candidate has a type")? != "typ" {
        return Err(line.wrong("a candidate has a type"));
    }
    let type_ = next("a candidate has a type")?;
    out.type_ = CandidateType::from_text(type_).map_err(|_| line.wrong("there is no such type of candidate"))?;
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name {
            "raddr" => out.rel_addr = Some(value.to_owned()),
            "rport" => out.rel_port = Some(port(value)?),
            "generation" => out.generation = small(value)?,
            "network" => out.network = value.parse().ok(),
            _ => {}
        }
    }
    Ok(out)
}
