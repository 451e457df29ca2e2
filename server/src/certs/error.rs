use std::io;
use std::path::PathBuf;

/// Why a certificate is not made. No text holds a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is an authority already; it stays as it is.
    #[error("{} holds an authority already; choose another folder, or use the one that is there", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// A file holds something else.
    #[error("{} is no {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// Key and certificate do not belong together.
    #[error("ca.key in {} is not the key of ca.pem; put back the one that belongs to it", folder.display())]
    Mismatch {
        /// The folder.
        folder: PathBuf,
    },
    /// The authority's own certificate has expired.
    #[error("the authority in {} has expired; make a new one in another folder", folder.display())]
    Expired {
        /// The folder.
        folder: PathBuf,
    },
    /// A server has no name, or one that is neither a DNS name nor an IP address.
    #[error("{name:?} is no name of a server: a DNS name or an IP address is needed")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The name cannot stand in a certificate as that of a thing.
    #[error("the name for the certificate is not one of a thing")]
    CommonName(#[from] fieldline_model::IdError),
    /// RFC 5280 gives a common name 64 characters at most.
    #[error("the name for the certificate has {length} characters, the limit is {max}")]
    CommonNameLength {
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A certificate signing request without a common name, and none was given.
    #[error("the certificate signing request has no common name, and no other name is given")]
    Nameless,
    /// A validity of no time, or of more than can be written.
    #[error("the validity of a certificate must be between one second and 100 years")]
    Validity,
    /// The text is no certificate.
    #[error("the text is no certificate in PEM")]
    NoCertificate,
    /// The request is damaged, its signature is wrong, or its key is of a kind that is not known here.
    #[error("the certificate signing request is refused")]
    Request(#[source] rcgen::Error),
    /// The key of a request is of a kind that cannot be signed for.
    #[error("the key of the request is of a kind that is not known here; make one with ECDSA on P-256")]
    KeyKind,
    /// A key or certificate cannot be made.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
}
