//! SOCKS: what a client and its proxy say before a tunnel begins. Version 5 is RFC 1928, with user
//! names by RFC 1929; versions 4 and 4A are described by their makers (Koblas, Lee).
//!
//! ```text
//!   client ─▶ greeting                    ┌▶ credentials            ┌▶ request
//!   server            └▶ method chosen ───┤             └▶ status ──┤         └▶ reply ─▶ tunnel
//!                                         └─────────────────────────┘
//! ```
//!
//! Version 4 begins with its request. Who speaks next is known at every moment; bytes that come from
//! the other side earlier have to wait.

#![deny(clippy::arithmetic_side_effects)]

mod address;
mod detect;

use address::Front;
pub use address::{Host, Target};
pub use detect::{is_greeting, looks_like};

use crate::Direction;
use crate::error::{Error, Fault};

const RFC: &str = "RFC 1928";
/// Longest user name of version 4, and longest name of 4A; RFC 1928 and RFC 1929 have no longer ones.
const TEXT_MAX: usize = 255;

const NO_AUTHENTICATION: u8 = 0;
const USER_NAME: u8 = 2;
/// None of the methods that the client offers.
const NO_METHOD: u8 = 0xff;

/// What the client wants of its proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Command {
    /// A connection to the target.
    Connect,
    /// A connection from the target.
    Bind,
    /// Datagrams, beside this connection.
    UdpAssociate,
    /// Any other; some proxies look names up.
    Other(u8),
}

impl Command {
    /// Whether the connection becomes a tunnel when it is granted.
    pub fn is_tunnel(self) -> bool {
        matches!(self, Self::Connect | Self::Bind)
    }
}

/// What a message told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'b> {
    /// Versions, methods, credentials: nothing that is told.
    Negotiated,
    /// The client asks.
    Request(Command, Target<'b>),
    /// The server waits for the connection that [`Command::Bind`] is about.
    Listening,
    /// The server grants it: what follows is a tunnel, if [`Command::is_tunnel`].
    Granted(Command),
    /// The server refuses, with the number of its reply or of its method.
    Refused(u8),
}

/// The answer to a call of [`Handshake::step`].
pub type Step<'b> = crate::Step<Event<'b>>;

/// A handshake, up to the server's last reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Handshake(Turn);

/// Whose words come next, and what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Turn {
    Greeting,
    Choice,
    Credentials,
    CredentialsAnswer,
    Request,
    Reply {
        version: Version,
        command: Command,
        /// The second of two, as [`Command::Bind`] has.
        is_second: bool,
    },
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Version {
    V4,
    V5,
}

impl Turn {
    fn way(self) -> Option<Direction> {
        match self {
            Self::Greeting | Self::Credentials | Self::Request => Some(Direction::ToServer),
            Self::Choice | Self::CredentialsAnswer | Self::Reply { .. } => {
                Some(Direction::ToClient)
            }
            Self::Over => None,
        }
    }

    fn read<'b>(self, front: &mut Front<'b>) -> Result<Option<(Self, Event<'b>)>, Error> {
        match self {
            Self::Greeting => greeting(front),
            Self::Choice => choice(front),
            Self::Credentials => Ok(credentials(front)),
            Self::CredentialsAnswer => Ok(credentials_answer(front)),
            Self::Request => request(front),
            Self::Reply {
                version,
                command,
                is_second,
            } => {
                let Some(code) = reply(front, version)? else {
                    return Ok(None);
                };
                Ok(Some(answer(version, command, is_second, code)))
            }
            Self::Over => Ok(None),
        }
    }
}

impl Default for Handshake {
    fn default() -> Self {
        Self(Turn::Greeting)
    }
}

impl Handshake {
    /// Reads the next message from the front of the bytes that a side has said. After
    /// [`Event::Granted`] and [`Event::Refused`] there is none.
    ///
    /// # Errors
    /// When the bytes are no SOCKS, or authenticate in a way that is not read; then nothing more can
    /// be told.
    pub fn step<'b>(&mut self, way: Direction, bytes: &'b [u8]) -> Result<Step<'b>, Error> {
        if self.0.way() != Some(way) {
            return Ok(Step::NeedMore);
        }
        let mut front = Front::new(bytes);
        let Some((next, event)) = self.0.read(&mut front)? else {
            return Ok(Step::NeedMore);
        };
        self.0 = next;
        Ok(Step::Event {
            consumed: front.consumed(),
            event,
        })
    }
}

fn greeting<'b>(front: &mut Front<'b>) -> Result<Option<(Turn, Event<'b>)>, Error> {
    match front.byte() {
        None => Ok(None),
        Some(5) => {
            let methods = front.counted();
            Ok(methods.map(|_methods| (Turn::Choice, Event::Negotiated)))
        }
        Some(4) => request_of_4(front),
        Some(_) => Err(bad_version()),
    }
}

fn bad_version() -> Error {
    Error::new(Fault::NotThisProtocol, "bad-socks-version", RFC)
}

fn request_of_4<'b>(front: &mut Front<'b>) -> Result<Option<(Turn, Event<'b>)>, Error> {
    let Some(command) = front.byte().map(command) else {
        return Ok(None);
    };
    let Some(target) = Target::read_of_4(front)? else {
        return Ok(None);
    };
    let turn = Turn::Reply {
        version: Version::V4,
        command,
        is_second: false,
    };
    Ok(Some((turn, Event::Request(command, target))))
}

fn choice<'b>(front: &mut Front<'b>) -> Result<Option<(Turn, Event<'b>)>, Error> {
    let (Some(version), Some(method)) = (front.byte(), front.byte()) else {
        return Ok(None);
    };
    if version != 5 {
        return Err(bad_version());
    }
    match method {
        NO_AUTHENTICATION => Ok(Some((Turn::Request, Event::Negotiated))),
        USER_NAME => Ok(Some((Turn::Credentials, Event::Negotiated))),
        NO_METHOD => Ok(Some((Turn::Over, Event::Refused(NO_METHOD)))),
        _ => Err(Error::new(
            Fault::Unsupported,
            "socks-method-not-read",
            "RFC 1928 §3",
        )),
    }
}

/// RFC 1929 §2. Nothing of them is told.
fn credentials<'b>(front: &mut Front<'b>) -> Option<(Turn, Event<'b>)> {
    front.byte()?;
    front.counted()?;
    front.counted()?;
    Some((Turn::CredentialsAnswer, Event::Negotiated))
}

fn credentials_answer<'b>(front: &mut Front<'b>) -> Option<(Turn, Event<'b>)> {
    front.byte()?;
    match front.byte()? {
        0 => Some((Turn::Request, Event::Negotiated)),
        status => Some((Turn::Over, Event::Refused(status))),
    }
}

fn request<'b>(front: &mut Front<'b>) -> Result<Option<(Turn, Event<'b>)>, Error> {
    let (Some(version), Some(number), Some(_reserved)) = (front.byte(), front.byte(), front.byte())
    else {
        return Ok(None);
    };
    if version != 5 {
        return Err(bad_version());
    }
    let Some(target) = Target::read(front)? else {
        return Ok(None);
    };
    let command = command(number);
    let turn = Turn::Reply {
        version: Version::V5,
        command,
        is_second: false,
    };
    Ok(Some((turn, Event::Request(command, target))))
}

fn command(number: u8) -> Command {
    match number {
        1 => Command::Connect,
        2 => Command::Bind,
        3 => Command::UdpAssociate,
        other => Command::Other(other),
    }
}

/// The number of a reply; 0 grants, of either version.
fn reply(front: &mut Front<'_>, version: Version) -> Result<Option<u8>, Error> {
    const GRANTED_BY_4: u8 = 90;
    let (Some(first), Some(code)) = (front.byte(), front.byte()) else {
        return Ok(None);
    };
    match (version, first) {
        (Version::V5, 5) => {
            let rest = front.byte().map(|_reserved| Target::read(front));
            Ok(rest.transpose()?.flatten().map(|_bound| code))
        }
        // Some servers put their version where a zero belongs.
        (Version::V4, 0 | 4) => {
            let code = if code == GRANTED_BY_4 { 0 } else { code };
            Ok(front.bytes(6).map(|_address| code))
        }
        _ => Err(bad_version()),
    }
}

fn answer<'b>(version: Version, command: Command, is_second: bool, code: u8) -> (Turn, Event<'b>) {
    match (code, command) {
        (0, Command::Bind) if !is_second => {
            let turn = Turn::Reply {
                version,
                command,
                is_second: true,
            };
            (turn, Event::Listening)
        }
        (0, command) => (Turn::Over, Event::Granted(command)),
        (code, _) => (Turn::Over, Event::Refused(code)),
    }
}

#[cfg(test)]
mod tests;
