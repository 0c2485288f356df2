//! Says that the agent is ready: to a service manager (`sd_notify(3)`), and to whoever has started it in the
//! background.

use sd_notify::NotifyState;

/// Tells everybody who waits. A manager whose service this agent has taken over learns which process it is
/// now.
pub(super) fn ready(is_awaited: bool) {
    let states = [NotifyState::Ready, NotifyState::MainPid(std::process::id())];
    if let Err(error) = sd_notify::notify(&states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
    if is_awaited && let Err(error) = rustix::io::write(rustix::stdio::stdin(), b"r") {
        tracing::debug!(%error, "nobody waits any more");
    }
}
