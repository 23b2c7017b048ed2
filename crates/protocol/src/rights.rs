//! What an account may do.

bitflags::bitflags! {
    /// The rights of an account, one for each kind of operation.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Rights: u16 {
        /// See names and facts: `LIST`, `NLST`, `MLSD`, `MLST`, `STAT`, `SIZE`, `MDTM`.
        const LIST = 1 << 0;
        /// Read contents: `RETR`, `HASH` and the checksums.
        const DOWNLOAD = 1 << 1;
        /// Store new files: `STOR`, `STOU`.
        const UPLOAD = 1 << 2;
        /// Replace files that exist: `STOR` onto one.
        const OVERWRITE = 1 << 3;
        /// Change files that exist in place: `APPE`, and `STOR` after `REST`.
        const APPEND = 1 << 4;
        /// `DELE` and `RMD`.
        const DELETE = 1 << 5;
        /// `RNFR` and `RNTO`.
        const RENAME = 1 << 6;
        /// `MKD`.
        const MAKE_DIRECTORY = 1 << 7;
        /// `MFMT`, `SITE UTIME`.
        const SET_TIMES = 1 << 8;
        /// `SITE CHMOD`.
        const SET_MODES = 1 << 9;

        /// Look and fetch.
        const READER = Self::LIST.bits() | Self::DOWNLOAD.bits();
        /// Look, fetch, and add what is not there yet.
        const UPLOADER = Self::READER.bits() | Self::UPLOAD.bits() | Self::MAKE_DIRECTORY.bits();
        /// Everything.
        const WRITER = u16::MAX >> 6;
    }
}
