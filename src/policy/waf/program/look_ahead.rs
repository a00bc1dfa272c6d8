//! Which rules are looked for in all texts at once, and which are stopped at.

use std::sync::Arc;

use super::Program;
use super::parts::LinkTest;
use crate::policy::waf::bits::Bits;
use crate::policy::waf::matcher::{Matcher, Unit};
use crate::policy::waf::sight::{Sight, View};

impl Program {
    /// Builds the matchers, once it is known which rules are worth looking for.
    pub(super) fn look_ahead(&mut self) {
        let mut reached = self.rehearse();
        let settled = self.settle();
        self.initial = settled.initial;
        for (number, phase) in self.phases.iter_mut().enumerate() {
            let mut sought: Vec<(Unit, Arc<View>, usize)> = Vec::new();
            for (position, rule) in phase.rules.iter().enumerate() {
                let Some(head) = self.rules.get(*rule).and_then(|rule| rule.links.first()) else { continue };
                let looked_for = reached.get_mut(number).is_some_and(|reached| reached.contains(position));
                if !(head.found_by_matcher && looked_for) {
                    if !settled.idle.get(number).is_some_and(|idle| idle.contains(position)) {
                        phase.always.push(position);
                    }
                    continue;
                }
                let (Some(view), LinkTest::Fixed(test)) = (&head.view, &head.test) else { continue };
                let longest = head.transforms.len();
                let shortest = if head.multi_match { 0 } else { longest };
                for length in shortest..=longest {
                    let transforms = head.transforms.get(..length).unwrap_or_default().into();
                    let unit = Unit { transforms, test: test.clone(), echo: length > shortest };
                    let alternatives = unit.alternatives().into_iter();
                    sought.extend(alternatives.map(|unit| (unit, Arc::clone(view), position)));
                }
            }
            // Units with the same transformations together: their sets are short runs.
            sought.sort_by(|(one, ..), (other, ..)| one.transforms.cmp(&other.transforms));
            let mut wanted = Bits::none(sought.len());
            (0..sought.len()).for_each(|unit| wanted.insert(unit));
            phase.wanted = wanted;
            phase.position_of = sought.iter().map(|(.., position)| *position).collect();
            if !sought.is_empty() {
                let (units, views) = sought.into_iter().map(|(unit, view, _)| (unit, view)).unzip();
                phase.matcher = Some((Matcher::new(units), Sight::new(views)));
            }
        }
    }
}
