//! What an entity offers: commands, who may use them, and how an execution goes on.

use super::{
    Action, Actions, CommandElement, NS, Note, NoteKind, Status,
    session::{Execution, Executions},
};
use std::{future::Future, sync::Arc, time::Duration};
use xmpp_core::{
    BoxFuture,
    extension::{DiscoNode, IqContext, Registrar, Target},
    jid::Jid,
    payload::{
        disco::{Identity, Item},
        form::{self, DataForm},
    },
    stanza::StanzaError,
};

/// Bounds on executions that wait for their next stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandLimits {
    /// In all.
    pub executions: usize,
    /// Of one bare address.
    pub per_asker: usize,
    /// For how long one waits.
    pub lifetime: Duration,
    /// Stages of one.
    pub stages: usize,
    /// Bytes of what was filled in in all of its stages.
    pub bytes: usize,
}

impl Default for CommandLimits {
    fn default() -> CommandLimits {
        let lifetime = Duration::from_secs(600);
        CommandLimits { executions: 1_000, per_asker: 8, lifetime, stages: 16, bytes: 64 * 1024 }
    }
}

/// What a command is called with, once for each stage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// Who executes it: a full address.
    pub from: Jid,
    /// The address that the command belongs to.
    pub to: Option<Jid>,
    /// What was filled in so far: nothing when the command begins, then one form more for each stage.
    pub submitted: Vec<DataForm>,
}

impl Call {
    /// What was filled in last; `None` when the command begins.
    pub fn form(&self) -> Option<&DataForm> {
        self.submitted.last()
    }
}

/// What a command answers to a call.
#[derive(Debug)]
pub struct Step {
    form: Option<DataForm>,
    notes: Vec<Note>,
    /// What is asked for; `None` at the end.
    asks: Option<Asks>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Asks {
    More,
    Last,
}

impl Step {
    /// Asks to fill in a form, after which there is more to do.
    pub fn ask(form: DataForm) -> Step {
        Step { form: Some(form), notes: Vec::new(), asks: Some(Asks::More) }
    }

    /// Asks to fill in a form, after which it is done.
    pub fn ask_last(form: DataForm) -> Step {
        Step { form: Some(form), notes: Vec::new(), asks: Some(Asks::Last) }
    }

    /// It is done.
    pub fn done() -> Step {
        Step { form: None, notes: Vec::new(), asks: None }
    }

    /// With results.
    #[must_use]
    pub fn result(mut self, form: DataForm) -> Step {
        self.form = Some(form);
        self
    }

    /// With a note for people.
    #[must_use]
    pub fn info(mut self, text: impl Into<String>) -> Step {
        self.notes.push(Note { kind: NoteKind::Info, text: text.into() });
        self
    }

    /// With a note of what has failed (§3.6): what is done and has failed must have one.
    #[must_use]
    pub fn error(mut self, text: impl Into<String>) -> Step {
        self.notes.push(Note { kind: NoteKind::Error, text: text.into() });
        self
    }
}

/// What was filled in cannot be used: a required field is missing, or has a value that means nothing (§4.4).
pub fn bad_payload(text: &str) -> StanzaError {
    StanzaError::bad_request().with_application_element("bad-payload", NS).with_text(text)
}

type Run = Box<dyn Fn(Call) -> BoxFuture<'static, Result<Step, StanzaError>> + Send + Sync>;
type Allowed = Box<dyn Fn(&Jid) -> bool + Send + Sync>;

/// Something to execute.
pub struct Command {
    node: String,
    name: String,
    run: Run,
    allowed: Allowed,
    at_once: bool,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Command {
    /// A command for everybody, with its node and a name for people. `run` is called once for each stage, with all that
    /// was filled in so far.
    pub fn new<F>(
        node: impl Into<String>,
        name: impl Into<String>,
        run: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Command
    where
        F: Future<Output = Result<Step, StanzaError>> + Send + 'static,
    {
        let run = Box::new(move |call| -> BoxFuture<'static, _> { Box::pin(run(call)) });
        Command { node: node.into(), name: name.into(), run, allowed: Box::new(|_| true), at_once: false }
    }

    /// Only for whom `allowed` names. To others it is not shown, and they get `forbidden`.
    #[must_use]
    pub fn only_for(mut self, allowed: impl Fn(&Jid) -> bool + Send + Sync + 'static) -> Command {
        self.allowed = Box::new(allowed);
        self
    }

    /// Takes the form of its first stage with the request that begins it, from who knows what will be asked for.
    #[must_use]
    pub fn at_once(mut self) -> Command {
        self.at_once = true;
        self
    }
}

/// A command that says "Pong!", for whoever wants to try commands.
pub fn ping() -> Command {
    Command::new("ping", "Ping", |_| async { Ok(Step::done().info("Pong!")) })
}

/// All commands of an entity.
#[derive(Debug, Default)]
pub struct Commands {
    commands: Vec<Command>,
    limits: CommandLimits,
}

impl Commands {
    /// None.
    pub fn new() -> Commands {
        Commands::default()
    }

    /// With one more. Of two with the same node the first counts.
    #[must_use]
    pub fn with(mut self, command: Command) -> Commands {
        self.commands.push(command);
        self
    }

    /// With other bounds.
    #[must_use]
    pub fn limits(mut self, limits: CommandLimits) -> Commands {
        self.limits = limits;
        self
    }

    /// The extension that offers them at an address: [`Target::Server`] on a server, [`Target::Client`] on a client.
    pub fn at(self, target: Target) -> impl FnOnce(&mut Registrar) {
        let Commands { commands, limits } = self;
        let offered = Arc::new(Offered { commands, executions: Executions::new(limits) });
        move |r: &mut Registrar| {
            let listed = Arc::clone(&offered);
            r.feature(target, form::NS);
            r.disco_node(target, move |cx, node| listed.node(cx, node));
            r.iq_set_async::<CommandElement, _, _>(target, move |cx, request| {
                let offered = Arc::clone(&offered);
                async move { offered.execute(cx, request).await }
            });
        }
    }
}

struct Offered {
    commands: Vec<Command>,
    executions: Executions,
}

impl Offered {
    /// The list of commands, or one of them, for service discovery (§2.2).
    fn node(&self, cx: &IqContext, node: &str) -> Option<DiscoNode> {
        let (asker, asked) = (cx.from.as_ref()?, cx.to.as_ref()?);
        let mut visible = self.commands.iter().filter(|command| (command.allowed)(asker));
        let mut found = DiscoNode::default();
        if node == NS {
            found.identities.push(Identity::new("automation", "command-list", None));
            found.features.insert(NS.to_owned());
            found.items = visible
                .map(|command| Item {
                    node: Some(command.node.clone()),
                    name: Some(command.name.clone()),
                    ..Item::new(asked.clone())
                })
                .collect();
        } else {
            let command = visible.find(|command| command.node == node)?;
            found.identities.push(Identity::new("automation", "command-node", Some(command.name.clone())));
            found.features.extend([NS.to_owned(), form::NS.to_owned()]);
        }
        Some(found)
    }

    async fn execute(&self, cx: IqContext, request: CommandElement) -> Result<CommandElement, StanzaError> {
        let asker = cx.from.ok_or_else(StanzaError::bad_request)?;
        let command = self.commands.iter().find(|command| command.node == request.node);
        let command = command.ok_or_else(StanzaError::item_not_found)?;
        if !(command.allowed)(&asker) {
            return Err(StanzaError::forbidden());
        }
        let action = request.action.unwrap_or(Action::Execute);
        if matches!(action, Action::Other(_)) {
            return Err(StanzaError::bad_request().with_application_element("malformed-action", NS));
        }
        let (bytes, is_known) = (cx.stanza.as_str().len(), request.session.is_some());
        let (name, execution) = match request.session {
            None if action == Action::Execute => {
                let node = command.node.clone();
                let submitted: Vec<_> = request.form.into_iter().filter(|_| command.at_once).collect();
                let bytes = if submitted.is_empty() { 0 } else { bytes };
                let execution = Execution { node, asker, asked: cx.to, submitted, bytes, last: false };
                (self.executions.name(), execution)
            }
            None => return Err(bad_action()),
            Some(name) => {
                let mut execution = self.executions.take(&name, &command.node, &asker, cx.to.as_ref())?;
                if action == Action::Cancel {
                    return Ok(answer(&command.node, &name, Status::Canceled));
                }
                if let Err(error) = proceed(&mut execution, &action, request.form, bytes) {
                    // What was wrong with the request does not end the execution.
                    self.executions.put(&name, execution)?;
                    return Err(error);
                }
                (name, execution)
            }
        };
        let call =
            Call { from: execution.asker.clone(), to: execution.asked.clone(), submitted: execution.submitted.clone() };
        let step = match (command.run)(call).await {
            Ok(step) => step,
            Err(error) => {
                let mut again = execution;
                // What was refused can be filled in once more, by who knows the execution's name.
                if is_known && again.submitted.pop().is_some() {
                    self.executions.put(&name, again)?;
                }
                return Err(error);
            }
        };
        self.finish(name, execution, step)
    }

    fn finish(&self, name: String, mut execution: Execution, step: Step) -> Result<CommandElement, StanzaError> {
        let status = if step.asks.is_some() { Status::Executing } else { Status::Completed };
        let mut answer = answer(&execution.node, &name, status);
        (answer.form, answer.notes) = (step.form, step.notes);
        if let Some(asks) = step.asks {
            let last = asks == Asks::Last;
            let execute = if last { Action::Complete } else { Action::Next };
            let prev = !execution.submitted.is_empty();
            answer.actions = Some(Actions { execute: Some(execute), prev, next: !last, complete: last });
            execution.last = last;
            self.executions.put(&name, execution)?;
        }
        Ok(answer)
    }
}

fn answer(node: &str, session: &str, status: Status) -> CommandElement {
    CommandElement {
        node: node.to_owned(),
        session: Some(session.to_owned()),
        status: Some(status),
        ..CommandElement::default()
    }
}

fn bad_action() -> StanzaError {
    StanzaError::bad_request().with_application_element("bad-action", NS)
}

/// Takes in what the request says, or nothing of it (§3.4).
fn proceed(
    execution: &mut Execution,
    action: &Action,
    form: Option<DataForm>,
    bytes: usize,
) -> Result<(), StanzaError> {
    let forth = match action {
        Action::Execute => true,
        Action::Next => !execution.last,
        Action::Complete => execution.last,
        Action::Prev if execution.submitted.pop().is_some() => return Ok(()),
        _ => false,
    };
    if !forth {
        return Err(bad_action());
    }
    execution.submitted.push(form.ok_or_else(|| bad_payload("the form is missing"))?);
    execution.bytes = execution.bytes.saturating_add(bytes);
    Ok(())
}
