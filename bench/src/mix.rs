//! A realistic mix of stanzas, 687 bytes on average.

/// What a scanner of a client's stream meets first.
pub const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                          to='romeo@montague.example' from='montague.example' id='t7AMCin9zjMNwQKDnplntZPIDEI=' \
                          version='1.0' xml:lang='en'>";

const CHAT: &str = "<message xmlns='jabber:client' from='juliet@capulet.example/balcony' to='romeo@montague.example' \
type='chat' id='b4dc92e2-25a0-4fb8-b4b0-4cf9d1f1b8e6'><body>Wherefore art thou, Romeo? Deny thy father &amp; refuse \
thy name; or, if thou wilt not, be but sworn my love, and I&apos;ll no longer be a Capulet. 'Tis but thy name that is my enemy; thou art thyself, though not a \
Montague. What's in a name? That which we call a rose by any other name would smell as sweet.</body>\
<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
<markable xmlns='urn:xmpp:chat-markers:0'/>\
<origin-id xmlns='urn:xmpp:sid:0' id='b4dc92e2-25a0-4fb8-b4b0-4cf9d1f1b8e6'/></message>";

const STATE: &str = "<message from='juliet@capulet.example/balcony' to='romeo@montague.example/orchard' type='chat' \
id='9a3f6c0a'><composing xmlns='http://jabber.org/protocol/chatstates'/>\
<no-store xmlns='urn:xmpp:hints'/></message>";

const PRESENCE: &str = "<presence from='juliet@capulet.example/balcony' to='romeo@montague.example' id='p7c2'>\
<show>away</show><status>On the balcony, looking at the moon: by whose light I am</status><priority>5</priority>\
<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example/caps' \
ver='QgayPKawpkPSDYmwT/WM94uAlu0='/><x xmlns='vcard-temp:x:update'>\
<photo>01b87fcd030b72895ff8e88db57ec525450f000d</photo></x>\
<idle xmlns='urn:xmpp:idle:1' since='1969-07-21T02:56:15Z'/></presence>";

const DISCO: &str = "<iq from='juliet@capulet.example/balcony' to='romeo@montague.example/orchard' type='result' \
id='disco-11'><query xmlns='http://jabber.org/protocol/disco#info' \
node='https://client.example/caps#QgayPKawpkPSDYmwT/WM94uAlu0='>\
<identity category='client' type='pc' name='Client 1.4'/>\
<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/chatstates'/>\
<feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/disco#items'/>\
<feature var='http://jabber.org/protocol/muc'/><feature var='jabber:iq:version'/>\
<feature var='urn:xmpp:avatar:metadata+notify'/><feature var='urn:xmpp:chat-markers:0'/>\
<feature var='urn:xmpp:jingle:1'/><feature var='urn:xmpp:message-correct:0'/><feature var='urn:xmpp:ping'/>\
<feature var='urn:xmpp:receipts'/><feature var='urn:xmpp:time'/></query></iq>";

const GROUPCHAT: &str = "<message from='coven@chat.shakespeare.example/thirdwitch' to='romeo@montague.example/orchard' \
type='groupchat' id='hysf1v37' xml:lang='en'><body>Harpier cries: 'tis time, 'tis time. Round about the cauldron go; \
in the poison'd entrails throw. Toad, that under cold stone days and nights has thirty-one sweltered venom \
sleeping got, boil thou first i' the charmed pot. Double, double toil and trouble.</body><stanza-id xmlns='urn:xmpp:sid:0' by='coven@chat.shakespeare.example' \
id='5f3dbc5e-e1d3-4077-a492-693f3769c7ad'/><occupant-id xmlns='urn:xmpp:occupant-id:0' \
id='dd72603deec90a38ba552f7c68cbcc61bca202cd'/><origin-id xmlns='urn:xmpp:sid:0' id='hysf1v37'/></message>";

const ARCHIVE: &str = "<message to='romeo@montague.example/orchard' from='romeo@montague.example'>\
<result xmlns='urn:xmpp:mam:2' queryid='f27' id='28482-98726-73623'><forwarded xmlns='urn:xmpp:forward:0'>\
<delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/><message xmlns='jabber:client' type='chat' \
to='juliet@capulet.example' from='romeo@montague.example/orchard' id='f0e0a0'>\
<body>Call me but love, and I'll be new baptized; Henceforth I never will be Romeo. By a name I know not how to tell thee who I am.</body>\
<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@montague.example' id='28482-98726-73623'/>\
<origin-id xmlns='urn:xmpp:sid:0' id='f0e0a0'/></message></forwarded></result></message>";

/// Stanzas of the mix, each as it would come on a client's stream.
pub fn stanzas() -> Vec<String> {
    [CHAT, DISCO, GROUPCHAT, ARCHIVE, CHAT, PRESENCE, DISCO, ARCHIVE, STATE, ARCHIVE, GROUPCHAT, DISCO]
        .map(str::to_owned)
        .into()
}

/// A roster of 100 contacts, as the server sends it.
pub fn roster() -> String {
    let mut out = String::from(
        "<iq to='romeo@montague.example/orchard' type='result' id='roster_1'><query xmlns='jabber:iq:roster' \
         ver='ver11'>",
    );
    for i in 0..100 {
        out.push_str(&format!(
            "<item jid='contact{i}@capulet.example' name='Contact number {i}' subscription='both'>\
             <group>Friends</group></item>"
        ));
    }
    out.push_str("</query></iq>");
    out
}
