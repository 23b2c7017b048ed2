//! A server that says what it is told to say.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use protocol::command::{Command, Eprt, parse};

/// What PASV and EPSV come to.
#[derive(Clone, Copy)]
pub(crate) enum Passive {
    /// The address and port where it listens.
    Honest,
    /// That port, and this address.
    Tells(Ipv4Addr),
    /// This port, where it does not listen.
    Port(u16),
    /// This reply.
    Refuses(&'static str),
}

/// What PORT and EPRT come to.
#[derive(Clone, Copy)]
pub(crate) enum Active {
    Connects,
    /// 200 and 150, and nothing more.
    StaysAway,
    /// 425 to the listing.
    Fails,
    /// This reply.
    Refuses(&'static str),
}

pub(crate) struct FakeServer(SocketAddr);

impl FakeServer {
    /// Serves until the test's process ends.
    pub(crate) fn start(passive: Passive, active: Active) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for control in listener.incoming() {
                // A client that goes away in the middle ends its session and no more.
                thread::spawn(move || Session::new(control?, passive, active).serve());
            }
        });
        Self(address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port()
    }
}

/// Where the next data connection comes from.
enum Data {
    None,
    Listening(TcpListener),
    /// It listens elsewhere, and nobody will come.
    Elsewhere,
    To(SocketAddr),
}

struct Session {
    control: TcpStream,
    passive: Passive,
    active: Active,
    data: Data,
}

impl Session {
    fn new(control: TcpStream, passive: Passive, active: Active) -> Self {
        Self { control, passive, active, data: Data::None }
    }

    fn serve(mut self) -> std::io::Result<()> {
        self.say("220-Welcome\r\n to the fake\r\n220 ready.")?;
        let lines = BufReader::new(self.control.try_clone()?).split(b'\n');
        for line in lines {
            let line = line?;
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            match parse(line).unwrap() {
                Command::User(b"mallory") => self.say("530 Not you.")?,
                Command::User(_) => self.say("331 Password?")?,
                Command::Pass(_) => self.say("230 Come in.")?,
                Command::Feat => self.say("211-Features\r\n EPRT\r\n EPSV\r\n211 End")?,
                Command::Epsv(_) => self.on_passive(true)?,
                Command::Pasv => self.on_passive(false)?,
                Command::Port(address) | Command::Eprt(Eprt::Address(address)) => self.on_active(address)?,
                Command::List(_) => self.on_list()?,
                other => panic!("nobody expects {other:?}"),
            }
        }
        Ok(())
    }

    fn say(&mut self, reply: &str) -> std::io::Result<()> {
        write!(self.control, "{reply}\r\n")
    }

    fn on_passive(&mut self, extended: bool) -> std::io::Result<()> {
        let (port, ip) = match self.passive {
            Passive::Refuses(reply) => return self.say(reply),
            Passive::Port(port) => {
                self.data = Data::Elsewhere;
                (port, Ipv4Addr::LOCALHOST)
            }
            Passive::Honest | Passive::Tells(_) => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let port = listener.local_addr()?.port();
                self.data = Data::Listening(listener);
                (port, if let Passive::Tells(ip) = self.passive { ip } else { Ipv4Addr::LOCALHOST })
            }
        };
        if extended {
            return self.say(&format!("229 Extended (|||{port}|)"));
        }
        let ([a, b, c, d], [high, low]) = (ip.octets(), port.to_be_bytes());
        self.say(&format!("227 Passive ({a},{b},{c},{d},{high},{low})."))
    }

    fn on_active(&mut self, address: SocketAddr) -> std::io::Result<()> {
        if let Active::Refuses(reply) = self.active {
            return self.say(reply);
        }
        self.data = Data::To(address);
        self.say("200 Noted.")
    }

    fn on_list(&mut self) -> std::io::Result<()> {
        let data = match (std::mem::replace(&mut self.data, Data::None), self.active) {
            (Data::Listening(listener), _) => {
                self.say("150 Here it comes.")?;
                listener.accept()?.0
            }
            (Data::To(_), Active::StaysAway) => return self.say("150 Here it comes."),
            (Data::To(address), Active::Connects) => {
                let data = TcpStream::connect(address)?;
                self.say("150 Here it comes.")?;
                data
            }
            _ => return self.say("425 No data connection."),
        };
        (&data).write_all(b"-rw-r--r-- 1 ftp ftp 0 Jan 1 00:00 file\r\n")?;
        drop(data);
        self.say("226 Done.")
    }
}

/// A listener that takes no more connections: the kernel drops further ones without a word.
pub(crate) struct FullListener {
    listener: socket2::Socket,
    _waiting: Vec<TcpStream>,
}

impl FullListener {
    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().as_socket().unwrap().port()
    }
}

/// Fills the shortest queue there is.
pub(crate) fn full_listener() -> FullListener {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let waiting = std::iter::from_fn(connect).collect();
    FullListener { listener, _waiting: waiting }
}
