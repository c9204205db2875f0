//! Contact addresses (XEP-0157): whom to write to about a server, told in its service discovery.

#[cfg(any(feature = "client", feature = "server"))]
use xmpp_core::extension::{Registrar, Target};
use xmpp_core::payload::form::{DataForm, Field, FieldType, FormKind};

/// The type of the form.
pub const FORM: &str = "http://jabber.org/network/serverinfo";

/// Addresses as URIs (`mailto:`, `xmpp:`, `https:`), for each role that has some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContactAddresses {
    /// For reports of abuse.
    pub abuse: Vec<String>,
    /// Of the administrators.
    pub admin: Vec<String>,
    /// For what users want to say.
    pub feedback: Vec<String>,
    /// For sales.
    pub sales: Vec<String>,
    /// For reports about security.
    pub security: Vec<String>,
    /// Where one reads how the server is.
    pub status: Vec<String>,
    /// For help.
    pub support: Vec<String>,
}

impl ContactAddresses {
    /// The form in which they are told; a role without addresses is left out.
    pub fn form(&self) -> DataForm {
        let roles = [
            ("abuse", &self.abuse),
            ("admin", &self.admin),
            ("feedback", &self.feedback),
            ("sales", &self.sales),
            ("security", &self.security),
            ("status", &self.status),
            ("support", &self.support),
        ];
        let mut form = DataForm::typed(FormKind::Result, FORM);
        for (role, addresses) in roles.into_iter().filter(|(_, addresses)| !addresses.is_empty()) {
            let mut field = Field::new(format!("{role}-addresses")).typed(FieldType::ListMulti);
            field.values.clone_from(addresses);
            form = form.with(field);
        }
        form
    }
}

/// Tells them at the server's domain.
#[cfg(any(feature = "client", feature = "server"))]
pub fn contact_addresses(addresses: ContactAddresses) -> impl FnOnce(&mut Registrar) {
    move |r: &mut Registrar| {
        if addresses != ContactAddresses::default() {
            r.disco_form(Target::Server, addresses.form());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0157_3_only_roles_with_addresses_are_told() {
        let addresses = ContactAddresses {
            abuse: vec!["mailto:abuse@example.org".into(), "xmpp:abuse@example.org".into()],
            ..ContactAddresses::default()
        };
        let form = addresses.form();
        assert_eq!(form.form_type(), Some(FORM));
        assert_eq!(form.values("abuse-addresses"), addresses.abuse);
        assert_eq!(form.fields.len(), 2);
    }
}
