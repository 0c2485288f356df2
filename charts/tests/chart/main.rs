//! What the chart makes of values: rendered by helm, held against Kubernetes' schemas, the agent's own
//! reading of its configuration, and what the project's documents promise.

#[cfg(test)]
mod agent_config;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod combinations;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod install;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod names;
#[cfg(test)]
mod rendering;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod surface;
