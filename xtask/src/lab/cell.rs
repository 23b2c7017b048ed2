//! One cell of the table: transfers by one way on one control port, by all clients of the situation at once.

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::Context as _;

use crate::lab::client::{Client, Dialogue, Way};
use crate::lab::plan::CONTROL_PORTS;
use crate::lab::server::Server;
use crate::lab::table::{ClientAt, Outcome, Seat};
use crate::lab::world::World;

/// The name of the file that every client downloads.
pub(crate) const SAMPLE: &str = "sample";

/// How large a file is: many segments each way, and not a whole number of anything.
const SAMPLE_BYTES: usize = 300_007;

/// What all cells share.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) world: &'a World,
    pub(crate) server: &'a Server,
    /// A directory for what clients download.
    pub(crate) scratch: PathBuf,
}

/// Bytes that repeat nowhere soon, so that lost, doubled and exchanged blocks all show.
pub(crate) fn sample() -> Vec<u8> {
    let mut state: u32 = 0x9e37_79b9;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..SAMPLE_BYTES).map(next).collect()
}

impl Bench<'_> {
    /// Has every client transfer at once, and says what was not as it has to be.
    pub(crate) fn check(
        &self,
        seats: &[Seat],
        port: usize,
        way: Way,
        outcome: Outcome,
    ) -> anyhow::Result<Vec<String>> {
        thread::scope(|scope| {
            let running: Vec<_> = seats
                .iter()
                .map(|seat| scope.spawn(move || self.check_one(seat, CONTROL_PORTS[port], way, outcome)))
                .collect();
            let ended = running
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            ended.filter_map(anyhow::Result::transpose).collect()
        })
    }

    fn check_one(
        &self,
        seat: &Seat,
        port: u16,
        way: Way,
        outcome: Outcome,
    ) -> anyhow::Result<Option<String>> {
        let machine = match seat.at {
            ClientAt::Home => &self.world.client,
            ClientAt::Internet => &self.world.direct,
            ClientAt::Site => &self.world.inner,
        };
        let client = Client { machine, host: seat.host, port };
        let label = format!("{}-{port}-{way}", machine.name());
        let complaint = match outcome {
            Outcome::Works => self.check_works(seat, client, way, &label)?,
            Outcome::Refused(reply) => self.check_refused(seat, client, way, reply, &label)?,
        };
        let context = |text| format!("{way} from {} to {}:{port}: {text}", machine.name(), seat.host);
        Ok(complaint.map(context))
    }

    fn check_works(
        &self,
        seat: &Seat,
        client: Client<'_>,
        way: Way,
        label: &str,
    ) -> anyhow::Result<Option<String>> {
        let content = fs::read(self.server.directory.join(SAMPLE)).context("the sample is gone")?;
        let local = self.scratch.join(label);
        let down = client.download(way, SAMPLE, &local)?;
        if let Some(complaint) = complaint_about(&down, seat, way) {
            return Ok(Some(complaint));
        }
        if fs::read(&local)? != content {
            return Ok(Some(format!("the download differs from the file\n{}", down.text)));
        }
        let up = client.upload(way, &local, label)?;
        if let Some(complaint) = complaint_about(&up, seat, way) {
            return Ok(Some(complaint));
        }
        let stored = self.server.directory.join(label);
        let is_whole = fs::read(&stored).is_ok_and(|bytes| bytes == content);
        // The same way may be checked again, after a change.
        fs::remove_file(stored).ok();
        fs::remove_file(local)?;
        Ok((!is_whole).then(|| format!("what was uploaded differs\n{}", up.text)))
    }

    fn check_refused(
        &self,
        seat: &Seat,
        client: Client<'_>,
        way: Way,
        reply: &str,
        label: &str,
    ) -> anyhow::Result<Option<String>> {
        let never_sent_by_curl = seat.host.is_ipv6() && matches!(way, Way::Pasv | Way::Port);
        if never_sent_by_curl {
            return Ok(complaint_unless_refused(&client.send(way)?, way, reply));
        }
        let local = self.scratch.join(label);
        let down = client.download(way, SAMPLE, &local)?;
        if let Some(complaint) = complaint_unless_refused(&down, way, reply) {
            return Ok(Some(complaint));
        }
        let up = client.upload(way, &self.server.directory.join(SAMPLE), label)?;
        if self.server.directory.join(label).exists() {
            return Ok(Some(format!("an upload that was refused left a file\n{}", up.text)));
        }
        Ok(complaint_unless_refused(&up, way, reply))
    }
}

fn complaint_about(dialogue: &Dialogue, seat: &Seat, way: Way) -> Option<String> {
    let others = Way::ALL.iter().filter(|other| **other != way);
    let complaint = if !dialogue.succeeded {
        String::from("no transfer")
    } else if !dialogue.sent(way.command()) {
        format!("the client did not send {way}")
    } else if let Some(other) = others.into_iter().find(|other| dialogue.sent(other.command())) {
        format!("the client fell back to {other}")
    } else if let Some(told) = seat.told.filter(|_| way == Way::Pasv) {
        let [a, b, c, d] = told.octets();
        let expected = format!("227 Entering Passive Mode ({a},{b},{c},{d},");
        if dialogue.replies_from("PASV").any(|reply| reply.starts_with(&expected)) {
            return None;
        }
        format!("the reply to PASV does not name {told}")
    } else {
        return None;
    };
    Some(format!("{complaint}\n{}", dialogue.text))
}

fn complaint_unless_refused(dialogue: &Dialogue, way: Way, reply: &str) -> Option<String> {
    let complaint = if dialogue.succeeded {
        "the transfer worked, and should not have"
    } else if !dialogue.replies_from(way.command()).any(|said| said == reply) {
        "refused, but not with the reply that was promised"
    } else {
        return None;
    };
    Some(format!("{complaint} ({reply})\n{}", dialogue.text))
}
