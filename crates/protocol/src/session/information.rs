//! What the server tells of itself: `FEAT`, `HELP`, `OPTS`, `LANG`.

use std::fmt::Write as _;

use crate::command::{self, HashAlgorithm, Opts};
use crate::reply::Reply;

use super::replies as say;
use super::{FactSelection, Session};

impl Session {
    /// RFC 2389 section 3.2.
    pub(super) fn on_feat(&mut self) {
        let mut features: Vec<Vec<u8>> = Vec::new();
        for feature in ["CLNT", "EPRT", "EPSV"] {
            features.push(feature.into());
        }
        features.push(hash_feature(self.hash).into_bytes());
        for feature in ["HOST", "LANG en*", "MDTM", "MFMT"] {
            features.push(feature.into());
        }
        features.push(self.facts.feature_line().into_bytes());
        for feature in ["REST STREAM", "SIZE", "TVFS", "UTF8", "XCRC", "XMD5", "XSHA1", "XSHA256"] {
            features.push(feature.into());
        }
        self.reply(Reply::lines(say::STATUS, "Features supported:", features, "End FEAT."));
    }

    pub(super) fn on_help(&mut self, topic: Option<&[u8]>) {
        let Some(topic) = topic else {
            let verbs: Vec<&str> = command::offered_verbs().collect();
            let body = verbs.chunks(10).map(|row| row.join(" ").into_bytes()).collect();
            return self.reply(Reply::lines(
                say::HELP,
                "The following commands are recognized:",
                body,
                "Help okay.",
            ));
        };
        self.reply(match command::syntax(topic) {
            Some(syntax) => Reply::new(say::HELP, format!("Syntax: {syntax}")),
            None => say::HELP_UNKNOWN,
        });
    }

    pub(super) fn on_site_help(&mut self) {
        let body = command::site_syntaxes().map(|syntax| syntax.as_bytes().to_vec()).collect();
        self.reply(Reply::lines(
            say::HELP,
            "The following SITE commands are recognized:",
            body,
            "Help okay.",
        ));
    }

    pub(super) fn on_opts(&mut self, options: Opts<'_>) {
        match options {
            Opts::Utf8On => self.reply(say::UTF8_ON),
            Opts::Utf8Off => self.reply(say::UTF8_ALWAYS),
            Opts::Mlst(list) => match FactSelection::read(list) {
                Some(selection) => {
                    self.facts = selection;
                    self.reply(Reply::new(say::OKAY, format!("MLST OPTS {selection}")));
                }
                None => self.reply(say::FACT_LIST_MALFORMED),
            },
            Opts::Hash(name) => self.on_hash_option(name),
            Opts::Unknown => self.reply(say::OPTIONS_UNKNOWN),
        }
    }

    /// RFC 2640 section 4.1: without a tag, the default language.
    pub(super) fn on_lang(&mut self, tag: Option<&[u8]>) {
        let is_english = tag.is_none_or(|tag| {
            let primary = tag.split(|&byte| byte == b'-').next().unwrap_or_default();
            primary.eq_ignore_ascii_case(b"en")
        });
        self.reply(if is_english { say::ENGLISH } else { say::ONLY_ENGLISH });
    }
}

/// The algorithms of `HASH`, with an asterisk behind the one that is chosen.
fn hash_feature(chosen: HashAlgorithm) -> String {
    let mut line = String::from("HASH ");
    for (position, algorithm) in HashAlgorithm::ALL.into_iter().enumerate() {
        let separator = if position == 0 { "" } else { ";" };
        let mark = if algorithm == chosen { "*" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(line, "{separator}{}{mark}", algorithm.name());
    }
    line
}
