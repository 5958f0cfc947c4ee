//! How often the rows of each source are visited in an epoch.

use serde::{Deserialize, Serialize};

/// The rows of the sources, side by side, and the visits of each source in an epoch.
///
/// The visits of a source go through its rows, in a new order each time, and where an epoch ends
/// within them the next one goes on. So after any number of epochs no row of a source was visited
/// more than once more often than another.
///
/// ```
/// use data::Mixture;
/// // three rows twice, four rows every second epoch
/// let mixture = Mixture::new(&[(3, 2.0), (4, 0.5)]);
/// assert_eq!((mixture.n_rows(), mixture.n_visits()), (7, 8));
/// let first = mixture.epoch(1, 0);
/// assert_eq!((0..3).map(|row| first.iter().filter(|r| **r == row).count()).max(), Some(2));
/// let both = [first, mixture.epoch(1, 1)].concat();
/// assert!((3..7).all(|row| both.iter().filter(|r| **r == row).count() == 1));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    n_rows: usize,
    n_visits: usize,
}

impl Mixture {
    /// Of sources with so many rows and such weights: the passes over a source in an epoch. A
    /// source with rows is visited at least once.
    pub fn new(sources: &[(usize, f64)]) -> Self {
        let part = |&(n_rows, weight): &(usize, f64)| Part {
            n_rows,
            n_visits: match n_rows {
                0 => 0,
                n => ((n as f64 * weight).round() as usize).max(1),
            },
        };
        Self {
            parts: sources.iter().map(part).collect(),
        }
    }

    /// One source, each row once.
    pub fn of_rows(n_rows: usize) -> Self {
        Self::new(&[(n_rows, 1.0)])
    }

    /// Of rows of the given sources, which lie side by side in the order of the sources.
    pub fn of_sources(rows: impl IntoIterator<Item = u16>, weights: &[f64]) -> Self {
        let mut counted: Vec<(usize, f64)> = weights.iter().map(|weight| (0, *weight)).collect();
        let mut last = 0;
        for source in rows {
            assert!(source >= last, "the rows of a source are not side by side");
            last = source;
            counted[usize::from(source)].0 += 1;
        }
        Self::new(&counted)
    }

    /// Rows and visits of each source.
    pub fn parts(&self) -> impl Iterator<Item = (usize, usize)> {
        self.parts.iter().map(|part| (part.n_rows, part.n_visits))
    }

    /// Rows of all sources.
    pub fn n_rows(&self) -> usize {
        self.parts.iter().map(|part| part.n_rows).sum()
    }

    /// Visits of an epoch.
    pub fn n_visits(&self) -> usize {
        self.parts.iter().map(|part| part.n_visits).sum()
    }

    /// The rows that an epoch visits, a source after the other: from the random stream
    /// (seed, "mixture", pass, source), and without one where each row is visited equally often.
    pub fn epoch(&self, seed: u64, epoch: usize) -> Vec<usize> {
        let mut rows = Vec::with_capacity(self.n_visits());
        let mut first = 0;
        for (source, part) in self.parts.iter().enumerate() {
            let all = first..first + part.n_rows;
            first = all.end;
            if part.n_rows == 0 {
                continue;
            }
            if part.n_visits.is_multiple_of(part.n_rows) {
                let passes = std::iter::repeat_n(all, part.n_visits / part.n_rows);
                rows.extend(passes.flatten());
                continue;
            }
            let visits = epoch * part.n_visits..(epoch + 1) * part.n_visits;
            let mut pass = (usize::MAX, Vec::new());
            for visit in visits {
                if pass.0 != visit / part.n_rows {
                    let n = visit / part.n_rows;
                    pass = (n, shuffled(part.n_rows, seed, n, source));
                }
                rows.push(all.start + pass.1[visit % part.n_rows]);
            }
        }
        rows
    }
}

fn shuffled(n: usize, seed: u64, pass: usize, source: usize) -> Vec<usize> {
    use rand::seq::SliceRandom;
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut run::stream(
        seed,
        "mixture",
        pass as u64,
        source as u64,
    ));
    order
}
