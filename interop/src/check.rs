//! One check, one line.

use std::{error::Error, time::Duration};

/// What a check comes to.
pub(crate) type Checked<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A check that takes longer has failed. Nothing takes long but on a machine that is busy with other things.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Prints outcomes and remembers failures.
#[derive(Default)]
pub(crate) struct Report {
    failed: usize,
}

impl Report {
    /// Runs a check; its result is a note behind the name.
    pub(crate) async fn check(&mut self, name: &str, check: impl Future<Output = Checked<String>>) {
        self.check_within(TIMEOUT, name, check).await;
    }

    /// The same for what may take longer by its nature.
    pub(crate) async fn check_within(
        &mut self,
        time: Duration,
        name: &str,
        check: impl Future<Output = Checked<String>>,
    ) {
        let why = match tokio::time::timeout(time, check).await {
            Ok(Ok(note)) => {
                println!("{}", format!("ok {name} {note}").trim_end());
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not done within {} seconds", time.as_secs()),
        };
        self.failed += 1;
        println!("FAIL {name} {}", why.replace('\n', " "));
    }

    /// Says that a check cannot be made here.
    pub(crate) fn skip(&self, name: &str, reason: &str) {
        println!("skip {name} {reason}");
    }

    pub(crate) fn passed(&self) -> bool {
        self.failed == 0
    }
}

/// Fails the check unless the condition holds.
pub(crate) fn expect(holds: bool, why: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(why().into()) }
}

/// Fails the check unless both are the same.
pub(crate) fn expect_eq<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Checked {
    expect(got == wanted, || format!("{what} is {got:?}, not {wanted:?}"))
}
