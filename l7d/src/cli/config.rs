//! `l7d config`: what is settled for all commands that ask a server.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::failure::Failure;
use super::server::ServerFlags;
use super::settings::{KEYS, Key, Kind, Place, SettingsFile, of_environment, scalar, yaml};
use super::suggest;

const EXAMPLES: &str = "\
Examples:
  l7d config set server localhost:4245       ask a relay from now on
  l7d config set tls-ca-cert-files a.pem,b.pem
  l7d config get server
  l7d config view                            flags, environment, file and defaults together
  l7d config reset                           as if nothing had ever been set

Settings have the names of flags. They are in $XDG_CONFIG_HOME/l7d/config.yaml (else in
~/.config/l7d/config.yaml); where there is none, those of the hubble command line are read. A flag
counts before the environment (HUBBLE_SERVER, L7D_SERVER…), that before the file.";

/// `l7d config`
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Config {
    /// Show a setting, or all of them
    Get {
        /// The setting; all without it
        key: Option<String>,
        /// Which server.
        #[command(flatten)]
        server: Box<ServerFlags>,
    },
    /// Write a setting into the file
    Set {
        /// The setting
        key: String,
        /// Its value; the default without it
        value: Option<String>,
        /// Which file.
        #[command(flatten)]
        file: FileFlag,
    },
    /// Take a setting, or all of them, out of the file
    Reset {
        /// The setting; all without it
        key: Option<String>,
        /// Which file.
        #[command(flatten)]
        file: FileFlag,
    },
    /// Show all settings as they count: flags, environment, file and defaults together
    View {
        /// Which server.
        #[command(flatten)]
        server: Box<ServerFlags>,
    },
}

/// Which file of settings.
#[derive(Debug, Args)]
pub struct FileFlag {
    /// File of settings [env: HUBBLE_CONFIG, L7D_CONFIG]
    #[expect(clippy::doc_markdown, reason = "comments are what --help shows")]
    #[arg(long, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
}

/// Runs the command.
pub fn run(config: &Config) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match config {
        Config::View { server } | Config::Get { key: None, server } => {
            let values = Values::of(server)?;
            for key in &KEYS {
                out.write_all(yaml(key.name, &values.value(key)?).as_bytes())?;
            }
        }
        Config::Get {
            key: Some(name),
            server,
        } => {
            let value = Values::of(server)?.value(known(name)?)?;
            write_alone(&mut out, &value)?;
        }
        Config::Set { key, value, file } => {
            let key = known(key)?;
            let value = value.as_deref().filter(|value| !value.is_empty());
            let value = value.map(|text| {
                key.value(text).map_err(|error| {
                    Failure::usage(format!("cannot set {} to {text}: {error}", key.name))
                })
            });
            change(file, &[(key, value.transpose()?)])?;
        }
        Config::Reset { key, file } => {
            let all: Vec<(&Key, Option<Value>)> = match key {
                Some(name) => vec![(known(name)?, None)],
                None => KEYS.iter().map(|key| (key, None)).collect(),
            };
            change(file, &all)?;
        }
    }
    Ok(())
}

fn known(name: &str) -> Result<&'static Key, Failure> {
    Key::find(name).ok_or_else(|| {
        let names = KEYS.iter().map(|key| key.name);
        let failure = Failure::usage(format!("unknown key: {name}"));
        match suggest::closest(name, names) {
            Some(meant) => failure.advise(format!("did you mean {meant}?")),
            None => failure.advise("`l7d config view` shows all of them"),
        }
    })
}

fn change(file: &FileFlag, changes: &[(&Key, Option<Value>)]) -> Result<(), Failure> {
    let place = Place::find(file.config.as_deref(), |name| std::env::var(name).ok());
    let Some(path) = &place.write else {
        return Err(
            Failure::usage("there is no place for settings: $HOME is not set")
                .advise("name a file with --config FILE"),
        );
    };
    // What a file of another command line says comes along into ours.
    let mut settings = place.load()?;
    for (key, value) in changes {
        settings.set(key, value.clone());
    }
    settings.write(path)
}

/// A value as `get` shows it: a list one by line.
fn write_alone(out: &mut impl Write, value: &Value) -> io::Result<()> {
    match value {
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .try_for_each(|item| writeln!(out, "- {}", scalar(item))),
        other => writeln!(out, "{}", scalar(other)),
    }
}

/// What counts: flags, environment, file, defaults.
struct Values<'f> {
    flags: &'f ServerFlags,
    file: SettingsFile,
    path: String,
}

impl<'f> Values<'f> {
    fn of(flags: &'f ServerFlags) -> Result<Self, Failure> {
        let place = Place::find(flags.config.as_deref(), |name| std::env::var(name).ok());
        let path = place.read.as_ref().or(place.write.as_ref());
        let path = path.map(|path| path.display().to_string());
        Ok(Self {
            flags,
            file: place.load()?,
            path: path.unwrap_or_default(),
        })
    }

    fn value(&self, key: &Key) -> Result<Value, Failure> {
        if key.name == "config" {
            return Ok(Value::from(self.path.clone()));
        }
        let given = self.flags.given(key.name);
        let given = given.or_else(|| of_environment(|name| std::env::var(name).ok(), key.name));
        let text = given.or_else(|| self.file.text(key.name));
        let text = text.unwrap_or_else(|| match key.name {
            "server" => super::server::default_server(),
            _ => key.default.to_owned(),
        });
        let value = key.value(&text);
        let value = value.map_err(|error| Failure::usage(format!("{}: {error}", key.name)))?;
        Ok(match (key.kind, value) {
            (Kind::List, Value::Null) => Value::Array(Vec::new()),
            (_, value) => value,
        })
    }
}
