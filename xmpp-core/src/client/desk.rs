//! What the application wants sent, and who waits for what: it lies here while there is no connection.

use super::{
    SavedSession, Unacknowledged,
    events::EventSender,
    ledger::{Ledger, Origin, Outgoing},
    negotiate::Memory,
    receipt::ReceiptSender,
    requests::{Reply, Requests},
};
use crate::{
    jid::Jid,
    stream::management::{Full, UnackedLimits},
};
use std::collections::{HashSet, VecDeque};
use tokio::sync::{mpsc, oneshot, watch};

/// What the handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Send these bytes, one stanza, and tell what becomes of it if somebody wants to know.
    Send(Vec<u8>, Option<ReceiptSender>),
    /// Send a request and hand its answer over.
    Request { id: String, from: Option<Jid>, to: Option<Jid>, bytes: Vec<u8>, reply: Reply },
    /// Tell the server whether somebody looks at the client (XEP-0352).
    Activity { active: bool },
    /// Tell what it takes to resume the session.
    Save(oneshot::Sender<Option<SavedSession>>),
    /// Close the stream and end; the answer is whether the server has everything.
    Close(oneshot::Sender<bool>),
    /// End without closing the stream, so that it can be resumed.
    Suspend(oneshot::Sender<Option<SavedSession>>),
}

/// How the application wants it to end.
#[derive(Debug)]
pub(super) enum Leave {
    /// In good order; whoever waits for it is to be told. Without one, the last handle was dropped.
    Close(Option<oneshot::Sender<bool>>),
    /// For later.
    Suspend(oneshot::Sender<Option<SavedSession>>),
}

/// Requests waiting for answers, at most.
const REQUESTS: usize = 1024;
/// Beside the application's stanzas, so many answers of the client's own may wait for their turn, and as many to be
/// acknowledged, and so many bytes of either; then the session ends.
const ANSWERS: usize = 65_536;
const BYTES: usize = 64 << 20;
/// With so many bytes unacknowledged nothing more is taken from the application.
const ENOUGH: usize = 16 << 20;

/// Whether somebody looks at the client, and what the server knows of it (XEP-0352).
#[derive(Debug)]
pub(super) struct Activity {
    active: bool,
    told: bool,
    offered: bool,
}

impl Default for Activity {
    fn default() -> Self {
        Activity { active: true, told: true, offered: false }
    }
}

impl Activity {
    /// A stream begins, new or resumed, and the server takes us for active (XEP-0352 §4.2). A stream that is resumed
    /// need not offer again what it has offered before.
    pub(super) fn begin(&mut self, offered: bool, resumed: bool) {
        self.told = true;
        self.offered = offered || (resumed && self.offered);
    }

    /// What the server has to be told now.
    pub(super) fn news(&mut self) -> Option<bool> {
        if !self.offered || self.told == self.active {
            return None;
        }
        self.told = self.active;
        Some(self.active)
    }
}

/// What the application wants, in order.
pub(super) struct Commands {
    queue: mpsc::Receiver<Command>,
    /// Somebody wants to leave.
    leaving: watch::Receiver<bool>,
}

impl Commands {
    /// The next one. Without room for more there is none, unless somebody wants to leave: that must not wait for a network, so
    /// all that was said before is taken over at once, which is no more than the queue and those who wait at it.
    /// Cancel-safe.
    pub(super) async fn next(&mut self, room: bool) -> Option<Command> {
        if !room && self.leaving.wait_for(|leaving| *leaving).await.is_err() {
            // Nobody is left who could want to leave.
            std::future::pending::<()>().await;
        }
        self.queue.recv().await
    }
}

pub(super) struct Desk {
    pub(super) commands: Commands,
    /// Taken over and not yet in the books.
    pub(super) unsent: VecDeque<Outgoing>,
    /// How many commands have been taken over.
    taken: u64,
    /// Answers that come behind commands which have not: with each, how many there must have been.
    answers: VecDeque<(u64, Outgoing)>,
    /// How many answers there are in these two, and their bytes.
    answered: (usize, usize),
    pub(super) requests: Requests,
    pub(super) ledger: Ledger,
    /// What one session teaches the next.
    pub(super) memory: Memory,
    pub(super) activity: Activity,
    limits: UnackedLimits,
    queue: usize,
}

impl Desk {
    pub(super) fn new(commands: mpsc::Receiver<Command>, leaving: watch::Receiver<bool>, queue: usize) -> Desk {
        let limits = UnackedLimits { stanzas: queue.saturating_add(ANSWERS), bytes: BYTES };
        Desk {
            commands: Commands { queue: commands, leaving },
            unsent: VecDeque::new(),
            taken: 0,
            answers: VecDeque::new(),
            answered: (0, 0),
            requests: Requests::new(REQUESTS),
            ledger: Ledger::new(limits),
            memory: Memory::default(),
            activity: Activity::default(),
            limits,
            queue,
        }
    }

    /// Goes on with a session that was saved.
    pub(super) fn restore(&mut self, saved: SavedSession) {
        self.ledger = Ledger::restored(self.limits, saved);
    }

    /// Whether more may be taken over from the application.
    pub(super) fn has_room(&self) -> bool {
        let (stanzas, bytes) = self.ledger.load();
        self.unsent.len() + stanzas < self.queue && bytes < ENOUGH
    }

    /// How many stanzas wait for the connection to take them, and how many bytes: all but what the application wants sent
    /// and has not been promised.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let ((stanzas, bytes), (answers, answer_bytes)) = (self.ledger.waiting(), self.answered);
        (stanzas + answers, bytes + answer_bytes)
    }

    /// Takes over an answer that a handler took its time for: it leaves behind all that has been sent by now, so behind
    /// what the handler has sent.
    pub(super) fn answer(&mut self, bytes: Vec<u8>) -> Result<(), Full<Outgoing>> {
        let answer = Outgoing::new(bytes, Origin::Own);
        let size = answer.bytes.len();
        if self.answered.0 >= ANSWERS || self.answered.1 + size > BYTES {
            return Err(Full(answer));
        }
        self.answered = (self.answered.0 + 1, self.answered.1 + size);
        let before = self.taken + self.commands.queue.len() as u64;
        self.answers.push_back((before, answer));
        self.admit_answers();
        Ok(())
    }

    /// Lets answers in behind the commands that they had to wait for.
    fn admit_answers(&mut self) {
        while self.answers.front().is_some_and(|(before, _)| *before <= self.taken) {
            self.unsent.extend(self.answers.pop_front().map(|(_, answer)| answer));
        }
    }

    /// No more commands are taken over: no answer has to wait for them.
    pub(super) fn admit_all_answers(&mut self) {
        self.unsent.extend(self.answers.drain(..).map(|(_, answer)| answer));
    }

    /// Takes over what the application wants.
    pub(super) fn take(&mut self, command: Option<Command>) -> Option<Leave> {
        self.taken += u64::from(command.is_some());
        let leave = self.carry_out(command);
        self.admit_answers();
        leave
    }

    /// Takes nothing more over from now on. What came behind the wish to leave was taken over, too, and is told or saved.
    pub(super) fn shut(&mut self) {
        self.commands.queue.close();
        while let Ok(command) = self.commands.queue.try_recv() {
            drop(self.take(Some(command)));
        }
    }

    /// What was taken over and no connection has taken.
    pub(super) fn left(&mut self) -> impl Iterator<Item = Unacknowledged> {
        self.unsent.drain(..).filter_map(|outgoing| outgoing.report(false))
    }

    fn carry_out(&mut self, command: Option<Command>) -> Option<Leave> {
        match command {
            Some(Command::Send(bytes, receipt)) => {
                self.unsent.push_back(Outgoing::new(bytes, Origin::Application).followed(receipt));
            }
            // Asked while there is no session, it is asked as soon as there is one.
            Some(Command::Request { id, from, to, bytes, reply }) => {
                if self.requests.insert(&id, from, to, reply) {
                    self.unsent.push_back(Outgoing::new(bytes, Origin::Request(id)));
                }
            }
            Some(Command::Activity { active }) => self.activity.active = active,
            Some(Command::Save(reply)) => {
                let _ = reply.send(self.save(true));
            }
            Some(Command::Close(done)) => return Some(Leave::Close(Some(done))),
            Some(Command::Suspend(reply)) => return Some(Leave::Suspend(reply)),
            None => return Some(Leave::Close(None)),
        }
        None
    }

    /// What it takes to resume the session. `goes_on` says that more will be written until then.
    pub(super) fn save(&self, goes_on: bool) -> Option<SavedSession> {
        let unsent = self.unsent.iter().chain(self.answers.iter().map(|(_, answer)| answer));
        let mut saved = self.ledger.save(unsent)?;
        if goes_on {
            saved.doubtful = saved.stanzas.len();
        }
        saved.keys.clone_from(&self.memory.keys);
        saved.token.clone_from(&self.memory.token);
        saved.floor = self.memory.floor;
        Some(saved)
    }

    /// Waits for `future` while taking commands over; ends early when the application wants no more. Of the `events` it
    /// is taking meanwhile, whoever saves the session has to know.
    pub(super) async fn meanwhile<T>(
        &mut self,
        events: &EventSender,
        future: impl Future<Output = T>,
    ) -> Result<T, Leave> {
        tokio::pin!(future);
        loop {
            let room = self.has_room();
            tokio::select! {
                result = &mut future => return Ok(result),
                command = self.commands.next(room) => {
                    self.ledger.handled.done(events.handled());
                    if let Some(leave) = self.take(command) {
                        return Err(leave);
                    }
                }
            }
        }
    }

    /// Moves into the books what should be written next, until `most` bytes wait there.
    pub(super) fn fill(&mut self, most: usize) {
        while self.ledger.waiting().1 < most
            && let Some(next) = self.unsent.pop_front()
        {
            // A request is only written while somebody waits for the answer.
            if matches!(&next.origin, Origin::Request(id) if !self.requests.awaits(id)) {
                continue;
            }
            let answer = (next.origin == Origin::Own).then_some(next.bytes.len());
            if let Err(full) = self.ledger.push(next) {
                self.unsent.push_front(full.0);
                break;
            }
            if let Some(bytes) = answer {
                self.answered = (self.answered.0 - 1, self.answered.1 - bytes);
            }
        }
    }

    /// The answers are of no use any more: who has asked was told that the session is gone.
    fn forget_answers(&mut self) {
        self.answers.clear();
        self.unsent.retain(|outgoing| outgoing.origin != Origin::Own);
        self.answered = (0, 0);
    }

    /// The session is lost for good; `h` is what the server said of it. What has not arrived waits for the next
    /// session; of what may have, the application is told. Requests whose answers went with it end.
    pub(super) fn settle(&mut self, h: Option<u32>) -> Vec<Unacknowledged> {
        let settled = self.ledger.settle(h);
        self.forget_answers();
        for outgoing in settled.again.into_iter().rev() {
            self.unsent.push_front(outgoing);
        }
        self.fail_requests();
        settled.doubtful.into_iter().filter_map(|outgoing| outgoing.report(true)).collect()
    }

    /// Ends the requests that have been sent: their answers will not come.
    pub(super) fn fail_requests(&mut self) {
        let unsent: HashSet<&str> = self
            .unsent
            .iter()
            .filter_map(|outgoing| match &outgoing.origin {
                Origin::Request(id) => Some(id.as_str()),
                _ => None,
            })
            .collect();
        self.requests.fail_except(|id| unsent.contains(id));
    }

    /// All that is left when there will be no other session.
    pub(super) fn give_up(&mut self) -> Vec<Unacknowledged> {
        self.shut();
        let mut left = self.settle(None);
        left.extend(self.left());
        self.requests.fail_except(|_| false);
        left
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stream::management::Enabled;

    fn desk(queue: usize) -> (mpsc::Sender<Command>, Desk) {
        let (commands, received) = mpsc::channel(queue);
        (commands, Desk::new(received, watch::channel(false).1, queue))
    }

    fn say(commands: &mpsc::Sender<Command>, body: &str) {
        commands.try_send(Command::Send(body.into(), None)).unwrap();
    }

    fn take(desk: &mut Desk) {
        let command = desk.commands.queue.try_recv().unwrap();
        assert!(desk.take(Some(command)).is_none());
    }

    fn unsent(desk: &Desk) -> Vec<&str> {
        desk.unsent.iter().map(|outgoing| std::str::from_utf8(&outgoing.bytes).unwrap()).collect()
    }

    #[test]
    fn an_answer_waits_for_what_was_sent_before_and_for_nothing_else() {
        let (commands, mut desk) = desk(8);
        desk.answer(b"at once".to_vec()).unwrap();
        assert_eq!(unsent(&desk), ["at once"]);
        say(&commands, "one");
        say(&commands, "two");
        desk.answer(b"behind two".to_vec()).unwrap();
        say(&commands, "three");
        desk.answer(b"behind three".to_vec()).unwrap();
        assert_eq!((unsent(&desk).len(), desk.waiting().0), (1, 3));
        for _ in 0..3 {
            take(&mut desk);
        }
        assert_eq!(unsent(&desk), ["at once", "one", "two", "behind two", "three", "behind three"]);
        desk.fill(usize::MAX);
        assert_eq!((desk.waiting().0, desk.answered), (6, (0, 0)));
    }

    #[test]
    fn abuse_a064_answers_that_wait_are_bounded() {
        let (commands, mut desk) = desk(1);
        say(&commands, "never taken");
        let long = vec![b'x'; BYTES / 4];
        for _ in 0..4 {
            desk.answer(long.clone()).unwrap();
        }
        assert!(desk.answer(b"x".to_vec()).is_err());
        desk.settle(None);
        assert_eq!((desk.answered, desk.answers.len()), ((0, 0), 0), "they end with the session");
        for _ in 0..ANSWERS {
            desk.answer(Vec::new()).unwrap();
        }
        assert!(desk.answer(Vec::new()).is_err());
    }

    #[test]
    fn xep0198_5_an_answer_that_waits_is_saved_with_the_session() {
        let (commands, mut desk) = desk(8);
        desk.ledger.begin("juliet@localhost/x".parse().unwrap(), true);
        desk.ledger.enabled(Enabled { id: Some("id".into()), resume: true, ..Enabled::default() });
        say(&commands, "<message/>");
        desk.answer(b"<iq/>".to_vec()).unwrap();
        take(&mut desk);
        say(&commands, "<message/>");
        desk.answer(b"<iq id='2'/>".to_vec()).unwrap();
        let saved = desk.save(false).unwrap();
        let stanzas: Vec<_> = saved.stanzas.iter().map(|saved| (saved.xml.as_str(), saved.sent)).collect();
        assert_eq!(stanzas, [("<message/>", true), ("<iq/>", false), ("<iq id='2'/>", false)]);
    }
}
