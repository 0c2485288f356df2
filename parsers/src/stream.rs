//! The two directions of a connection, and steps through their bytes.

/// Which way bytes go, from the view of who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server: requests.
    ToServer,
    /// From the server to the client: responses.
    ToClient,
}

/// One step through the bytes of a direction: what every reader of a stream gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<E> {
    /// An event that ends after `consumed` bytes.
    Event {
        /// Bytes that belong to it; the caller drops them.
        consumed: usize,
        /// What it is.
        event: E,
    },
    /// Nothing can be said yet: keep the bytes, and call again with more, or when the other direction
    /// has given events.
    NeedMore,
}
