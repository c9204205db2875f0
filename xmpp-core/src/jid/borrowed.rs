//! An address that borrows its text.
use super::{Jid, ascii};

/// An address in its canonical form, borrowed. Copying and taking it apart cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JidRef<'a> {
    text: &'a str,
    at: u16,
    slash: u16,
}

impl<'a> JidRef<'a> {
    /// Reads an address that is already canonical and all ASCII, without allocating. `None` says only that this
    /// shortcut does not apply: [`Jid::new`] decides.
    pub fn parse(text: &'a str) -> Option<JidRef<'a>> {
        let split = ascii::scan(text)?;
        (!split.fold).then_some(JidRef { text, at: split.at, slash: split.slash })
    }

    /// Of a text that has been prepared, and its offsets.
    pub(super) fn from_valid(text: &'a str, at: u16, slash: u16) -> JidRef<'a> {
        JidRef { text, at, slash }
    }

    /// Before the `@`.
    pub fn local(self) -> Option<&'a str> {
        if self.at == 0 { None } else { self.text.get(..usize::from(self.at)) }
    }

    /// The domain.
    pub fn domain(self) -> &'a str {
        let start = if self.at == 0 { 0 } else { usize::from(self.at) + 1 };
        self.text.get(start..usize::from(self.slash)).unwrap_or_default()
    }

    /// After the first `/`.
    pub fn resource(self) -> Option<&'a str> {
        self.text.get(usize::from(self.slash) + 1..)
    }

    /// Without the resource, as text.
    pub fn bare_str(self) -> &'a str {
        self.text.get(..usize::from(self.slash)).unwrap_or_default()
    }

    /// The whole.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Whether there is no resource.
    pub fn is_bare(self) -> bool {
        usize::from(self.slash) == self.text.len()
    }

    /// The same address, with its own text.
    pub fn to_jid(self) -> Jid {
        Jid { text: self.text.into(), at: self.at, slash: self.slash }
    }
}

impl<'a> From<&'a Jid> for JidRef<'a> {
    fn from(jid: &'a Jid) -> Self {
        jid.as_jid_ref()
    }
}
