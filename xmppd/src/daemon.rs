//! The server itself: composed, started, told what the signals say.

use crate::{
    Outcome, account,
    anybody::Anybody,
    certificate::Identity,
    cli::Settings,
    config::{Config, Listener, Otherwise},
    handed::Handed,
    print, registration,
    signals::{ASKED_TO_STOP, Signal, Signals},
};
use std::{fmt::Write as _, io, net::SocketAddr, path::Path, sync::Arc};
use xmpp_core::{
    extension::Software,
    jid::BareJid,
    net::ServerTls,
    server::{Accounts, Audience, MemoryAccounts, Server, ServerBuilder},
};
use xmpp_im::roster::{self, MemoryRosters, RosterStore};
use xmpp_sql::{Database, SqlAccounts};

/// What names this software in the capabilities that it tells its clients (XEP-0115 §4).
const NODE: &str = "urn:uuid:7c5d1c1e-3c0b-4a75-9f0b-0c1a6a2f9d31";

/// The server with all its extensions, but without certificates. Without a database it stores nothing.
fn compose(config: &Config, accounts: impl Accounts, database: Option<&Database>) -> Outcome<ServerBuilder> {
    let rosters: Arc<dyn RosterStore> = match database {
        Some(database) => Arc::new(database.rosters()),
        None => Arc::new(MemoryRosters::new()),
    };
    let mut domains = config.domains.iter();
    let first = domains.next().map(String::as_str).unwrap_or("localhost");
    let mut builder = Server::builder(first);
    for domain in domains {
        builder = builder.domain(domain);
    }
    for domain in &config.anonymous_domains {
        builder = builder.anonymous_domain(domain);
    }
    for component in &config.component {
        builder = builder.component(&component.domain, &component.secret);
    }
    if config.replace_components {
        builder = builder.replace_components();
    }
    if config.plaintext {
        builder = builder.allow_plaintext();
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let builder = builder
        .accounts(accounts)
        .http(config.http.to_core()?)
        .software(Some(Software { name: "xmppd".to_owned(), version, os: None }))
        .with(xmpp_im::delivery::server)
        .with(xmpp_im::caps::server(NODE));
    let invitations = registration::invitations(config, database);
    let builder = match &invitations {
        Some(invitations) => builder
            .with(roster::server_inviting(Arc::clone(&rosters), config.roster.to_limits(), invitations))
            .with(invitations.server()),
        None => builder.with(roster::server_with(Arc::clone(&rosters), config.roster.to_limits())),
    };
    let builder = config.offline.compose(builder, database);
    let builder = config.archive.compose(builder, database, Arc::clone(&rosters))?;
    let builder = account::compose(builder, config, database, Arc::clone(&rosters), invitations.as_ref());
    let builder = config.blocking.compose(config.carbons.compose(builder), database, rosters);
    let builder = config.rooms.compose(builder, &config.all_domains(), &config.admins, database, config.archive.keep());
    config.uploads.compose(builder, config, database)
}

/// The stations of the route, one a line.
pub(crate) async fn route(config: &Config) -> Outcome<String> {
    let server = compose(config, MemoryAccounts::new(), None)?.build()?;
    Ok(server.route_names().join("\n") + "\n")
}

/// The database in the data folder; both are made if they are missing.
pub(crate) async fn open_database(config: &Config) -> Outcome<Database> {
    create_private(&config.data)
        .map_err(|error| format!("cannot make the data folder {}: {error}", config.data.display()))?;
    Ok(Database::open(config.data.join("xmppd.sqlite")).await?)
}

pub(crate) async fn exists(accounts: &SqlAccounts, account: &BareJid) -> Outcome<bool> {
    Ok(Accounts::exists(accounts, account).await?)
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Runs the server until a signal stops it.
pub(crate) async fn run(config: Config, settings: &Settings, mut handed: Handed) -> Outcome<()> {
    let mut signals = Signals::new()?;
    let database = open_database(&config).await?;
    let accounts = database.accounts();
    let first_start = accounts.is_empty().await?;
    for domain in &config.anonymous_domains {
        accounts.forget_strangers(domain).await?;
    }

    let mut limits = config.limits.to_core(crate::files::raise_limit());
    config.stream_management.apply(&mut limits);
    let builder = match &config.any_user_password {
        Some(password) => compose(&config, Anybody::new(password), Some(&database))?,
        None => compose(&config, accounts, Some(&database))?.tokens(database.tokens()),
    };
    let mut builder = builder.limits(limits).secret(database.secret("scram").await?);
    let mut serving = None;
    if config.tls.enabled {
        let identity = Identity::load(&config)?;
        let tls = identity.to_tls(&config).build()?;
        builder = builder.tls(tls.clone());
        if let Some(authorities) = config.tls.client_authorities()? {
            builder = builder.client_certificates(authorities);
        }
        serving = Some((identity, tls));
    }
    if config.federates() {
        builder = builder.federation(config.federation.to_core()?);
    }
    builder = config.proxy.compose(builder, &config.all_domains(), &mut handed).await?;
    let server = builder.build()?;

    let mut bound = Vec::new();
    for listener in config.listeners() {
        bound.extend(
            listen(&server, &listener, Face::Clients, &mut handed).await?.map(|address| (address, listener.tls)),
        );
    }
    let mut servers = Vec::new();
    for listener in config.server_listeners() {
        servers.extend(
            listen(&server, &listener, Face::Servers, &mut handed).await?.map(|address| (address, listener.tls)),
        );
    }
    let mut web = Vec::new();
    for listener in config.web_listeners() {
        web.extend(listen(&server, &listener, Face::Web, &mut handed).await?.map(|address| (address, listener.tls)));
    }
    let mut components = Vec::new();
    for address in config.component_listeners() {
        let listening = match handed.take(address) {
            Some(socket) => server.listen_on(socket, Audience::Components),
            None => server.listen_components(address).await,
        };
        let address = listening.map_err(|error| format!("cannot listen on {address} for components: {error}"))?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "components can connect from other machines, unencrypted");
        }
        components.push(address);
    }
    handed.finish()?;
    if bound.is_empty() && web.is_empty() {
        return Err("there is nothing to listen on: [listen] names no address".into());
    }
    if config.plaintext && bound.iter().chain(&web).any(|(address, tls)| !tls && !address.ip().is_loopback()) {
        tracing::warn!("plaintext = true lets clients log in unencrypted, from other machines too");
    }
    if config.any_user_password.is_some() {
        tracing::warn!("any_user_password lets whoever is on this machine log in as anybody");
    }
    let (identity, tls) = serving.unzip();
    let bound = Bound { clients: bound, servers, web, components };
    print(&greeting(&config, settings, &bound, identity.as_ref(), first_start))?;

    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = ASKED_TO_STOP.notified() => Signal::Stop,
        };
        match signal {
            Signal::Stop => break,
            Signal::Reload => match reload(settings, tls.as_ref(), &config) {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(%error, "cannot reload; what was in force stays in force"),
            },
        }
    }
    tracing::info!(sessions = server.sessions(), "stopping; a second signal stops at once");
    tokio::select! {
        () = stop(&server, &config) => {}
        () = signals.stop() => return Err("stopped at once by a second signal".into()),
    }
    database.close().await;
    Ok(())
}

/// Ends all sessions in good order, and cuts what does not end.
async fn stop(server: &Server, config: &Config) {
    match &config.shutdown_to {
        Some(host) => server.shutdown_to(host, config.shutdown()).await,
        None => server.shutdown(config.shutdown()).await,
    }
}

/// Who is listened for.
#[derive(Clone, Copy, PartialEq)]
enum Face {
    Clients,
    Servers,
    Web,
}

async fn listen(server: &Server, listener: &Listener, face: Face, handed: &mut Handed) -> Outcome<Option<SocketAddr>> {
    let mut address = listener.address;
    let places = [Some(address), if let Otherwise::Listen(other) = listener.otherwise { Some(other) } else { None }];
    if let Some(socket) = places.into_iter().flatten().find_map(|address| handed.take(address)) {
        let audience = match (face, listener.tls) {
            (Face::Clients, false) => Audience::Clients,
            (Face::Clients, true) => Audience::ClientsTls,
            (Face::Servers, false) => Audience::Servers,
            (Face::Servers, true) => Audience::ServersTls,
            (Face::Web, false) => Audience::Http,
            (Face::Web, true) => Audience::Https,
        };
        return Ok(Some(server.listen_on(socket, audience)?));
    }
    let mut result = bind(server, address, listener.tls, face).await;
    if result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AddrInUse) {
        match listener.otherwise {
            Otherwise::Fail => {}
            Otherwise::Skip => return Ok(None),
            Otherwise::Listen(other) => {
                address = other;
                result = bind(server, address, listener.tls, face).await;
            }
        }
    }
    match result {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(format!(
            "cannot listen on {address}: another program does so already. Name another place with {} or in the \
             configuration",
            match (face, listener.tls) {
                (Face::Clients, false) => "--c2s ADDRESS",
                (Face::Clients, true) => "--c2s-tls ADDRESS",
                (Face::Servers, _) => "listen.s2s",
                (Face::Web, false) => "--http ADDRESS",
                (Face::Web, true) => "--https ADDRESS",
            }
        )
        .into()),
        Err(error) => Err(format!("cannot listen on {address}: {error}").into()),
    }
}

async fn bind(server: &Server, address: SocketAddr, tls: bool, face: Face) -> io::Result<SocketAddr> {
    match (face, tls) {
        (Face::Clients, false) => server.listen(address).await,
        (Face::Clients, true) => server.listen_tls(address).await,
        (Face::Servers, false) => server.listen_servers(address).await,
        (Face::Servers, true) => server.listen_servers_tls(address).await,
        (Face::Web, false) => server.listen_http(address).await,
        (Face::Web, true) => server.listen_https(address).await,
    }
}

/// Reads the configuration and the certificate again. Only the certificate can change in a running server.
fn reload(settings: &Settings, tls: Option<&ServerTls>, running: &Config) -> Outcome<()> {
    let new = Config::load(settings)?;
    if let Some(tls) = tls {
        // A domain that is not served yet needs no certificate yet.
        let wanted = Config { tls: new.tls.clone(), ..running.clone() };
        tls.reload(Identity::load(&wanted)?.to_tls(&wanted))?;
    }
    if (Config { tls: running.tls.clone(), ..new }) != *running {
        tracing::warn!("the configuration has other changes, which wait for a restart");
    }
    Ok(())
}

/// Where it listens; with TLS from the start or not.
struct Bound {
    clients: Vec<(SocketAddr, bool)>,
    servers: Vec<(SocketAddr, bool)>,
    web: Vec<(SocketAddr, bool)>,
    components: Vec<SocketAddr>,
}

/// What a person at the terminal needs to know next.
fn greeting(
    config: &Config,
    settings: &Settings,
    bound: &Bound,
    identity: Option<&Identity>,
    first_start: bool,
) -> String {
    let mut text = format!("xmppd {} serves {}\n", env!("CARGO_PKG_VERSION"), config.all_domains().join(", "));
    for (address, tls) in &bound.clients {
        let how = match (tls, config.plaintext, identity.is_some()) {
            (true, ..) => "TLS",
            (false, false, _) => "STARTTLS",
            (false, true, true) => "STARTTLS or none",
            (false, true, false) => "no TLS",
        };
        let _ = writeln!(text, "  clients      {address} ({how})");
    }
    for (address, tls) in &bound.servers {
        let _ = writeln!(text, "  servers      {address} ({})", if *tls { "TLS" } else { "STARTTLS" });
    }
    for address in &bound.components {
        let _ = writeln!(text, "  components   {address}");
    }
    for (address, tls) in &bound.web {
        let scheme = if *tls { "https" } else { "http" };
        let _ = writeln!(text, "  browsers     {scheme}://{address}/ (WebSocket: /xmpp-websocket)");
    }
    let _ = writeln!(text, "  data         {}", config.data.display());
    if let Some(identity) = identity {
        let _ = writeln!(text, "  certificate  {}", identity.file.display());
        if identity.self_signed {
            let _ = writeln!(
                text,
                "               It is self-signed: clients must be told to trust it. Its SHA-256 fingerprint:"
            );
            let _ = writeln!(text, "               {}", identity.fingerprint());
        }
    }
    let domain = config.domains.first().map_or("localhost", String::as_str);
    if config.any_user_password.is_some() {
        let _ = writeln!(text, "Every NAME@{domain} is an account, with the password of the configuration.");
    } else {
        let accounts = if first_start { "There are no accounts yet. Add one" } else { "To add an account" };
        let command = command_line(settings);
        let _ = writeln!(text, "{accounts}, while this runs or not:\n  {command} user add NAME@{domain}");
    }
    if let Some((address, _)) = bound.clients.first() {
        let host = if address.ip().is_unspecified() { "this machine".to_owned() } else { address.ip().to_string() };
        let port = address.port();
        let _ = writeln!(text, "Then log in as NAME@{domain} with any XMPP client; host {host}, port {port}.");
    }
    text
}

/// This program, called again with the same configuration.
fn command_line(settings: &Settings) -> String {
    let mut line = std::env::args().next().unwrap_or_else(|| "xmppd".to_owned());
    for (option, path) in [("--config", &settings.config), ("--data", &settings.data)] {
        if let Some(path) = path {
            let _ = write!(line, " {option} {}", path.display());
        }
    }
    line
}
