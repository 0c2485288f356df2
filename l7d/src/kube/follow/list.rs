//! Lists, page by page.

use std::sync::atomic::Ordering;

use super::{Ended, Follower, Position, TRIES};
use crate::kube::board::{State, count};
use crate::kube::failure::Failure;
use crate::kube::reduce::Reduce;
use crate::kube::wire::Page;

/// Objects in a page of a list: some megabytes of pods.
const PAGE: usize = 500;
/// A page of larger objects is asked for again with fewer of them.
pub(super) const PAGE_BYTES_MAX: usize = 32 << 20;

impl<R: Reduce> Follower<R> {
    /// Tells of all objects, page by page.
    pub(super) async fn list(&mut self, position: &mut Position) -> Result<(), Ended> {
        count(&self.told.entry().lists);
        let mut resume = String::new();
        let mut limit = PAGE;
        let mut objects = 0;
        let mut has_begun = false;
        let mut tries = 0;
        loop {
            let page = self.page(&resume, limit).await;
            let text = match page {
                Ok(Some(text)) => text,
                Ok(None) if limit > 1 => {
                    limit /= 4;
                    limit = limit.max(1);
                    continue;
                }
                Ok(None) => {
                    let message = format!("an object of more than {PAGE_BYTES_MAX} bytes");
                    return Err(Failure::Unreadable(message).into());
                }
                // The page can be asked for again: what was read of the list so far is not lost.
                Err(failure) if !resume.is_empty() && failure.keeps_version() && tries < TRIES => {
                    tries += 1;
                    self.rest(position, failure).await?;
                    continue;
                }
                Err(failure) => return Err(failure.into()),
            };
            tries = 0;
            let page: Page<'_> = serde_json::from_slice(&text)
                .map_err(|error| Failure::Unreadable(error.to_string()))?;
            if !has_begun {
                has_begun = true;
                self.answers(State::Listing);
                let begins = self.reduce.begins();
                self.tell(begins).await?;
            }
            for object in page.items.iter().flatten() {
                self.take(object).await?;
                objects += 1;
            }
            if page.metadata.r#continue.is_empty() {
                position.version = Some(page.metadata.resource_version.into_owned());
                break;
            }
            resume = page.metadata.r#continue.into_owned();
        }
        self.told.entry().objects.store(objects, Ordering::Relaxed);
        let ends = self.reduce.ends();
        self.tell(ends).await?;
        self.told.entry().is_told.store(true, Ordering::Relaxed);
        self.answers(State::Following);
        Ok(())
    }

    async fn page(&self, resume: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.resource.page(limit, resume);
        self.api.read(&path, PAGE_BYTES_MAX).await
    }
}
