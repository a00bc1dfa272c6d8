//! Chains of transformations as one tree: what several rules undo in the same way is undone once.

use super::features::{FeatureTable, Features};
use crate::policy::waf::bits::Bits;
use crate::policy::waf::transforms::Transform;

/// All chains of a gate. The root is the text as it came; parents stand before their children.
#[derive(Clone, Debug)]
pub(super) struct Chains {
    pub(super) nodes: Vec<Node>,
    /// The triggers of all transformations; a text with none of them stays as it is.
    triggers: Features,
    /// Whether some transformation must be asked about every text.
    eager: bool,
}

/// A chain's last transformation, or the root.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) parent: usize,
    pub(super) transform: Option<Transform>,
    /// A text with none of these features stays as it is; 0: ask the transformation.
    pub(super) triggers: Features,
    /// Whether all that happens to a text from here on is that bytes go away, so that what a unit
    /// needs must be there before.
    pub(super) deletes: bool,
    /// The units that judge the text at this node.
    pub(super) here: Bits,
    /// The same, and those of all nodes below.
    pub(super) below: Bits,
}

impl Chains {
    /// The tree of the units' chains.
    pub(super) fn new<'a>(
        chains: impl Iterator<Item = &'a [Transform]>,
        size: usize,
        features: &mut FeatureTable,
    ) -> Chains {
        let node = |parent, transform, triggers| Node {
            parent,
            transform,
            triggers,
            deletes: false,
            here: Bits::none(size),
            below: Bits::none(size),
        };
        let mut nodes = vec![node(0, None, 0)];
        for (unit, chain) in chains.enumerate() {
            let mut at = 0;
            nodes[at].below.insert(unit);
            for transform in chain {
                let known =
                    nodes.iter().position(|node| node.parent == at && node.transform == Some(*transform));
                at = known.unwrap_or_else(|| {
                    let triggers = transform.info().triggers.map_or(0, |set| features.bit(set));
                    nodes.push(node(at, Some(*transform), triggers));
                    nodes.len() - 1
                });
                nodes[at].below.insert(unit);
            }
            nodes[at].here.insert(unit);
        }
        for at in 0..nodes.len() {
            let last = !nodes.iter().any(|node| node.parent == at && node.transform.is_some());
            nodes[at].deletes = last && nodes[at].transform.is_some_and(|transform| transform.info().deletes);
        }
        let transforms = nodes.iter().filter(|node| node.transform.is_some());
        let triggers = transforms.clone().fold(0, |all, node| all | node.triggers);
        let eager = transforms.clone().any(|node| node.triggers == 0);
        Chains { nodes, triggers, eager }
    }

    /// Whether any transformation could change a text of these features.
    #[inline]
    pub(super) fn may_change(&self, features: Features) -> bool {
        self.eager || self.triggers & features != 0
    }
}
