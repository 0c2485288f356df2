//! Bytes of a watch → its lines, one event each.

/// A line is longer than an event can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {most} bytes")]
pub(crate) struct TooLong {
    most: usize,
}

/// Lines, as far as they have come. However the bytes are cut into pieces, the lines are the same.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Where the first line begins that was not given yet.
    begin: usize,
    /// No line ends before this place.
    searched: usize,
    most: usize,
}

impl Lines {
    /// Lines of so many bytes at most, without their ends.
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            begin: 0,
            searched: 0,
            most,
        }
    }

    /// More bytes have come.
    pub(crate) fn push(&mut self, more: &[u8]) {
        self.bytes.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.bytes.extend_from_slice(more);
    }

    /// The next line that has come to its end; empty ones are left out.
    ///
    /// # Errors
    /// When the line is too long; nothing can be read behind it.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        loop {
            let rest = self.bytes.get(self.searched..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n');
            let end = end.map(|end| self.searched + end);
            let length = end.unwrap_or(self.bytes.len()) - self.begin;
            if length > self.most {
                return Err(TooLong { most: self.most });
            }
            let Some(end) = end else {
                self.searched = self.bytes.len();
                // What a large event took is given back when the small ones come again.
                if self.begin == self.bytes.len() && self.bytes.capacity() > (64 << 10) {
                    self.bytes = Vec::new();
                    (self.begin, self.searched) = (0, 0);
                }
                return Ok(None);
            };
            let begin = std::mem::replace(&mut self.begin, end + 1);
            self.searched = self.begin;
            if length > 0 {
                return Ok(self.bytes.get(begin..end));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]], most: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut lines = Lines::new(most);
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.next()? {
                found.push(line.to_vec());
            }
        }
        Ok(found)
    }

    #[test]
    fn a_line_without_an_end_is_none_and_one_that_is_too_long_is_refused() {
        assert_eq!(lines(&[b"ab\n\nc"], 2), Ok(vec![b"ab".to_vec()]));
        assert_eq!(lines(&[b"ab\nabc"], 2), Err(TooLong { most: 2 }));
        assert_eq!(lines(&[b"ab\nabc\n"], 2), Err(TooLong { most: 2 }));
    }

    #[test]
    fn room_for_a_large_event_is_given_back() {
        let mut lines = Lines::new(1 << 20);
        let mut event = vec![b'x'; 1 << 20];
        event.push(b'\n');
        lines.push(&event);
        assert_eq!(
            lines.next().map(|line| line.map(<[u8]>::len)),
            Ok(Some(1 << 20))
        );
        assert_eq!(lines.next(), Ok(None));
        assert_eq!(lines.bytes.capacity(), 0);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0_usize..200, 0..10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let expected: Vec<Vec<u8>> = match text.iter().rposition(|byte| *byte == b'\n') {
                None => Vec::new(),
                Some(end) => text[..end]
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .map(<[u8]>::to_vec)
                    .collect(),
            };
            prop_assert_eq!(lines(&pieces, 1000), Ok(expected));
        }
    }
}
