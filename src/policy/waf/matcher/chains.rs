//! Chains of transformations as one tree: what several rules undo in the same way is undone once.

use super::Unit;
use super::features::{FeatureTable, Features};
use crate::policy::waf::bits::{Bits, Run};
use crate::policy::waf::transforms::Transform;

/// All chains of a gate. The root is the text as it came; each node's descendants stand right behind it.
#[derive(Clone, Debug)]
pub(super) struct Chains {
    pub(super) nodes: Vec<Node>,
    /// The units that need not judge a text that no transformation changes.
    pub(super) echoes: Bits,
}

/// A chain's last transformation, or the root.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) parent: usize,
    pub(super) transform: Option<Transform>,
    /// A text with none of these features stays as it is; 0: ask the transformation.
    pub(super) triggers: Features,
    /// The same for all nodes from here on down.
    all_triggers: Features,
    /// Whether some transformation from here on down must be asked about every text.
    eager: bool,
    /// The node behind its last descendant.
    pub(super) end: usize,
    /// The features that a text may come to have here and below; none: any.
    pub(super) yields: Option<Features>,
    /// The units that judge the text here and at all nodes below.
    pub(super) below: Run,
    /// Those that judge what comes of the text where the transformation has changed it, and no other
    /// does: all below but echoes of what stands below too.
    pub(super) moved: Run,
}

impl Chains {
    /// The tree of the units' chains.
    pub(super) fn new(units: &[Unit], features: &mut FeatureTable) -> Chains {
        let node = |parent, transform, triggers| Node {
            parent,
            transform,
            triggers,
            all_triggers: triggers,
            eager: false,
            end: 0,
            yields: Some(0),
            below: Run::default(),
            moved: Run::default(),
        };
        let mut nodes = vec![node(0, None, 0)];
        let empty = || [Bits::none(units.len()), Bits::none(units.len())];
        // By node: below, moved.
        let mut sets = vec![empty()];
        let mut echoes = Bits::none(units.len());
        // In the order of their chains, nodes are made depth first.
        let mut order: Vec<(usize, &Unit)> = units.iter().enumerate().collect();
        order.sort_by_key(|(_, unit)| &unit.transforms);
        for (unit, Unit { transforms, echo, .. }) in order {
            let mut at = 0;
            sets[at][0].insert(unit);
            for (index, transform) in transforms.iter().enumerate() {
                let known =
                    nodes.iter().position(|node| node.parent == at && node.transform == Some(*transform));
                at = known.unwrap_or_else(|| {
                    let triggers = transform.info().triggers.map_or(0, |set| features.bit(set));
                    nodes.push(node(at, Some(*transform), triggers));
                    sets.push(empty());
                    nodes.len() - 1
                });
                sets[at][0].insert(unit);
                if !echo || index + 1 == transforms.len() {
                    sets[at][1].insert(unit);
                }
            }
            if *echo {
                echoes.insert(unit);
            }
        }
        for (node, [below, moved]) in nodes.iter_mut().zip(&sets) {
            (node.below, node.moved) = (below.run(), moved.run());
        }
        let mut chains = Chains { nodes, echoes };
        chains.sum_up();
        chains
    }

    /// Tells each node what stands below it.
    fn sum_up(&mut self) {
        for at in (0..self.nodes.len()).rev() {
            let node = &mut self.nodes[at];
            node.end = node.end.max(at + 1);
            node.eager |= node.transform.is_some() && node.triggers == 0;
            let Node { parent, all_triggers, eager, end, .. } = *node;
            let parent = &mut self.nodes[parent];
            parent.all_triggers |= all_triggers;
            parent.eager |= eager;
            parent.end = parent.end.max(end);
        }
    }

    /// Tells each node which features a text may come to have from there on, once all have a bit.
    pub(super) fn foresee(&mut self, features: &FeatureTable) {
        for at in (1..self.nodes.len()).rev() {
            let yields = self.nodes[at].transform.and_then(|transform| transform.info().yields);
            let own = yields.map(|set| set.iter().fold(0, |all, byte| all | features.of(&[byte])));
            let all = own.zip(self.nodes[at].yields).map(|(own, below)| own | below);
            self.nodes[at].yields = all;
            let parent = self.nodes[at].parent;
            self.nodes[parent].yields =
                self.nodes[parent].yields.zip(all).map(|(mine, theirs)| mine | theirs);
        }
    }

    /// Whether any transformation could change a text of these features.
    #[inline]
    pub(super) fn may_change(&self, features: Features) -> bool {
        self.nodes.first().is_some_and(|root| root.may_change(features))
    }
}

impl Node {
    /// Whether this transformation or one below could change a text of these features.
    #[inline]
    pub(super) fn may_change(&self, features: Features) -> bool {
        self.eager || self.all_triggers & features != 0
    }
}
