//! Files in a client: sent and received by whatever road there is.

mod error;
mod part_file;
mod progress;
mod pump;
mod sink;
mod transfer;

pub use error::{TransferError, WithoutFiles};
pub use progress::{Phase, Progress, Road, Watching};
pub use transfer::{Report, Transfer};
