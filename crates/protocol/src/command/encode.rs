//! From a [`Command`] to its line: the way back of [`super::parse`], for clients and tests.

use std::net::SocketAddr;

use super::{
    ChecksumArgument, Command, Eprt, Epsv, HashAlgorithm, HashName, ListArgument, Opts, Site, Structure,
    TransferMode, TypeCode, family_number,
};
use crate::line::IAC;

impl Command<'_> {
    /// The verb that the command is known by, for logs and metrics: the one of the standard where there are
    /// several (`PWD` for `XPWD`). A command that is not offered is `"NOT-OFFERED"`, lest a metric have a
    /// label for each.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::User(_) => "USER",
            Self::Pass(_) => "PASS",
            Self::Acct(_) => "ACCT",
            Self::Cwd(_) => "CWD",
            Self::Cdup => "CDUP",
            Self::Smnt(_) => "SMNT",
            Self::Rein => "REIN",
            Self::Quit => "QUIT",
            Self::Host(_) => "HOST",
            Self::Port(_) => "PORT",
            Self::Pasv => "PASV",
            Self::Eprt(_) => "EPRT",
            Self::Epsv(_) => "EPSV",
            Self::Type(_) => "TYPE",
            Self::Stru(_) => "STRU",
            Self::Mode(_) => "MODE",
            Self::Retr(_) => "RETR",
            Self::Stor(_) => "STOR",
            Self::Stou(_) => "STOU",
            Self::Appe(_) => "APPE",
            Self::Allo(_) => "ALLO",
            Self::Rest(_) => "REST",
            Self::Rnfr(_) => "RNFR",
            Self::Rnto(_) => "RNTO",
            Self::Abor => "ABOR",
            Self::Dele(_) => "DELE",
            Self::Rmd(_) => "RMD",
            Self::Mkd(_) => "MKD",
            Self::Pwd => "PWD",
            Self::List(_) => "LIST",
            Self::Nlst(_) => "NLST",
            Self::Mlst(_) => "MLST",
            Self::Mlsd(_) => "MLSD",
            Self::Site(_) => "SITE",
            Self::Syst => "SYST",
            Self::Stat(_) => "STAT",
            Self::Help(_) => "HELP",
            Self::Noop => "NOOP",
            Self::Feat => "FEAT",
            Self::Opts(_) => "OPTS",
            Self::Size(_) => "SIZE",
            Self::Mdtm(_) => "MDTM",
            Self::Mfmt(..) => "MFMT",
            Self::Mfct(..) => "MFCT",
            Self::Lang(_) => "LANG",
            Self::Clnt(_) => "CLNT",
            Self::Hash(_) => "HASH",
            Self::Checksum(HashAlgorithm::Crc32, _) => "XCRC",
            Self::Checksum(HashAlgorithm::Md5, _) => "XMD5",
            Self::Checksum(HashAlgorithm::Sha1, _) => "XSHA1",
            Self::Checksum(HashAlgorithm::Sha256, _) => "XSHA256",
            Self::Checksum(HashAlgorithm::Sha512, _) => "XSHA512",
            Self::NotOffered(_) => "NOT-OFFERED",
        }
    }

    /// Appends the command's line, CRLF included, with byte 255 doubled as telnet asks. An LF in an argument,
    /// which FTP has no way to say, becomes `?`, so that a name cannot smuggle a second command in.
    ///
    /// A command that [`super::parse`] gave reads as itself again. Of those made by hand, an argument that
    /// the grammar has no room for (an empty path, a keyword with blanks around it) reads as something else.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut line = Line { out };
        match self {
            Self::NotOffered(verb) => line.raw(verb.as_str()),
            _ => line.raw(self.verb()),
        }
        self.encode_argument(&mut line);
        line.raw("\r\n");
    }

    fn encode_argument(&self, line: &mut Line<'_>) {
        match self {
            Self::Cdup
            | Self::Rein
            | Self::Quit
            | Self::Pasv
            | Self::Abor
            | Self::Pwd
            | Self::Syst
            | Self::Noop
            | Self::Feat
            | Self::NotOffered(_) => {}
            Self::User(argument)
            | Self::Acct(argument)
            | Self::Smnt(argument)
            | Self::Host(argument)
            | Self::Retr(argument)
            | Self::Stor(argument)
            | Self::Appe(argument)
            | Self::Rnfr(argument)
            | Self::Rnto(argument)
            | Self::Dele(argument)
            | Self::Rmd(argument)
            | Self::Mkd(argument)
            | Self::Size(argument)
            | Self::Mdtm(argument)
            | Self::Clnt(argument)
            | Self::Hash(argument) => line.word(argument),
            Self::Cwd(argument)
            | Self::Stou(argument)
            | Self::Mlst(argument)
            | Self::Mlsd(argument)
            | Self::Help(argument)
            | Self::Lang(argument) => line.optional(*argument),
            Self::Pass(password) => line.word(password.reveal()),
            Self::Allo(number) | Self::Rest(number) => line.text(&number.to_string()),
            Self::List(argument) | Self::Nlst(argument) | Self::Stat(argument) => line.listing(argument),
            Self::Mfmt(time, path) | Self::Mfct(time, path) => {
                line.text(&time.to_string());
                line.word(path);
            }
            Self::Port(address) => line.text(&host_port(*address)),
            Self::Eprt(argument) => line.text(&eprt(argument)),
            Self::Epsv(argument) => line.optional(epsv(*argument).map(str::as_bytes)),
            Self::Type(code) => line.text(match code {
                TypeCode::Ascii => "A",
                TypeCode::Image => "I",
                TypeCode::NotOffered => "E",
            }),
            Self::Stru(structure) => line.text(match structure {
                Structure::File => "F",
                Structure::NotOffered => "R",
            }),
            Self::Mode(mode) => line.text(match mode {
                TransferMode::Stream => "S",
                TransferMode::NotOffered => "B",
            }),
            Self::Site(site) => line.site(site),
            Self::Opts(options) => line.options(options),
            Self::Checksum(_, argument) => line.checksum(argument),
        }
    }
}

/// A line that is being written.
struct Line<'a> {
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    /// ASCII of this source.
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A blank, and ASCII of this source or of a number.
    fn text(&mut self, text: &str) {
        self.raw(" ");
        self.raw(text);
    }

    /// A blank, and bytes from elsewhere.
    fn word(&mut self, argument: &[u8]) {
        self.raw(" ");
        for &byte in argument {
            match byte {
                b'\n' => self.out.push(b'?'),
                IAC => self.out.extend_from_slice(&[IAC, IAC]),
                _ => self.out.push(byte),
            }
        }
    }

    fn optional(&mut self, argument: Option<&[u8]>) {
        if let Some(argument) = argument {
            self.word(argument);
        }
    }

    fn listing(&mut self, argument: &ListArgument<'_>) {
        if argument.all {
            self.text("-a");
        }
        if let Some(path) = argument.path {
            if path.starts_with(b"-") {
                self.text("--");
            }
            self.word(path);
        }
    }

    fn site(&mut self, site: &Site<'_>) {
        match site {
            Site::Chmod(mode, path) => {
                self.text(&format!("CHMOD {mode:03o}"));
                self.word(path);
            }
            // The longer form, for it is tried first: a path that looks like its end cannot be mistaken.
            Site::Utime(time, path) => {
                self.text("UTIME");
                self.word(path);
                self.text(&format!("{time} {time} {time} UTC"));
            }
            Site::Help => self.text("HELP"),
            Site::Unknown => self.text("?"),
        }
    }

    fn options(&mut self, options: &Opts<'_>) {
        match options {
            Opts::Utf8On => self.text("UTF8 ON"),
            Opts::Utf8Off => self.text("UTF8 OFF"),
            Opts::Mlst(facts) => {
                self.text("MLST");
                self.word(facts);
            }
            Opts::Hash(name) => {
                self.text("HASH");
                self.optional(name.as_ref().map(|name| match name {
                    HashName::Known(algorithm) => algorithm.name().as_bytes(),
                    HashName::Unknown(name) => name,
                }));
            }
            Opts::Unknown => self.text("?"),
        }
    }

    /// Always in quotes, so that digits in the path stay in the path.
    fn checksum(&mut self, argument: &ChecksumArgument<'_>) {
        let mut quoted = Vec::with_capacity(argument.path.len() + 2);
        quoted.push(b'"');
        for &byte in &*argument.path {
            quoted.push(byte);
            if byte == b'"' {
                quoted.push(b'"');
            }
        }
        quoted.push(b'"');
        self.word(&quoted);
        if argument.start != 0 || argument.end.is_some() {
            self.text(&argument.start.to_string());
        }
        if let Some(end) = argument.end {
            self.text(&end.to_string());
        }
    }
}

/// `h1,h2,h3,h4,p1,p2`. An IPv6 address, which `PORT` cannot say and `parse` never gives, is written as the
/// address 0.0.0.0, which every server refuses.
fn host_port(address: SocketAddr) -> String {
    let octets = match address {
        SocketAddr::V4(address) => address.ip().octets(),
        SocketAddr::V6(_) => [0; 4],
    };
    let [h1, h2, h3, h4] = octets;
    let [p1, p2] = address.port().to_be_bytes();
    format!("{h1},{h2},{h3},{h4},{p1},{p2}")
}

fn eprt(argument: &Eprt) -> String {
    match argument {
        Eprt::Address(address) => {
            let (family, address, port) = (family_number(address.ip()), address.ip(), address.port());
            format!("|{family}|{address}|{port}|")
        }
        Eprt::NotIpv4 => "|1|?|1|".to_owned(),
        Eprt::NotIpv6 => "|2|?|1|".to_owned(),
        Eprt::UnknownFamily => "|3|?|1|".to_owned(),
    }
}

fn epsv(argument: Epsv) -> Option<&'static str> {
    match argument {
        Epsv::SameFamily => None,
        Epsv::Ipv4 => Some("1"),
        Epsv::Ipv6 => Some("2"),
        Epsv::UnknownFamily => Some("3"),
        Epsv::All => Some("ALL"),
    }
}
