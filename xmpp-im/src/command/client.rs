//! A client executes commands of others.

use super::{Action, CommandElement, NS, Status};
use xmpp_core::{
    client::{Client, RequestError},
    jid::Jid,
    payload::{
        disco::{DiscoItems, DiscoItemsQuery, Item},
        form::DataForm,
    },
    stanza::Iq,
};

/// The commands that an entity offers us (§2.2), as nodes with names. Cancel-safe.
pub async fn list(client: &Client, of: &Jid) -> Result<Vec<Item>, RequestError> {
    let query = DiscoItemsQuery { node: Some(NS.to_owned()), ..DiscoItemsQuery::default() };
    Ok(client.query::<DiscoItems>(Iq::get(of.clone()).payload(&query)).await?.items)
}

/// Begins to execute a command. If the future is dropped, whether it has begun is not known.
pub async fn execute(client: &Client, of: &Jid, node: &str) -> Result<Execution, RequestError> {
    let request = CommandElement { node: node.to_owned(), action: Some(Action::Execute), ..CommandElement::default() };
    let answer = client.query::<CommandElement>(Iq::set(of.clone()).payload(&request)).await?;
    Ok(Execution { client: client.clone(), of: of.clone(), node: node.to_owned(), answer })
}

/// A command being executed.
#[derive(Debug)]
pub struct Execution {
    client: Client,
    of: Jid,
    node: String,
    answer: CommandElement,
}

impl Execution {
    /// The last answer: its form, its notes, what can be done next.
    pub fn answer(&self) -> &CommandElement {
        &self.answer
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.answer.status != Some(Status::Executing)
    }

    /// Goes on with a form that is filled in: to the next stage, or to the end, as the last answer says (§3.4). What it
    /// refuses leaves the execution where it was.
    pub async fn submit(&mut self, form: DataForm) -> Result<&CommandElement, RequestError> {
        let default = self.answer.actions.as_ref().map_or(Action::Complete, |actions| match &actions.execute {
            Some(action) => action.clone(),
            None => Action::Next,
        });
        self.act(default, Some(form)).await
    }

    /// Goes back to the stage before.
    pub async fn back(&mut self) -> Result<&CommandElement, RequestError> {
        self.act(Action::Prev, None).await
    }

    /// Ends it.
    pub async fn cancel(mut self) -> Result<(), RequestError> {
        self.act(Action::Cancel, None).await.map(|_| ())
    }

    async fn act(&mut self, action: Action, form: Option<DataForm>) -> Result<&CommandElement, RequestError> {
        let (node, session) = (self.node.clone(), self.answer.session.clone());
        let request = CommandElement { node, session, action: Some(action), form, ..CommandElement::default() };
        self.answer = self.client.query(Iq::set(self.of.clone()).payload(&request)).await?;
        Ok(&self.answer)
    }
}
