//! A tree as a program for the machine.

use regex_syntax::hir::{Class, HirKind, Look, LookSet};

use super::tree::{Node, Tree};
use crate::policy::waf::bytes::ByteSet;

/// What the machine does next. Numbers of instructions and of registers are small: programs are bounded.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The expression matches.
    Done,
    Text(Box<[u8]>),
    Byte(ByteSet),
    At(Look),
    /// A repetition of one byte of a set: goes on behind as often as it may, or as rarely.
    Run {
        set: ByteSet,
        min: u32,
        max: u32,
        greedy: bool,
    },
    /// Goes on at the next instruction, and at the other one if that fails.
    Split {
        other: u32,
    },
    /// Goes on at the other instruction, and at the next one if that fails.
    SplitLate {
        other: u32,
    },
    Jump {
        to: u32,
    },
    /// Keeps the position.
    Keep {
        register: u32,
    },
    /// A group ends: from where the position was kept to here.
    Close {
        group: u32,
        from: u32,
    },
    /// Begins to count the rounds of the loop that follows.
    Zero {
        count: u32,
    },
    /// Decides on a further round, which begins at the next instruction.
    Loop {
        count: u32,
        from: u32,
        min: u32,
        max: u32,
        greedy: bool,
        exit: u32,
    },
    /// A round begins.
    Round {
        count: u32,
        from: u32,
    },
    /// Keeps which other ways there are.
    Mark {
        register: u32,
    },
    /// Forgets the ways that were added since.
    Cut {
        mark: u32,
    },
    /// Undoes what was done since, and fails.
    CutAndFail {
        mark: u32,
    },
    /// Goes back to a position that was kept.
    Return {
        register: u32,
    },
    /// Goes back by so many bytes.
    Back {
        by: u32,
    },
    /// Is where the position was kept.
    Same {
        register: u32,
    },
    /// The text of a group once more.
    Again {
        group: u32,
        nocase: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) groups: usize,
    /// Two for each group, and those that loops and marks need.
    pub(super) registers: usize,
}

/// The longest program.
const MAX_STEPS: usize = 20_000;
/// How far a look-behind may look.
const MAX_BEHIND: usize = 255;

/// Why there is no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    TooLarge,
    /// A look-behind that has no greatest length, or too great a one.
    Behind,
    /// Characters beyond ASCII as such.
    Unicode,
}

impl Program {
    pub(super) fn new(tree: &Tree) -> Result<Program, Unfit> {
        let mut writer = Writer { steps: Vec::new(), registers: tree.groups * 2 };
        writer.node(&tree.root)?;
        writer.push(Step::Done)?;
        Ok(Program { steps: writer.steps, groups: tree.groups, registers: writer.registers })
    }
}

struct Writer {
    steps: Vec<Step>,
    registers: usize,
}

impl Writer {
    fn push(&mut self, step: Step) -> Result<u32, Unfit> {
        if self.steps.len() == MAX_STEPS {
            return Err(Unfit::TooLarge);
        }
        self.steps.push(step);
        Ok(self.here() - 1)
    }

    fn here(&self) -> u32 {
        self.steps.len() as u32
    }

    fn register(&mut self) -> u32 {
        self.registers += 1;
        (self.registers - 1) as u32
    }

    /// Lets an instruction that leads forward lead here.
    fn lead_here(&mut self, from: u32) {
        let here = self.here();
        match self.steps.get_mut(from as usize) {
            Some(Step::Split { other } | Step::SplitLate { other }) => *other = here,
            Some(Step::Jump { to }) => *to = here,
            Some(Step::Loop { exit, .. }) => *exit = here,
            _ => {}
        }
    }

    fn node(&mut self, node: &Node) -> Result<(), Unfit> {
        match node {
            Node::Leaf(hir) => self.leaf(hir.kind()),
            Node::Sequence(nodes) => nodes.iter().try_for_each(|node| self.node(node)),
            Node::Either(nodes) => self.either(nodes, Writer::node),
            Node::Group(number, node) => {
                let from = self.register();
                self.push(Step::Keep { register: from })?;
                self.node(node)?;
                self.push(Step::Close { group: *number as u32, from })?;
                Ok(())
            }
            Node::Repeat { node, min, max, greedy } => self.repeat(node, *min, *max, *greedy),
            Node::Atomic(node) => {
                let mark = self.register();
                self.push(Step::Mark { register: mark })?;
                self.node(node)?;
                self.push(Step::Cut { mark })?;
                Ok(())
            }
            Node::Around { behind, negated, node } => self.around(*behind, *negated, node),
            Node::Back { group, nocase } => {
                self.push(Step::Again { group: *group as u32, nocase: *nocase })?;
                Ok(())
            }
        }
    }

    fn leaf(&mut self, kind: &HirKind) -> Result<(), Unfit> {
        let step = match kind {
            HirKind::Empty => return Ok(()),
            HirKind::Literal(literal) => Step::Text(literal.0.clone()),
            HirKind::Class(class) => Step::Byte(bytes(class)?),
            HirKind::Look(look) => {
                let unicode = LookSet::singleton(*look).contains_word_unicode();
                if unicode {
                    return Err(Unfit::Unicode);
                }
                Step::At(*look)
            }
            HirKind::Repetition(_) | HirKind::Capture(_) | HirKind::Concat(_) | HirKind::Alternation(_) => {
                return Err(Unfit::Unicode);
            }
        };
        self.push(step)?;
        Ok(())
    }

    fn either<T>(
        &mut self,
        branches: &[T],
        mut write: impl FnMut(&mut Writer, &T) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        let Some((last, others)) = branches.split_last() else { return Ok(()) };
        let mut ends = Vec::new();
        for branch in others {
            let split = self.push(Step::Split { other: 0 })?;
            write(self, branch)?;
            ends.push(self.push(Step::Jump { to: 0 })?);
            self.lead_here(split);
        }
        write(self, last)?;
        ends.into_iter().for_each(|end| self.lead_here(end));
        Ok(())
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, greedy: bool) -> Result<(), Unfit> {
        let most = max.unwrap_or(u32::MAX);
        if let Some(set) = single(node)? {
            self.push(Step::Run { set, min, max: most, greedy })?;
            return Ok(());
        }
        match (min, max) {
            (_, Some(0)) => return Ok(()),
            (1, Some(1)) => return self.node(node),
            (0, Some(1)) => {
                let split = match greedy {
                    true => self.push(Step::Split { other: 0 })?,
                    false => self.push(Step::SplitLate { other: 0 })?,
                };
                self.node(node)?;
                self.lead_here(split);
                return Ok(());
            }
            _ => {}
        }
        let (count, from) = (self.register(), self.register());
        self.push(Step::Zero { count })?;
        let head = self.push(Step::Loop { count, from, min, max: most, greedy, exit: 0 })?;
        self.push(Step::Round { count, from })?;
        self.node(node)?;
        self.push(Step::Jump { to: head })?;
        self.lead_here(head);
        Ok(())
    }

    fn around(&mut self, behind: bool, negated: bool, node: &Node) -> Result<(), Unfit> {
        let mark = self.register();
        self.push(Step::Mark { register: mark })?;
        let here = self.register();
        self.push(Step::Keep { register: here })?;
        let split = match negated {
            true => Some(self.push(Step::Split { other: 0 })?),
            false => None,
        };
        match behind {
            true => self.behind(node, here)?,
            false => self.node(node)?,
        }
        match split {
            Some(split) => {
                self.push(Step::CutAndFail { mark })?;
                self.lead_here(split);
            }
            None => {
                self.push(Step::Cut { mark })?;
                self.push(Step::Return { register: here })?;
            }
        }
        Ok(())
    }

    /// Each alternative in each of its lengths, up to here.
    fn behind(&mut self, node: &Node, here: u32) -> Result<(), Unfit> {
        let alternatives = match node {
            Node::Either(nodes) => nodes.as_slice(),
            node => std::slice::from_ref(node),
        };
        let mut ways = Vec::new();
        for node in alternatives {
            let (least, most) = node.width().filter(|(_, most)| *most <= MAX_BEHIND).ok_or(Unfit::Behind)?;
            ways.extend((least..=most).map(|width| (node, width)));
        }
        self.either(&ways, |writer, (node, width)| {
            writer.push(Step::Back { by: *width as u32 })?;
            writer.node(node)?;
            writer.push(Step::Same { register: here })?;
            Ok(())
        })
    }
}

/// The set of bytes that a part matches one of, if it is such a part.
fn single(node: &Node) -> Result<Option<ByteSet>, Unfit> {
    let Node::Leaf(hir) = node else { return Ok(None) };
    Ok(match hir.kind() {
        HirKind::Literal(literal) if literal.0.len() == 1 => Some(ByteSet::of(&literal.0)),
        HirKind::Class(class) => Some(bytes(class)?),
        _ => None,
    })
}

fn bytes(class: &Class) -> Result<ByteSet, Unfit> {
    let mut set = ByteSet::EMPTY;
    match class {
        Class::Bytes(class) => {
            class.ranges().iter().for_each(|one| set = set.union(ByteSet::range(one.start(), one.end())));
        }
        Class::Unicode(class) => {
            for one in class.ranges() {
                let (Ok(first), Ok(last)) = (u8::try_from(one.start()), u8::try_from(one.end())) else {
                    return Err(Unfit::Unicode);
                };
                if last > 0x7f {
                    return Err(Unfit::Unicode);
                }
                set = set.union(ByteSet::range(first, last));
            }
        }
    }
    Ok(set)
}
