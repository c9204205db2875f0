//! Every shared payload type once, with samples: what the round-trip tests run on and the fuzzer starts from.

use super::*;
use crate::stream::management;
use crate::xml::{Stanza, ns};

/// Reads an element as one type and writes it again; `None` if it is another element.
pub type RoundTrip = fn(ElementRef<'_>) -> Option<Result<Stanza, PayloadError>>;

fn round_trip<T: Payload>(el: ElementRef<'_>) -> Option<Result<Stanza, PayloadError>> {
    T::matches(el).then(|| {
        T::read(el).map(|value| {
            let mut w = Writer::new(ns::CLIENT);
            value.write(&mut w);
            w.into_stanza()
        })
    })
}

/// All shared payload types. Where one element has two, for request and answer, the answer comes first.
pub const TYPES: &[(&str, RoundTrip)] = &[
    ("ArchiveQuery", round_trip::<archive::ArchiveQuery>),
    ("ArchiveResult", round_trip::<archive::ArchiveResult>),
    ("ArchiveFin", round_trip::<archive::ArchiveFin>),
    ("ArchiveMetadata", round_trip::<archive::ArchiveMetadata>),
    ("ArchivePrefs", round_trip::<archive::ArchivePrefs>),
    ("Bound", round_trip::<bind::Bound>),
    ("Bind", round_trip::<bind::Bind>),
    ("Caps", round_trip::<caps::Caps>),
    ("ChatState", round_trip::<chat_state::ChatState>),
    ("Clients", round_trip::<clients::Clients>),
    ("ClientsQuery", round_trip::<clients::ClientsQuery>),
    ("Revoke", round_trip::<clients::Revoke>),
    ("PasswordResetRequired", round_trip::<clients::PasswordResetRequired>),
    ("Delay", round_trip::<delay::Delay>),
    ("DiscoInfo", round_trip::<disco::DiscoInfo>),
    ("DiscoInfoQuery", round_trip::<disco::DiscoInfoQuery>),
    ("DiscoItems", round_trip::<disco::DiscoItems>),
    ("DiscoItemsQuery", round_trip::<disco::DiscoItemsQuery>),
    ("Fallback", round_trip::<fallback::Fallback>),
    ("DataForm", round_trip::<form::DataForm>),
    ("Forwarded", round_trip::<forward::Forwarded>),
    ("Hash", round_trip::<hash::Hash>),
    ("HashUsed", round_trip::<hash::HashUsed>),
    ("Hint", round_trip::<hints::Hint>),
    ("LastActivity", round_trip::<last::LastActivity>),
    ("LastQuery", round_trip::<last::LastQuery>),
    ("SmFeature", round_trip::<management::Sm>),
    ("SmEnable", round_trip::<management::Enable>),
    ("SmEnabled", round_trip::<management::Enabled>),
    ("SmResume", round_trip::<management::Resume>),
    ("SmResumed", round_trip::<management::Resumed>),
    ("SmFailed", round_trip::<management::Failed>),
    ("SmRequest", round_trip::<management::Request>),
    ("SmAck", round_trip::<management::Ack>),
    ("SmTooHigh", round_trip::<management::HandledCountTooHigh>),
    ("CsiActive", round_trip::<client_state::Active>),
    ("CsiInactive", round_trip::<client_state::Inactive>),
    ("Ping", round_trip::<ping::Ping>),
    ("ReceiptRequest", round_trip::<receipts::ReceiptRequest>),
    ("Received", round_trip::<receipts::Received>),
    ("ResultSet", round_trip::<rsm::ResultSet>),
    ("StanzaId", round_trip::<stanza_id::StanzaId>),
    ("OriginId", round_trip::<stanza_id::OriginId>),
    ("EntityTime", round_trip::<time::EntityTime>),
    ("TimeQuery", round_trip::<time::TimeQuery>),
    ("Version", round_trip::<version::Version>),
    ("VersionQuery", round_trip::<version::VersionQuery>),
];

/// Elements that come back as they are, with their type.
pub const SAMPLES: &[(&str, &str)] = &[
    ("Bind", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"),
    ("Bind", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>desk &amp; chair</resource></bind>"),
    ("Bound", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>ann@a.example/desk 🙌</jid></bind>"),
    (
        "Caps",
        "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://c.example' ver='q07IKJEyjvHSyhy//CH0CxmKi8w='/>",
    ),
    ("Caps", "<c xmlns='http://jabber.org/protocol/caps' node='https://c.example' ver='0.9' ext='a b'/>"),
    ("Fallback", "<fallback xmlns='urn:xmpp:fallback:0' for='a'><body start='0' end='3'/><subject/></fallback>"),
    ("ChatState", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
    ("ChatState", "<gone xmlns='http://jabber.org/protocol/chatstates'/>"),
    ("ClientsQuery", "<list xmlns='urn:xmpp:cam:0'/>"),
    (
        "Clients",
        "<clients xmlns='urn:xmpp:cam:0'><client connected='true' id='zeiP41HLglIu' type='session'>\
         <first-seen>2023-04-06T14:26:08Z</first-seen><last-seen>2023-04-06T14:37:25Z</last-seen><auth><password/>\
         <fast/></auth><permission status='unrestricted'/><user-agent><software>Gajim</software>\
         <uri>https://gajim.org/</uri><device>Juliet&apos;s laptop</device></user-agent></client><client \
         connected='false' id='HjEEr45_LQr' type='access'><auth><grant/></auth><permission status='normal'/>\
         </client></clients>",
    ),
    ("Revoke", "<revoke xmlns='urn:xmpp:cam:0' id='HjEEr45_LQr'/>"),
    ("PasswordResetRequired", "<password-reset-required xmlns='urn:xmpp:cam:0'/>"),
    ("Delay", "<delay xmlns='urn:xmpp:delay' from='a.example' stamp='2024-02-29T23:59:59.120Z'>Offline</delay>"),
    ("Delay", "<delay xmlns='urn:xmpp:delay' stamp='0001-01-01T00:00:00Z'/>"),
    (
        "ArchiveQuery",
        "<query xmlns='urn:xmpp:mam:2' queryid='f27'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' \
         type='hidden'><value>urn:xmpp:mam:2</value></field><field var='with'><value>ann@a.example</value></field></x><set \
         xmlns='http://jabber.org/protocol/rsm'><before/><max>10</max></set><flip-page/></query>",
    ),
    ("ArchiveQuery", "<query xmlns='urn:xmpp:mam:2'/>"),
    (
        "ArchiveResult",
        "<result xmlns='urn:xmpp:mam:2' queryid='f27' id='28482-98726'><forwarded xmlns='urn:xmpp:forward:0'><delay \
         xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/><message xmlns='jabber:client' from='ann@a.example'><body>Hail \
         to thee</body></message></forwarded></result>",
    ),
    (
        "ArchiveFin",
        "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'><first \
         index='0'>a</first><last>b</last></set></fin>",
    ),
    (
        "ArchiveFin",
        "<fin xmlns='urn:xmpp:mam:2' stable='false'><set xmlns='http://jabber.org/protocol/rsm'><count>0</count></set></fin>",
    ),
    (
        "ArchiveMetadata",
        "<metadata xmlns='urn:xmpp:mam:2'><start id='YWxwaGEg' timestamp='2008-08-22T21:09:04Z'/><end id='b21lZ2Eg' \
         timestamp='2020-04-20T14:34:21Z'/></metadata>",
    ),
    ("ArchiveMetadata", "<metadata xmlns='urn:xmpp:mam:2'/>"),
    (
        "ArchivePrefs",
        "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>ann@a.example</jid></always><never/></prefs>",
    ),
    ("ArchivePrefs", "<prefs xmlns='urn:xmpp:mam:2'/>"),
    ("DiscoInfoQuery", "<query xmlns='http://jabber.org/protocol/disco#info' node='n#1'/>"),
    (
        "DiscoInfo",
        "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc' xml:lang='el' \
         name='Ψ 0.11'/><identity category='client' type='pc'/><feature var='urn:xmpp:ping'/><feature \
         var='&lt;&apos;>'/><x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' \
         type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field></x></query>",
    ),
    (
        "DiscoItemsQuery",
        "<query xmlns='http://jabber.org/protocol/disco#items'><set xmlns='http://jabber.org/protocol/rsm'><max>20</max></set></query>",
    ),
    (
        "DiscoItems",
        "<query xmlns='http://jabber.org/protocol/disco#items' node=''><item jid='r.a.example' name='Rooms'/><item \
         jid='ann@a.example' node='urn:xmpp:microblog:0'/></query>",
    ),
    (
        "DataForm",
        "<x xmlns='jabber:x:data' type='form'><title>T</title><instructions>one</instructions>\
         <instructions>two</instructions><field var='FORM_TYPE' type='hidden'><value>urn:example:f</value></field>\
         <field type='fixed'><value>Part 1</value></field><field var='m' type='list-multi' label='Which?'>\
         <desc>Choose</desc><required/><value>a</value><value/><option label='A'><value>a</value></option>\
         <option><value>b</value></option></field><field var='o' type='urn:example:odd'><validate \
         xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:int'><basic/></validate></field><page \
         xmlns='http://jabber.org/protocol/xdata-layout' label='P'><fieldref var='m'/></page></x>",
    ),
    (
        "DataForm",
        "<x xmlns='jabber:x:data' type='result'><reported><field var='a' type='jid-single' label='A'/></reported>\
         <item><field var='a'><value>ann@a.example</value></field></item><item><field var='a'><value>b</value></field>\
         </item></x>",
    ),
    ("DataForm", "<x xmlns='jabber:x:data' type='cancel'/>"),
    (
        "Forwarded",
        "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/><message \
         xmlns='jabber:client' from='ann@a.example/x' to='ben@b.example' xml:lang='en' type='chat'><body>a &lt; b\n</body><x \
         xmlns='urn:example:x' xmlns:y='urn:example:y' y:z='1'><y:w/></x></message></forwarded>",
    ),
    ("Hash", "<hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>2XarmwTlNxDAMkvymloX3S5+VbylNrJt/l5QyPa+YoU=</hash>"),
    ("HashUsed", "<hash-used xmlns='urn:xmpp:hashes:2' algo='sha3-256'/>"),
    ("Hint", "<no-permanent-store xmlns='urn:xmpp:hints'/>"),
    ("Hint", "<store xmlns='urn:xmpp:hints'/>"),
    ("LastQuery", "<query xmlns='jabber:iq:last'/>"),
    ("LastActivity", "<query xmlns='jabber:iq:last' seconds='903'>Gone &amp; away</query>"),
    ("LastActivity", "<query xmlns='jabber:iq:last' seconds='18446744073709551615'/>"),
    ("CsiActive", "<active xmlns='urn:xmpp:csi:0'/>"),
    ("CsiInactive", "<inactive xmlns='urn:xmpp:csi:0'/>"),
    ("Ping", "<ping xmlns='urn:xmpp:ping'/>"),
    ("ReceiptRequest", "<request xmlns='urn:xmpp:receipts'/>"),
    ("Received", "<received xmlns='urn:xmpp:receipts' id='bi29sg183b4v'/>"),
    ("ResultSet", "<set xmlns='http://jabber.org/protocol/rsm'><before/><max>10</max></set>"),
    ("ResultSet", "<set xmlns='http://jabber.org/protocol/rsm'><index>371</index><max>10</max></set>"),
    (
        "ResultSet",
        "<set xmlns='http://jabber.org/protocol/rsm'><first index='0'>a</first><last>j</last><count>800</count></set>",
    ),
    ("StanzaId", "<stanza-id xmlns='urn:xmpp:sid:0' id='28482-98726' by='room@r.a.example'/>"),
    ("OriginId", "<origin-id xmlns='urn:xmpp:sid:0' id='de305d54'/>"),
    ("TimeQuery", "<time xmlns='urn:xmpp:time'/>"),
    ("EntityTime", "<time xmlns='urn:xmpp:time'><tzo>-06:00</tzo><utc>2006-12-19T17:58:35Z</utc></time>"),
    ("VersionQuery", "<query xmlns='jabber:iq:version'/>"),
    ("Version", "<query xmlns='jabber:iq:version'><name>Ex</name><version>0.7</version><os>Any</os></query>"),
    ("SmFeature", "<sm xmlns='urn:xmpp:sm:3'/>"),
    ("SmEnable", "<enable xmlns='urn:xmpp:sm:3' resume='true' max='600'/>"),
    (
        "SmEnabled",
        "<enabled xmlns='urn:xmpp:sm:3' id='some-long-sm-id' resume='true' max='300' location='[2001:41D0:1:A49b::1]:9222'/>",
    ),
    ("SmResume", "<resume xmlns='urn:xmpp:sm:3' previd='some-long-sm-id' h='4294967295'/>"),
    ("SmResumed", "<resumed xmlns='urn:xmpp:sm:3' previd='&lt;&apos;>' h='0'/>"),
    (
        "SmFailed",
        "<failed xmlns='urn:xmpp:sm:3' h='7'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
    ),
    ("SmRequest", "<r xmlns='urn:xmpp:sm:3'/>"),
    ("SmAck", "<a xmlns='urn:xmpp:sm:3' h='1'/>"),
    ("SmTooHigh", "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='10' send-count='8'/>"),
];
