//! A password from a person or from standard input.

use crate::Outcome;
use std::io::{self, BufRead, IsTerminal, Write};
use xmpp_core::jid::BareJid;

/// More than any mechanism carries.
const LONGEST: u64 = 4096;

pub(crate) fn read(account: &BareJid, from_stdin: bool) -> Outcome<String> {
    let stdin = io::stdin();
    if from_stdin {
        return Ok(line(stdin.lock())?);
    }
    if !stdin.is_terminal() {
        return Err("there is no terminal to ask for the password; give it with --password-stdin".into());
    }
    let first = ask(&format!("Password for {account}: "))?;
    if first != ask("The same again: ")? {
        return Err("the two passwords differ".into());
    }
    Ok(first)
}

fn line(input: impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(LONGEST).read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

fn ask(question: &str) -> Outcome<String> {
    let mut terminal = io::stderr();
    terminal.write_all(question.as_bytes())?;
    let _silence = Silence::start()?;
    let answer = line(io::stdin().lock())?;
    terminal.write_all(b"\n")?;
    Ok(answer)
}

/// The terminal does not show what is typed, as long as this lives.
#[cfg(unix)]
struct Silence(rustix::termios::Termios);

#[cfg(unix)]
impl Silence {
    fn start() -> Outcome<Silence> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Silence(before))
    }
}

#[cfg(unix)]
impl Drop for Silence {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}

#[cfg(not(unix))]
struct Silence;

#[cfg(not(unix))]
impl Silence {
    fn start() -> Outcome<Silence> {
        Err("this system's terminal cannot be silenced; give the password with --password-stdin".into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for (input, password) in [(" a b \r\nmore", " a b "), ("x", "x"), ("", ""), ("\n", "")] {
            assert_eq!(super::line(input.as_bytes()).unwrap(), password);
        }
    }
}
