//! The command line: `xmpp-load COMMAND [--flag value]…`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::rooms::Shape;

pub(crate) const USAGE: &str = "usage: xmpp-load COMMAND [--flag value]…

commands
  chat         CPU a delivered message at saturation, then latency at a fixed rate
  ping         iq pings answered a second, and CPU a ping
  rooms        CPU a delivery of a groupchat message, in --shapes rooms x occupants
  login        SCRAM logins a second, and CPU a login
  memory       resident memory a session: slope over several numbers of idle sessions
  relay        the yardstick: what is read on one socket is written to its pair; prints its three ports
  free-ports   prints --count ports that are free now
  report       table of result files (arguments) in one, --json FILE for the machine

the server (one of them by flags, or several by --target name=prosody,port=5222,pid=77,… with the same names)
  --name NAME  --host IP  --port P  --pid PID (no PID, no CPU and no memory)
  --domain D  --users u%d  --password secret%d (%d: the account's number, from 0)
  --tls no|starttls|direct  --mechanism SCRAM-SHA-256|SCRAM-SHA-1|PLAIN  --kind xmpp|relay  --echo P --fan P (relay only)

the load
  --pairs 100  --in-flight 1,4  --rate 1000 (0: leave out)  --rounds 5  --seconds 1.5
  --accounts 200  --concurrency 16  --sessions 2000,8000,16000  --shapes 10x100,1x5000  --presence no|yes  --bare no|yes
  --label plain  --json FILE  --subject xmppd  --count 1  --lifetime 600";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Xmpp,
    Relay,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tls {
    No,
    Upgrade,
    Direct,
}

/// One server to put load on.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    pub(crate) echo: u16,
    pub(crate) fan: u16,
    pub(crate) pid: Option<u32>,
    pub(crate) domain: String,
    pub(crate) tls: Tls,
    pub(crate) mechanism: String,
    users: String,
    password: String,
}

impl Target {
    pub(crate) fn user(&self, number: usize) -> String {
        self.users.replace("%d", &number.to_string())
    }

    pub(crate) fn password(&self, number: usize) -> String {
        self.password.replace("%d", &number.to_string())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "name" => self.name = value.to_owned(),
            "kind" => self.kind = choice(name, value, &[("xmpp", Kind::Xmpp), ("relay", Kind::Relay)])?,
            "host" => self.host = parse(name, value)?,
            "port" => self.port = parse(name, value)?,
            "echo" => self.echo = parse(name, value)?,
            "fan" => self.fan = parse(name, value)?,
            "pid" => self.pid = Some(parse(name, value)?),
            "domain" => self.domain = value.to_owned(),
            "users" => self.users = value.to_owned(),
            "password" => self.password = value.to_owned(),
            "tls" => {
                let all = [("no", Tls::No), ("starttls", Tls::Upgrade), ("direct", Tls::Direct)];
                self.tls = choice(name, value, &all)?;
            }
            "mechanism" => self.mechanism = value.to_owned(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Everything that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) targets: Vec<Target>,
    pub(crate) pairs: usize,
    pub(crate) in_flight: Vec<usize>,
    pub(crate) rate: u32,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) accounts: usize,
    pub(crate) concurrency: usize,
    pub(crate) sessions: Vec<usize>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) presence: bool,
    pub(crate) bare: bool,
    pub(crate) label: String,
    pub(crate) json: Option<PathBuf>,
    pub(crate) subject: String,
    pub(crate) port: u16,
    pub(crate) count: usize,
    pub(crate) lifetime: u64,
    pub(crate) files: Vec<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Options> {
        let mut target = Target {
            name: "server".to_owned(),
            kind: Kind::Xmpp,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            echo: 0,
            fan: 0,
            pid: None,
            domain: "localhost".to_owned(),
            tls: Tls::No,
            mechanism: "SCRAM-SHA-256".to_owned(),
            users: "u%d".to_owned(),
            password: "secret".to_owned(),
        };
        let mut options = Options {
            targets: Vec::new(),
            pairs: 100,
            in_flight: vec![1, 4],
            rate: 1_000,
            rounds: 5,
            seconds: 1.5,
            accounts: 200,
            concurrency: 16,
            sessions: vec![2_000, 8_000, 16_000],
            shapes: vec![Shape { rooms: 10, occupants: 100 }, Shape { rooms: 1, occupants: 5_000 }],
            presence: false,
            bare: false,
            label: "plain".to_owned(),
            json: None,
            subject: "xmppd".to_owned(),
            port: 0,
            count: 1,
            lifetime: 600,
            files: Vec::new(),
        };
        let mut listed = Vec::new();
        let mut args = args;
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--") else {
                options.files.push(PathBuf::from(arg));
                continue;
            };
            let value = args.next().ok_or_else(|| Error::Usage(format!("--{name} needs a value")))?;
            match name {
                "target" => listed.push(value),
                _ if target.set(name, &value)? => {}
                _ => options.set(name, &value)?,
            }
        }
        options.port = target.port;
        for list in &listed {
            let mut one = target.clone();
            for pair in list.split(',') {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                if !one.set(name, value)? {
                    return Err(Error::Usage(format!("--target knows no {name:?}")));
                }
            }
            options.targets.push(one);
        }
        if listed.is_empty() {
            options.targets.push(target);
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let yes_or_no = [("yes", true), ("no", false)];
        match name {
            "pairs" => self.pairs = at_least_one(name, value)?,
            "in-flight" => self.in_flight = list(name, value)?,
            "rate" => self.rate = parse(name, value)?,
            "rounds" => self.rounds = at_least_one(name, value)?,
            "seconds" => self.seconds = parse::<f64>(name, value)?.clamp(0.05, 60.0),
            "accounts" => self.accounts = at_least_one(name, value)?,
            "concurrency" => self.concurrency = at_least_one(name, value)?,
            "sessions" => self.sessions = list(name, value)?,
            "shapes" => self.shapes = value.split(',').map(|shape| self::shape(name, shape)).collect::<Result<_>>()?,
            "presence" => self.presence = choice(name, value, &yes_or_no)?,
            "bare" => self.bare = choice(name, value, &yes_or_no)?,
            "label" => self.label = value.to_owned(),
            "json" => self.json = Some(PathBuf::from(value)),
            "subject" => self.subject = value.to_owned(),
            "count" => self.count = at_least_one(name, value)?,
            "lifetime" => self.lifetime = parse(name, value)?,
            _ => return Err(Error::Usage(format!("there is no --{name}\n\n{USAGE}"))),
        }
        Ok(())
    }
}

fn parse<T: std::str::FromStr>(name: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| Error::Usage(format!("--{name}: {value:?} does not fit")))
}

fn shape(name: &str, value: &str) -> Result<Shape> {
    let (rooms, occupants) = value.split_once('x').unwrap_or((value, ""));
    Ok(Shape { rooms: at_least_one(name, rooms)?, occupants: at_least_one(name, occupants)? })
}

fn at_least_one(name: &str, value: &str) -> Result<usize> {
    parse::<usize>(name, value).map(|n| n.max(1))
}

fn list(name: &str, value: &str) -> Result<Vec<usize>> {
    value.split(',').map(|v| at_least_one(name, v)).collect()
}

fn choice<T: Copy>(name: &str, value: &str, all: &[(&str, T)]) -> Result<T> {
    all.iter().find(|(n, _)| *n == value).map(|(_, t)| *t).ok_or_else(|| {
        Error::Usage(format!("--{name}: {value:?} is none of {:?}", all.iter().map(|a| a.0).collect::<Vec<_>>()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(line: &str) -> Result<Options> {
        Options::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn flags_alone_make_one_target() {
        let parsed = options("--port 5222 --pid 7 --users load%d --password p%d --pairs 3").unwrap();
        let [target] = parsed.targets.as_slice() else { unreachable!() };
        assert_eq!((target.port, target.pid, parsed.pairs), (5222, Some(7), 3));
        assert_eq!((target.user(12), target.password(12)), ("load12".to_owned(), "p12".to_owned()));
    }

    #[test]
    fn targets_inherit_the_flags_wherever_these_stand() {
        let parsed =
            options("--target name=a,port=1 --target name=b,port=2,kind=relay,echo=3 --domain example.org").unwrap();
        assert!(parsed.targets.iter().all(|t| t.domain == "example.org"));
        assert_eq!(parsed.targets.iter().map(|t| t.port).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(parsed.targets.iter().map(|t| t.kind).collect::<Vec<_>>(), [Kind::Xmpp, Kind::Relay]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(options("--pairs many").is_err());
        assert!(options("--frobnicate 1").is_err());
        assert!(options("--target name=a,colour=red").is_err());
        assert!(options("--port").is_err());
        assert!(options("--shapes 10").is_err());
    }

    #[test]
    fn shapes_are_rooms_and_occupants() {
        let parsed = options("--shapes 10x100,1x5000").unwrap().shapes;
        assert_eq!(parsed, [Shape { rooms: 10, occupants: 100 }, Shape { rooms: 1, occupants: 5_000 }]);
    }
}
