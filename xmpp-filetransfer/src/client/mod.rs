//! Files in a client: sent and received by whatever road there is.

mod part_file;
mod progress;

pub use progress::{Phase, Progress, Road, Watching};
