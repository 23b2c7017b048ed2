//! The session's replies, named by what they mean. The codes are those of RFC 959 section 4.2 and of the RFC that a
//! comment names.

use crate::reply::{Code, Reply};

pub(super) const GREETING: Code = Code::new(220);
pub(super) const DATA_OPENING: Code = Code::new(150);
pub(super) const OKAY: Code = Code::new(200);
pub(super) const STATUS: Code = Code::new(211);
pub(super) const FILE_STATUS: Code = Code::new(213);
pub(super) const HELP: Code = Code::new(214);
pub(super) const PASSIVE: Code = Code::new(227);
pub(super) const EXTENDED_PASSIVE: Code = Code::new(229);
pub(super) const FILE_OKAY: Code = Code::new(250);
pub(super) const FILE_PENDING: Code = Code::new(350);
pub(super) const SYNTAX_ERROR_IN_ARGUMENTS: Code = Code::new(501);
pub(super) const NOT_IMPLEMENTED: Code = Code::new(502);
pub(super) const ARGUMENT_NOT_IMPLEMENTED: Code = Code::new(504);
pub(super) const FAMILY_NOT_SUPPORTED: Code = Code::new(522); // RFC 2428 section 2
pub(super) const NOT_TAKEN: Code = Code::new(550);

const fn reply(code: u16, text: &'static str) -> Reply {
    Reply::fixed(Code::new(code), text)
}

// Access control.
pub(super) const PASSWORD_PLEASE: Reply = reply(331, "Password required.");
pub(super) const GUEST_PASSWORD_PLEASE: Reply = reply(331, "Guest login; any password will do.");
pub(super) const LOGGED_IN: Reply = reply(230, "Logged in.");
pub(super) const LOGIN_INCORRECT: Reply = reply(530, "Authentication failed.");
pub(super) const TOO_MANY_LOGINS: Reply =
    reply(530, "Authentication failed too often; closing the control connection.");
pub(super) const ACCOUNT_FULL: Reply =
    reply(530, "This account has as many sessions as it may have; try again later.");
pub(super) const LOGIN_NOT_CHECKED: Reply = reply(451, "The login could not be checked; try again.");
pub(super) const NOT_LOGGED_IN: Reply = reply(530, "Log in with USER and PASS first.");
pub(super) const USER_FIRST: Reply = reply(503, "Login with USER first.");
pub(super) const ALREADY_LOGGED_IN: Reply = reply(503, "User already authenticated.");
pub(super) const ACCOUNT_SUPERFLUOUS: Reply = reply(202, "No account is needed here.");
pub(super) const HOST_ACCEPTED: Reply = reply(220, "Host accepted."); // RFC 7151 section 3.2
pub(super) const HOST_BEFORE_USER: Reply = reply(503, "HOST comes before USER.");
pub(super) const REINITIALISED: Reply = reply(220, "Ready for a new user.");
pub(super) const GOODBYE: Reply = reply(221, "Goodbye.");
pub(super) const PERMISSION_DENIED: Reply = reply(550, "Permission denied: this account may not do that.");
pub(super) const LOGIN_DEADLINE: Reply =
    reply(421, "No login within the time allowed; closing the control connection.");
pub(super) const IDLE_DEADLINE: Reply = reply(421, "Control connection timed out.");
pub(super) const SHUTTING_DOWN: Reply =
    reply(421, "The server is shutting down; closing the control connection.");

// Transfer parameters.
pub(super) const ACTIVE_OKAY: Reply = reply(200, "Active data connection noted.");
pub(super) const EPSV_ALL_OKAY: Reply = reply(200, "EPSV ALL command successful.");
pub(super) const ONLY_EPSV: Reply = reply(501, "Not allowed after EPSV ALL.");
pub(super) const PASV_NEEDS_IPV4: Reply = reply(425, "PASV needs IPv4; use EPSV.");
pub(super) const PORT_NEEDS_IPV4: Reply = reply(501, "PORT needs IPv4; use EPRT.");
pub(super) const ACTIVE_NOT_OFFERED: Reply =
    reply(502, "This server does not connect to clients; use EPSV or PASV.");
pub(super) const FOREIGN_ADDRESS: Reply = reply(
    501,
    "Rejected data connection to foreign address: it must be that of the control connection; behind a translator use EPSV or PASV.",
);
pub(super) const ADDRESS_OF_SERVER: Reply = reply(501, "Rejected data connection to the server itself.");
pub(super) const PRIVILEGED_PORT: Reply =
    reply(501, "Rejected data connection to a privileged port (below 1024).");
pub(super) const ASCII_TYPE: Reply = reply(200, "Type set to: ASCII.");
pub(super) const IMAGE_TYPE: Reply = reply(200, "Type set to: Binary.");
pub(super) const TYPE_NOT_OFFERED: Reply =
    reply(504, "Only TYPE A, TYPE I, TYPE L 7 and TYPE L 8 are offered.");
pub(super) const FILE_STRUCTURE: Reply = reply(200, "File structure set to: F.");
pub(super) const STRUCTURE_NOT_OFFERED: Reply =
    reply(504, "Unimplemented structure: only STRU F is offered.");
pub(super) const STREAM_MODE: Reply = reply(200, "Transfer mode set to: S.");
pub(super) const MODE_NOT_OFFERED: Reply = reply(504, "Unimplemented mode: only MODE S is offered.");

// Transfers.
pub(super) const DATA_SETUP_FIRST: Reply = reply(425, "Use PASV, EPSV, PORT or EPRT first.");
pub(super) const TRANSFER_COMPLETE: Reply = reply(226, "Transfer complete.");
pub(super) const TRANSFER_ABORTED: Reply = reply(426, "Transfer aborted via ABOR.");
pub(super) const CHECKSUM_ABORTED: Reply = reply(426, "Checksum aborted.");
pub(super) const ABORT_DONE: Reply = reply(226, "ABOR command successful.");
pub(super) const NOTHING_TO_ABORT: Reply = reply(225, "No transfer to abort.");
pub(super) const SETUP_ABORTED: Reply = reply(225, "ABOR command successful; data connection closed.");
pub(super) const ALLOCATION_NOTED: Reply = reply(200, "Allocation noted.");
pub(super) const NO_RESTART_IN_ASCII: Reply =
    reply(501, "Resuming transfers is not allowed in ASCII mode; use TYPE I first.");
pub(super) const APPEND_AFTER_REST: Reply = reply(450, "Can't APPE while REST request is pending.");
pub(super) const UNIQUE_AFTER_REST: Reply = reply(450, "Can't STOU while REST request is pending.");
pub(super) const PATH_TOO_LONG: Reply = reply(553, "The path is too long.");
pub(super) const PATH_HAS_ZERO: Reply = reply(553, "A path cannot have a zero byte in it.");

// Files.
pub(super) const DIRECTORY_REMOVED: Reply = reply(250, "Directory removed.");
pub(super) const FILE_REMOVED: Reply = reply(250, "File removed.");
pub(super) const RENAME_READY: Reply = reply(350, "Ready for destination name.");
pub(super) const RENAMED: Reply = reply(250, "Renamed.");
pub(super) const RENAME_FROM_FIRST: Reply = reply(503, "Bad sequence of commands: use RNFR first.");
pub(super) const ROOT_STAYS: Reply = reply(550, "Can't remove root directory.");
pub(super) const ROOT_KEEPS_ITS_NAME: Reply = reply(550, "Can't rename home directory.");
pub(super) const NO_SIZE_IN_ASCII: Reply = reply(550, "SIZE not allowed in ASCII mode; use TYPE I first.");
pub(super) const MODE_CHANGED: Reply = reply(200, "SITE CHMOD command successful.");
pub(super) const CREATION_TIME_NOT_OFFERED: Reply =
    reply(502, "MFCT is not offered: Linux keeps no creation time that can be set.");
pub(super) const MOUNT_NOT_OFFERED: Reply = reply(502, "SMNT is not offered.");

pub(super) const EPRT_MALFORMED: Reply = reply(501, "Invalid EPRT format.");

// Arguments that are there and malformed, where more can be said than the syntax.
pub(super) const MALFORMED: [(&str, Reply); 7] = [
    ("PORT", reply(501, "Invalid PORT format.")),
    ("EPRT", EPRT_MALFORMED),
    ("TYPE", reply(501, "Unsupported type: TYPE A, TYPE I, TYPE L 7 and TYPE L 8 are offered.")),
    ("STRU", reply(501, "Unrecognized structure: STRU F is offered.")),
    ("MODE", reply(501, "Unrecognized mode: MODE S is offered.")),
    ("REST", reply(501, "Invalid parameter: REST takes a number of bytes.")),
    ("MFMT", reply(501, "Syntax error: Invalid time format; MFMT YYYYMMDDHHMMSS path.")),
];

// Information.
pub(super) const LINE_TOO_LONG: Reply = reply(500, "Command line too long.");
pub(super) const UNKNOWN_COMMAND: Reply = reply(500, "Command not understood; try HELP.");
pub(super) const SYSTEM: Reply = reply(215, "UNIX Type: L8");
pub(super) const NOOP_OKAY: Reply = reply(200, "I successfully did nothing.");
pub(super) const UTF8_ON: Reply = reply(200, "UTF8 set to on.");
pub(super) const UTF8_ALWAYS: Reply =
    reply(504, "Names are always sent as they are stored; UTF8 cannot be switched off.");
pub(super) const CLIENT_NOTED: Reply = reply(200, "Noted.");
pub(super) const ENGLISH: Reply = reply(200, "Replies are in English.");
pub(super) const ONLY_ENGLISH: Reply = reply(504, "Replies are in English only.");
pub(super) const OPTIONS_UNKNOWN: Reply = reply(501, "There are no options for that command.");
pub(super) const FACT_LIST_MALFORMED: Reply = reply(501, "Syntax: OPTS MLST fact;fact;");
pub(super) const SITE_UNKNOWN: Reply =
    reply(504, "Unrecognized SITE command: not understood; try SITE HELP.");
pub(super) const HELP_UNKNOWN: Reply = reply(501, "Unrecognized command.");
