//! Clients that vanish at random points: before the greeting, in the middle of a line, between PASV and its connection,
//! in the middle of a download or of an upload. What they leave behind is looked for when all are gone.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use protocol::command::Command;
use runtime::Stream;
use socket2::SockRef;

use crate::client::Control;
use crate::failure::Failure;
use crate::slot::Slot;

/// What a vanishing client has sent of its upload: more than fits into no buffer at all, less than the whole.
const SENT_BYTES: usize = 8 * 1024;

#[derive(Debug, Clone, Copy)]
enum Point {
    Connected,
    InALine,
    LoggedIn,
    PortLeased,
    DataConnected,
    Downloading,
    Uploading,
}

const POINTS: [Point; 7] = [
    Point::Connected,
    Point::InALine,
    Point::LoggedIn,
    Point::PortLeased,
    Point::DataConnected,
    Point::Downloading,
    Point::Uploading,
];

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    while let Some(unit) = slot.begin().await {
        let point = usize::try_from(slot.random.below(POINTS.len() as u64)).unwrap_or(0);
        vanish_at(&slot, POINTS[point]).await?;
        slot.complete(unit);
    }
    Ok(())
}

async fn vanish_at(slot: &Rc<Slot>, point: Point) -> Result<(), Failure> {
    let mut control = Control::open(slot).await?;
    match point {
        Point::Connected => {}
        Point::InALine => control.send_bytes(b"USER anon").await?,
        Point::LoggedIn => control.login().await?,
        Point::PortLeased => {
            control.login().await?;
            control.passive().await?;
        }
        Point::DataConnected => {
            control.login().await?;
            let _data = control.open_data().await?;
        }
        Point::Downloading => {
            control.login().await?;
            let data = control.open_data().await?;
            // With the first bytes it is gone: the others are on their way, or still to be sent.
            control.download(data, &Command::Retr(slot.file().0), |_| ControlFlow::Break(())).await?;
        }
        Point::Uploading => return upload_a_part(slot, control).await,
    }
    if slot.random.below(2) == 0 {
        reset(control.stream());
    }
    Ok(())
}

/// Sends a part of a file and vanishes: the control connection first, as it may, and then the data connection, always with a reset, so
/// that nobody can take its end for the end of the file.
async fn upload_a_part(slot: &Rc<Slot>, mut control: Control) -> Result<(), Failure> {
    control.login().await?;
    let mut path = slot.plan.server.upload_folder.clone();
    let name = format!("{}{}-{}", slot.plan.abandoned_prefix(), slot.number, slot.begun.get());
    path.extend_from_slice(name.as_bytes());
    let data = control.open_data().await?;
    let (stream, _) = control.begin_transfer(data, &Command::Stor(&path)).await?;
    stream.send_all(&[b'x'; SENT_BYTES]).await.map_err(|error| slot.failed(error))?;
    if slot.random.below(2) == 0 {
        reset(control.stream());
    }
    drop(control);
    reset(&stream);
    drop(stream);
    Ok(())
}

/// Closing this connection will reset it.
fn reset(stream: &Stream) {
    // If it cannot be set, the connection ends in the usual way, as that of another client.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
