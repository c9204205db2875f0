//! Hash functions (XEP-0300), while a file streams by.

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use xmpp_core::payload::{Base64, hash::Hash};

type Blake2b256 = blake2::Blake2b<sha2::digest::consts::U32>;
type Blake2b512 = blake2::Blake2b512;

macro_rules! functions {
    ($($variant:ident $name:literal $type_:ty, $bytes:literal, $doc:literal;)*) => {
        /// A hash function, from the strongest to the weakest. MD5 is not among them: it is as good as none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Function {
            $(#[doc = $doc] $variant,)*
        }

        impl Function {
            /// All of them, the strongest first.
            pub const ALL: &'static [Function] = &[$(Function::$variant),*];

            /// The name in `algo` (§3).
            pub fn name(self) -> &'static str {
                match self {
                    $(Function::$variant => $name,)*
                }
            }

            /// The length of a hash, in bytes.
            pub fn bytes(self) -> usize {
                match self {
                    $(Function::$variant => $bytes,)*
                }
            }
        }

        #[derive(Clone)]
        enum State {
            $($variant(Box<$type_>),)*
        }

        impl State {
            fn new(function: Function) -> State {
                match function {
                    $(Function::$variant => State::$variant(Box::default()),)*
                }
            }

            fn update(&mut self, bytes: &[u8]) {
                match self {
                    $(State::$variant(state) => state.update(bytes),)*
                }
            }

            fn finish(self) -> Vec<u8> {
                match self {
                    $(State::$variant(state) => state.finalize().to_vec(),)*
                }
            }
        }
    };
}

functions! {
    Sha512 "sha-512" Sha512, 64, "SHA-512 (RFC 6234).";
    Sha3_512 "sha3-512" sha3::Sha3_512, 64, "SHA3-512 (FIPS 202).";
    Blake2b512 "blake2b-512" Blake2b512, 64, "BLAKE2b with 512 bits (RFC 7693).";
    Sha384 "sha-384" Sha384, 48, "SHA-384 (RFC 6234).";
    Sha256 "sha-256" Sha256, 32, "SHA-256 (RFC 6234).";
    Sha3_256 "sha3-256" sha3::Sha3_256, 32, "SHA3-256 (FIPS 202).";
    Blake2b256 "blake2b-256" Blake2b256, 32, "BLAKE2b with 256 bits (RFC 7693).";
    Sha1 "sha-1" Sha1, 20, "SHA-1 (RFC 6234), which proves nothing: two files of one hash can be made.";
}

impl Function {
    /// The function of a name; `None` for one that is not known.
    pub fn from_name(name: &str) -> Option<Function> {
        // As the registry of features has it (§9.3).
        let name = match name {
            "id-blake2b256" => "blake2b-256",
            "id-blake2b512" => "blake2b-512",
            name => name,
        };
        Function::ALL.iter().copied().find(|function| function.name() == name)
    }

    /// The strongest of those that are known here; others are passed over.
    pub fn strongest<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Function> {
        names.into_iter().filter_map(Function::from_name).min()
    }

    /// Whether an equal hash means an equal file, also where somebody wants to deceive.
    pub fn is_proof(self) -> bool {
        self != Function::Sha1
    }

    /// What service discovery says of it (§5).
    pub fn feature(self) -> String {
        format!("urn:xmpp:hash-function-text-names:{}", self.name())
    }
}

/// Computes a hash of what streams by. It holds a few hundred bytes, however much that is.
#[derive(Clone)]
pub struct Hasher {
    function: Function,
    state: State,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").field("function", &self.function).finish_non_exhaustive()
    }
}

impl Hasher {
    /// Of nothing yet.
    pub fn new(function: Function) -> Hasher {
        Hasher { function, state: State::new(function) }
    }

    /// The function.
    pub fn function(&self) -> Function {
        self.function
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The hash of all that came.
    pub fn finish(self) -> Hash {
        Hash { algo: self.function.name().to_owned(), value: Base64(self.state.finish()) }
    }
}

/// What a computed hash says beside those that were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is the file that was meant.
    Proved,
    /// The hashes are equal, by a function that proves nothing ([`Function::is_proof`]).
    Weak,
    /// It is another file, or was changed on the way.
    Differs,
    /// No hash by that function was told.
    Unknown,
}

impl Verdict {
    /// Compares what was computed with what was told.
    pub fn of(computed: &Hash, told: &[Hash]) -> Verdict {
        let Some(function) = Function::from_name(&computed.algo) else { return Verdict::Unknown };
        let same = |hash: &&Hash| Function::from_name(&hash.algo) == Some(function) && !hash.value.0.is_empty();
        let mut told = told.iter().filter(same).peekable();
        if told.peek().is_none() {
            return Verdict::Unknown;
        }
        // Two of one function, of which one is wrong, are one wrong one (§3).
        match (told.all(|hash| hash.value == computed.value), function.is_proof()) {
            (false, _) => Verdict::Differs,
            (true, true) => Verdict::Proved,
            (true, false) => Verdict::Weak,
        }
    }
}
