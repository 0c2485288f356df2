//! What the Containerfile says, of which we read what it uses: stages, steps, and what the image's
//! configuration is made of.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

/// One instruction, with continued lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// `FROM`, `RUN`, …
    pub(super) name: String,
    /// What stands behind it.
    pub(super) text: String,
}

/// From one `FROM` to the next.
pub(super) type Stage = Vec<Step>;

/// What the last stage says of the image.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) labels: BTreeMap<String, String>,
    /// `NAME=VALUE`.
    pub(super) env: Vec<String>,
    pub(super) user: String,
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
}

/// Reads stages.
pub(super) fn stages(text: &str) -> anyhow::Result<Vec<Stage>> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut whole = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') || (line.is_empty() && whole.is_empty()) {
            continue;
        }
        whole.push_str(line.trim_end_matches('\\'));
        if line.ends_with('\\') {
            continue;
        }
        let (name, rest) = whole.split_once(' ').context(whole.clone())?;
        let step = Step {
            name: name.to_owned(),
            text: rest.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        if step.name == "FROM" {
            stages.push(Vec::new());
        }
        match stages.last_mut() {
            Some(stage) => stage.push(step),
            None => bail!("`{whole}` comes before the first stage"),
        }
        whole.clear();
    }
    Ok(stages)
}

/// What the last stage says, with its arguments in their places.
pub(super) fn settings(
    stage: &Stage,
    arguments: &BTreeMap<&str, String>,
) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    for step in stage {
        match step.name.as_str() {
            "LABEL" => {
                for word in words(&step.text)? {
                    let (name, value) = word.split_once('=').context(word.clone())?;
                    settings
                        .labels
                        .insert(name.to_owned(), expand(value, arguments)?);
                }
            }
            "ENV" => settings.env.extend(words(&step.text)?),
            "USER" => settings.user.clone_from(&step.text),
            "ENTRYPOINT" => settings.entrypoint = serde_json::from_str(&step.text)?,
            "CMD" => settings.cmd = serde_json::from_str(&step.text)?,
            "FROM" | "ARG" | "COPY" => {}
            other => bail!("{other} in the last stage: cargo xtask image does not know it"),
        }
    }
    Ok(settings)
}

/// Words, which quotes may hold together.
fn words(text: &str) -> anyhow::Result<Vec<String>> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in text.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().context("a word")?.push(c),
        }
    }
    anyhow::ensure!(!is_quoted, "a quote is open: {text}");
    words.retain(|word| !word.is_empty());
    Ok(words)
}

/// `$NAME` as a whole value is an argument.
fn expand(value: &str, arguments: &BTreeMap<&str, String>) -> anyhow::Result<String> {
    let Some(name) = value.strip_prefix('$') else {
        return Ok(value.to_owned());
    };
    arguments
        .get(name)
        .cloned()
        .with_context(|| format!("the argument {name}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::run::workspace;
    use crate::setup::CONTAINER;
    use crate::{Arguments, Command};

    fn two() -> anyhow::Result<[Stage; 2]> {
        let text = std::fs::read_to_string(workspace().join("Containerfile"))?;
        let found = stages(&text)?;
        found
            .try_into()
            .map_err(|found| anyhow::anyhow!("not two stages: {found:?}"))
    }

    fn texts<'a>(stage: &'a Stage, name: &str) -> Vec<&'a str> {
        let steps = stage.iter().filter(|step| step.name == name);
        steps.map(|step| step.text.as_str()).collect()
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() -> anyhow::Result<()> {
        let read = stages("# of it\nFROM scratch\nLABEL a=\"b c\" \\\n  d=$E\n\nUSER 1:2\n")?;
        let arguments = BTreeMap::from([("E", "f".to_owned())]);
        let settings = settings(&read[0], &arguments)?;
        assert_eq!(settings.labels["a"], "b c");
        assert_eq!(settings.labels["d"], "f");
        assert_eq!(settings.user, "1:2");
        assert!(stages("RUN nothing\n").is_err());
        assert!(settings_of("FROM scratch\nLABEL a=$B\n").is_err());
        assert!(settings_of("FROM scratch\nVOLUME /x\n").is_err());
        Ok(())
    }

    fn settings_of(text: &str) -> anyhow::Result<Settings> {
        settings(&stages(text)?[0], &BTreeMap::new())
    }

    #[test]
    fn the_first_stage_installs_what_our_command_stands_on_and_runs_it() -> anyhow::Result<()> {
        let [build, _] = two()?;
        let runs = texts(&build, "RUN");
        let install = "apt-get update && apt-get install --yes --no-install-recommends";
        assert_eq!(runs[0], format!("{install} {}", CONTAINER.join(" ")));
        let words: Vec<&str> = runs[1].split(' ').collect();
        assert_eq!(words[..2], ["cargo", "xtask"]);
        // As a shell would give them.
        let arch = |word: &&str| word.replace("\"$TARGETARCH\"", "arm64");
        let words = words[1..].iter().map(arch);
        let Command::Image(asked) = Arguments::try_parse_from(words)?.command else {
            bail!("{}", runs[1]);
        };
        assert!(asked.root_only && !asked.check);
        let archs: Vec<&str> = asked.arch.iter().map(|arch| arch.name()).collect();
        assert_eq!(archs, ["arm64"]);
        assert_eq!(runs.len(), 2);
        Ok(())
    }

    #[test]
    fn the_last_stage_takes_the_root_that_our_command_makes() -> anyhow::Result<()> {
        let [_, last] = two()?;
        assert_eq!(texts(&last, "FROM"), ["scratch"]);
        assert_eq!(
            texts(&last, "COPY"),
            ["--from=build /src/target/image/${TARGETARCH}/root/ /"]
        );
        Ok(())
    }

    #[test]
    fn the_image_is_not_roots_and_has_no_shell_in_its_words() -> anyhow::Result<()> {
        let [_, last] = two()?;
        let told = ["VERSION", "REVISION", "CREATED"].map(|name| (name, name.to_lowercase()));
        let settings = settings(&last, &told.into_iter().collect())?;
        assert_eq!(settings.user, "65532:65532");
        assert_eq!(settings.entrypoint, ["/usr/bin/l7d"]);
        assert_eq!(
            settings.labels["org.opencontainers.image.version"],
            "version"
        );
        Ok(())
    }
}
