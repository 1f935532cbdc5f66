//! The exact solution of "who is matched with whom", for costs with a limit.
//!
//! A matching costs the sum over its pairs, and half of the limit for each row and each column that is left alone.
//! Every pair spares two halves, so this is, but for a constant, the sum of `cost - limit` over the pairs. A pair at
//! or over the limit never helps; but to leave a *good* pair out may, where another matching is better as a whole.
//! So this is neither the cheapest full assignment with the pairs over the limit dropped, nor as many pairs under the
//! limit as possible.
//!
//! Rows enter one by one along a shortest augmenting path, found with Dijkstra's algorithm on costs that potentials
//! keep from being negative (Crouse, "On implementing 2D rectangular assignment algorithms", IEEE Transactions on
//! Aerospace and Electronic Systems 52(4), 2016). Here a path may also end by leaving one of its rows alone. Only
//! pairs below the limit are stored and walked, so the work grows with the overlaps in the picture and not with
//! rows × columns: a row that could have one column only takes a single step.

use std::ops::Range;

/// Rows, columns and the pairs that are allowed, and after [`solve`](Self::solve) the cheapest matching.
///
/// One value serves any number of problems, and keeps its memory.
#[derive(Debug, Default)]
pub struct Assignment {
    candidates: Vec<Candidate>,
    rows: Vec<Row>,
    columns: Vec<Column>,
    /// Columns that the present search has found a path to.
    reached: Vec<usize>,
}

/// A pair below the limit.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    column: usize,
    /// `cost - limit`, below zero.
    cost: f64,
}

#[derive(Debug, Clone)]
struct Row {
    /// The row's own stretch of all candidates.
    candidates: Range<usize>,
    column: Option<usize>,
    potential: f64,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    row: Option<usize>,
    potential: f64,
    /// Length of the shortest path found in the present search; infinite before there is one.
    distance: f64,
    /// The row before this column on that path.
    from: usize,
    /// Nothing shorter can be found any more.
    closed: bool,
}

/// Where the path of an entering row ends.
#[derive(Debug, Clone, Copy)]
enum End {
    FreeColumn(usize),
    RowLeftAlone(usize),
}

impl Assignment {
    /// Forgets the last problem and starts one with so many columns and no rows.
    pub fn start(&mut self, columns: usize) {
        self.candidates.clear();
        self.rows.clear();
        self.columns.clear();
        self.columns.resize(columns, Column::FREE);
    }

    /// Adds the next row with its cost for each column. Costs at or over the limit, and NaN, are never matched.
    pub fn add_row(&mut self, costs: impl Iterator<Item = f64>, limit: f64) {
        let first = self.candidates.len();
        let below_limit = costs.enumerate().filter(|&(_, cost)| cost < limit);
        self.candidates.extend(below_limit.map(|(column, cost)| Candidate { column, cost: cost - limit }));
        self.rows.push(Row { candidates: first..self.candidates.len(), column: None, potential: 0.0 });
    }

    /// Finds the cheapest matching. Which one, where several are equally cheap, is not specified.
    pub fn solve(&mut self) {
        for entering in 0..self.rows.len() {
            let (end, length) = self.shortest_path(entering);
            self.adjust_potentials(entering, length);
            self.rematch_along_path(end);
            self.forget_paths();
        }
    }

    /// The column of each row, in the order in which the rows were added.
    pub fn columns_of_rows(&self) -> impl Iterator<Item = Option<usize>> {
        self.rows.iter().map(|row| row.column)
    }

    /// Whether each column has a row.
    pub fn columns_matched(&self) -> impl Iterator<Item = bool> {
        self.columns.iter().map(|column| column.row.is_some())
    }

    /// Where the shortest path from a row ends, and its length. Matched pairs are walked from column to row.
    fn shortest_path(&mut self, entering: usize) -> (End, f64) {
        let (mut row, mut length) = (entering, 0.0);
        let (mut alone, mut length_to_alone) = (entering, f64::INFINITY);
        loop {
            let length_to_row_alone = length - self.rows[row].potential;
            if length_to_row_alone < length_to_alone {
                (alone, length_to_alone) = (row, length_to_row_alone);
            }
            self.reach_columns_of(row, length);
            let Some(nearest) = self.close_nearest(length_to_alone) else {
                return (End::RowLeftAlone(alone), length_to_alone);
            };
            length = self.columns[nearest].distance;
            match self.columns[nearest].row {
                Some(next) => row = next,
                None => return (End::FreeColumn(nearest), length),
            }
        }
    }

    /// Notes where the path through a row, so long up to there, is the shortest to a column.
    fn reach_columns_of(&mut self, row: usize, length: f64) {
        let Row { ref candidates, potential, .. } = self.rows[row];
        for candidate in &self.candidates[candidates.clone()] {
            let column = &mut self.columns[candidate.column];
            let through_row = length + candidate.cost - potential - column.potential;
            if column.closed || through_row >= column.distance {
                continue;
            }
            if column.distance == f64::INFINITY {
                self.reached.push(candidate.column);
            }
            column.distance = through_row;
            column.from = row;
        }
    }

    /// Closes the nearest column that is open, if there is one nearer than the limit.
    fn close_nearest(&mut self, limit: f64) -> Option<usize> {
        let distance = |column: usize| self.columns[column].distance;
        let open = self.reached.iter().copied().filter(|&column| !self.columns[column].closed);
        let nearest = open.min_by(|&a, &b| distance(a).total_cmp(&distance(b)))?;
        if distance(nearest) >= limit {
            return None;
        }
        self.columns[nearest].closed = true;
        Some(nearest)
    }

    /// Makes the pairs along the path free of reduced cost, and leaves no reduced cost below zero.
    fn adjust_potentials(&mut self, entering: usize, length: f64) {
        self.rows[entering].potential += length;
        for &reached in &self.reached {
            let column = &mut self.columns[reached];
            if !column.closed {
                continue;
            }
            let slack = length - column.distance;
            column.potential -= slack;
            if let Some(row) = column.row {
                self.rows[row].potential += slack;
            }
        }
    }

    /// Gives each column of the path, from its end, to the row before it.
    fn rematch_along_path(&mut self, end: End) {
        let mut vacant = match end {
            End::FreeColumn(column) => Some(column),
            End::RowLeftAlone(row) => self.rows[row].column.take(),
        };
        while let Some(column) = vacant {
            let row = self.columns[column].from;
            self.columns[column].row = Some(row);
            vacant = self.rows[row].column.replace(column);
        }
    }

    fn forget_paths(&mut self) {
        for column in self.reached.drain(..) {
            self.columns[column].distance = f64::INFINITY;
            self.columns[column].closed = false;
        }
    }
}

impl Column {
    const FREE: Self = Self { row: None, potential: 0.0, distance: f64::INFINITY, from: 0, closed: false };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solve(costs: &[Vec<f64>], columns: usize, limit: f64) -> Vec<Option<usize>> {
        let mut assignment = Assignment::default();
        assignment.start(columns);
        for row in costs {
            assignment.add_row(row.iter().copied(), limit);
        }
        assignment.solve();
        assignment.columns_of_rows().collect()
    }

    /// What the module's doc says that a matching costs.
    fn price(costs: &[Vec<f64>], columns: usize, limit: f64, matching: &[Option<usize>]) -> f64 {
        let pairs = costs.iter().zip(matching).filter_map(|(row, column)| column.map(|column| row[column]));
        let matched = pairs.clone().count();
        pairs.sum::<f64>() + limit / 2.0 * (costs.len() + columns - 2 * matched) as f64
    }

    /// Tries every matching, those with pairs over the limit too.
    fn lowest_price(costs: &[Vec<f64>], columns: usize, limit: f64, matching: &mut Vec<Option<usize>>) -> f64 {
        if matching.len() == costs.len() {
            return price(costs, columns, limit, matching);
        }
        let choices = std::iter::once(None).chain((0..columns).map(Some));
        let mut lowest = f64::INFINITY;
        for choice in choices {
            if choice.is_none() || !matching.contains(&choice) {
                matching.push(choice);
                lowest = lowest.min(lowest_price(costs, columns, limit, matching));
                matching.pop();
            }
        }
        lowest
    }

    #[test]
    fn one_good_pair_is_kept_where_two_poor_ones_would_cost_more() {
        // The two poor pairs cost 1.0. The good one costs 0.1 and two halves of the limit.
        let costs = [vec![0.1, 0.5], vec![0.5, 1.0]];
        assert_eq!(solve(&costs, 2, 0.8), [Some(0), None]);
        assert_eq!(solve(&costs, 2, 0.95), [Some(1), Some(0)]);
    }

    #[test]
    fn a_pair_under_the_limit_is_left_out_where_that_is_cheaper() {
        // Both rows matched cost 0.95; the second one alone costs 0.01 and two halves of the limit.
        let costs = [vec![0.1, 1.0], vec![0.01, 0.85]];
        assert_eq!(solve(&costs, 2, 0.9), [None, Some(0)]);
        assert_eq!(solve(&costs, 2, 0.97), [Some(0), Some(1)]);
    }

    #[test]
    fn costs_at_the_limit_and_costs_that_are_no_number_are_never_matched() {
        assert_eq!(solve(&[vec![0.5, f64::NAN, f64::INFINITY]], 3, 0.5), [None]);
    }

    #[test]
    fn no_rows_or_no_columns_give_no_pairs() {
        assert_eq!(solve(&[], 3, 0.5), []);
        assert_eq!(solve(&[vec![], vec![]], 0, 0.5), [None, None]);
    }

    fn problems() -> impl Strategy<Value = (Vec<Vec<f64>>, usize, f64)> {
        (0..6_usize, 0..6_usize).prop_flat_map(|(rows, columns)| {
            // Eighths collide, so ties are tried as well as costs in general.
            let cost = prop_oneof![0.0..1.0, (0..8_u32).prop_map(|eighths| f64::from(eighths) / 8.0)];
            let costs = prop::collection::vec(prop::collection::vec(cost, columns), rows);
            (costs, Just(columns), 0.1..1.0)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_matching_is_cheaper_than_the_one_found((costs, columns, limit) in problems()) {
            let found = solve(&costs, columns, limit);
            let mut taken: Vec<usize> = found.iter().copied().flatten().collect();
            taken.sort_unstable();
            taken.dedup();
            prop_assert_eq!(taken.len(), found.iter().flatten().count(), "a column twice in {:?}", found);
            let lowest = lowest_price(&costs, columns, limit, &mut Vec::new());
            prop_assert!((price(&costs, columns, limit, &found) - lowest).abs() < 1e-9, "{:?} is not {}", found, lowest);
        }

        #[test]
        fn a_solver_that_was_used_before_finds_the_same(first in problems(), (costs, columns, limit) in problems()) {
            let mut assignment = Assignment::default();
            for (costs, columns, limit) in [&first, &(costs.clone(), columns, limit)] {
                assignment.start(*columns);
                for row in costs {
                    assignment.add_row(row.iter().copied(), *limit);
                }
                assignment.solve();
            }
            let again: Vec<_> = assignment.columns_of_rows().collect();
            prop_assert_eq!(&again, &solve(&costs, columns, limit));
            let matched: Vec<_> = assignment.columns_matched().collect();
            let expected: Vec<_> = (0..columns).map(|column| again.contains(&Some(column))).collect();
            prop_assert_eq!(matched, expected);
        }
    }
}
