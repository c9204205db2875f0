//! The door for mechanisms from elsewhere.

use super::SaslError;

/// A client's side of a mechanism that isn't built in.
pub trait ClientMechanism: Send {
    /// The name registered with IANA, upper case.
    fn name(&self) -> &str;

    /// The initial response. `None` sends none, `Some(vec![])` sends an empty one.
    fn initial(&mut self) -> Result<Option<Vec<u8>>, SaslError>;

    /// The response to a challenge. Must not block for long.
    fn challenge(&mut self, payload: &[u8]) -> Result<Vec<u8>, SaslError>;

    /// Checks the additional data with success. The default takes anything.
    fn success(&mut self, payload: Option<&[u8]>) -> Result<(), SaslError> {
        let _ = payload;
        Ok(())
    }
}

/// A mechanism of the `sasl` crate. Its SCRAM runs PBKDF2 inside of `challenge`, so a driver that minds milliseconds
/// uses the built-in one.
#[cfg(feature = "sasl")]
pub struct ForeignMechanism<M>(pub M);

#[cfg(feature = "sasl")]
impl<M: ::sasl::client::Mechanism + Send> ClientMechanism for ForeignMechanism<M> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn initial(&mut self) -> Result<Option<Vec<u8>>, SaslError> {
        Ok(Some(self.0.initial()))
    }

    fn challenge(&mut self, payload: &[u8]) -> Result<Vec<u8>, SaslError> {
        self.0.response(payload).map_err(|error| SaslError::Custom(Box::new(error)))
    }

    fn success(&mut self, payload: Option<&[u8]>) -> Result<(), SaslError> {
        self.0.success(payload.unwrap_or_default()).map_err(|error| SaslError::Custom(Box::new(error)))
    }
}
