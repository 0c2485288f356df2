//! How a map is written: as a picture, for Graphviz and for Mermaid; for a terminal `print` writes it.
//!
//! | file | form |
//! |---|---|
//! | [`drawing`] | cards and lines with their places, which [`svg`] writes and the web page draws |
//! | [`dot`], [`mermaid`] | what other programs lay out |
//! | [`words`] | figures and times for people |

pub mod dot;
pub mod drawing;
pub mod mermaid;
pub mod svg;
pub mod words;

pub use drawing::Drawing;
