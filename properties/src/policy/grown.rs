//! An engine that came to its policies step by step: in the end it must say what one says that was
//! told everything at once, and on the way it must keep what it promises of its numbers.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_l7::{Compiled, Compiler, Endpoint, Identity, Policy, Surroundings, identity};

use super::choices::Choices;
use super::engine::{Engine, Known, Referred, named, port_names, read};
use super::reference::Setting;
use super::words::{Object, yaml};
use super::world::World;

/// Goes through some states of the world to the one that is asked about.
///
/// # Errors
/// What is wrong with the text of an object.
///
/// # Panics
/// When a number comes to mean something else.
pub(super) fn grown(
    world: &World,
    objects: &[Object],
    setting: &Setting,
    choices: &mut Choices<'_>,
) -> Result<Engine, String> {
    let mut policies: Vec<Arc<Policy>> = Vec::new();
    for object in objects {
        policies.extend(
            read(&yaml(std::slice::from_ref(object)))?
                .into_iter()
                .map(Arc::new),
        );
    }
    let known = Known::of(world);
    let referred = Referred::of(world);
    let mut compiler = Compiler::new();
    let mut last: Option<Arc<Compiled>> = None;
    let steps = 1 + choices.below(4);
    for step in 1..=steps {
        let is_last = step == steps;
        let mut is_there = |_: usize| is_last || choices.is(2);
        let some: Vec<Arc<Policy>> = policies
            .iter()
            .enumerate()
            .filter(|(position, _)| is_there(*position))
            .map(|(_, policy)| Arc::clone(policy))
            .collect();
        let pods: Vec<bool> = (0..known.identities.len()).map(&mut is_there).collect();
        let setting = if is_there(0) {
            setting.clone()
        } else {
            Setting::default()
        };
        compiler.set_enforcement(setting.enforcement, setting.audit);
        compiler.set_policies(some);
        compiler.set_surroundings(if is_there(0) {
            referred.surroundings()
        } else {
            Surroundings::default()
        });
        turn_pods(&mut compiler, world, &known, &pods, choices.is(2));
        let first = compiler.commit();
        compiler.set_named(named(&first, world));
        let second = compiler.commit();
        for (before, after) in last
            .iter()
            .map(|last| (last, &first))
            .chain([(&first, &second)])
        {
            keeps_its_word(before, after);
        }
        last = Some(second);
    }
    let last = last.unwrap_or_else(|| compiler.commit());
    Ok(Engine::of(world, last))
}

/// Lets pods come and go: all at once, or one by one.
fn turn_pods(
    compiler: &mut Compiler,
    world: &World,
    known: &Known,
    pods: &[bool],
    is_at_once: bool,
) {
    let there = |position: &usize| pods.get(*position) == Some(&true);
    compiler.set_port_names(port_names(world, &known.numbers, |place| there(&place)));
    let positions: Vec<usize> = (0..known.identities.len()).filter(there).collect();
    let identities = positions.iter().filter_map(|at| known.identities.get(*at));
    let mut identities: Vec<Identity> = identities.cloned().collect();
    let endpoints = positions.iter().filter_map(|at| known.endpoints.get(*at));
    let endpoints: Vec<Endpoint> = endpoints.flatten().cloned().collect();
    if is_at_once {
        identities.extend(identity::reserved());
        compiler.set_identities(&identities);
        compiler.set_endpoints(&endpoints);
        return;
    }
    let wanted: BTreeSet<u32> = identities.iter().map(|identity| identity.number).collect();
    for gone in known
        .identities
        .iter()
        .filter(|known| !wanted.contains(&known.number))
    {
        compiler.remove_identity(gone.number);
    }
    for come in identities.into_iter().chain(identity::reserved()) {
        compiler.insert_identity(come);
    }
    let wanted: BTreeSet<u16> = endpoints.iter().map(|endpoint| endpoint.id).collect();
    for gone in known.endpoints.iter().flatten() {
        if !wanted.contains(&gone.id) {
            compiler.remove_endpoint(gone.id);
        }
    }
    for come in endpoints {
        compiler.insert_endpoint(come);
    }
}

/// A number of a rule means one rule; under one number of a set, entries only come and go with
/// identities.
fn keeps_its_word(before: &Compiled, after: &Compiled) {
    for (id, rule) in before.rules() {
        let now = after.rule(id);
        assert!(
            now.is_none_or(|now| now == rule),
            "rule {id:?}: {rule:?} → {now:?}"
        );
    }
    let Some(touched) = after.touched_since(before.version()) else {
        return;
    };
    let former = before.sets();
    for set in after.sets() {
        let Some(same) = former.iter().find(|former| former.number() == set.number()) else {
            continue;
        };
        let untouched = |entries: Vec<policy_l7::Entry>| -> Vec<policy_l7::Entry> {
            let entries = entries.into_iter();
            entries
                .filter(|entry| !touched.contains(&entry.key.identity))
                .collect()
        };
        assert_eq!(
            untouched(before.entries(same)),
            untouched(after.entries(&set)),
            "set {} without a change of identities",
            set.number()
        );
    }
}
