//! The machine: one way through the program at a time, back to the last choice where that one fails.
//!
//! Every instruction, every choice that is taken back and every byte that is run over is counted, so that
//! the time for a text is bounded whatever the expression and the text. Nothing outlives a call.

use std::ops::Range;

use regex_automata::util::look::LookMatcher;
use regex_syntax::hir::Look;

use super::program::{Program, Step};
use crate::policy::waf::budget::GaveUp;

/// What is taken back or tried otherwise where the present way fails.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// Another way.
    Way { step: u32, at: u32 },
    /// What a register was before.
    Undo { register: u32, value: u32 },
    /// A greedy run that may be shorter, down to `least`.
    Shorter { step: u32, least: u32, at: u32 },
    /// A lazy run that may be longer, up to `most`.
    Longer { step: u32, at: u32, most: u32 },
}

/// How many frames there may be at once: 8 MiB of them.
const MAX_FRAMES: usize = 512 << 10;
/// A register that holds nothing.
const UNSET: u32 = u32::MAX;
/// Looking at so many bytes one after the other is a step,
const BYTES_A_STEP: usize = 4;
/// and so is comparing so many at once.
const COMPARED_A_STEP: usize = 16;

pub(super) struct Machine<'p, 't> {
    program: &'p Program,
    text: &'t [u8],
    registers: Vec<u32>,
    frames: Vec<Frame>,
    /// The steps that are left.
    pub(super) left: u64,
}

impl<'p, 't> Machine<'p, 't> {
    pub(super) fn new(program: &'p Program, text: &'t [u8], left: u64) -> Machine<'p, 't> {
        Machine { program, text, registers: vec![UNSET; program.registers], frames: Vec::new(), left }
    }

    fn spend(&mut self, steps: usize) -> Result<(), GaveUp> {
        self.left = self.left.checked_sub(steps as u64).ok_or(GaveUp)?;
        Ok(())
    }

    /// Counts the starts that were passed over.
    pub(super) fn pass(&mut self, starts: usize) -> Result<(), GaveUp> {
        self.spend(starts / BYTES_A_STEP)
    }

    /// The place of a group in a text that matched.
    pub(super) fn group(&self, number: usize) -> Option<Range<usize>> {
        let bound = |at: usize| self.registers.get(at).copied().filter(|at| *at != UNSET);
        Some(bound(number * 2)? as usize..bound(number * 2 + 1)? as usize)
    }

    /// Whether the expression matches from here; where it does, the groups are known.
    pub(super) fn matches_at(&mut self, start: usize) -> Result<bool, GaveUp> {
        self.frames.clear();
        let Ok(start) = u32::try_from(start) else { return Err(GaveUp) };
        let (mut step, mut at) = (0_u32, start);
        loop {
            self.spend(1)?;
            match self.step(step, at)? {
                Next::Go(next, position) => (step, at) = (next, position),
                Next::Done => {
                    self.set(0, start)?;
                    self.set(1, at)?;
                    return Ok(true);
                }
                Next::Fail => match self.back() {
                    Some(way) => (step, at) = way,
                    None => return Ok(false),
                },
            }
        }
    }

    // A third of the time a step takes otherwise would go on handing on what it gives.
    #[inline(always)]
    fn step(&mut self, step: u32, at: u32) -> Result<Next, GaveUp> {
        let next = step + 1;
        let rest = self.text.get(at as usize..).unwrap_or_default();
        let going = |holds: bool, by: usize| match holds {
            true => Next::Go(next, at + by as u32),
            false => Next::Fail,
        };
        let Some(instruction) = self.program.steps.get(step as usize) else { return Err(GaveUp) };
        Ok(match instruction {
            Step::Done => Next::Done,
            Step::Text(text) => {
                self.spend(text.len() / COMPARED_A_STEP)?;
                going(rest.starts_with(text), text.len())
            }
            Step::Byte(set) => going(rest.first().is_some_and(|byte| set.contains(*byte)), 1),
            Step::At(look) => going(holds(*look, self.text, at as usize), 0),
            Step::Run { set, min, max, greedy } => {
                let wanted = if *greedy { *max } else { *min } as usize;
                let found = rest.iter().take(wanted).take_while(|byte| set.contains(**byte)).count();
                self.spend(found / BYTES_A_STEP)?;
                if found < *min as usize {
                    return Ok(Next::Fail);
                }
                let here = at + found as u32;
                match greedy {
                    true if here > at + min => {
                        self.push(Frame::Shorter { step, least: at + min, at: here })?
                    }
                    false if max > min => {
                        let most = at.saturating_add(*max).min(self.text.len() as u32);
                        self.push(Frame::Longer { step, at: here, most })?;
                    }
                    _ => {}
                }
                Next::Go(next, here)
            }
            Step::Split { other } => {
                self.push(Frame::Way { step: *other, at })?;
                Next::Go(next, at)
            }
            Step::SplitLate { other } => {
                self.push(Frame::Way { step: next, at })?;
                Next::Go(*other, at)
            }
            Step::Jump { to } => Next::Go(*to, at),
            Step::Keep { register } => {
                self.set(*register, at)?;
                Next::Go(next, at)
            }
            Step::Close { group, from } => {
                let from = self.get(*from);
                self.set(group * 2, from)?;
                self.set(group * 2 + 1, at)?;
                Next::Go(next, at)
            }
            Step::Zero { count } => {
                self.set(*count, 0)?;
                Next::Go(next, at)
            }
            Step::Loop { count, from, min, max, greedy, exit } => {
                let rounds = self.get(*count);
                // A round that matched nothing would go on for ever.
                let idle = rounds > 0 && rounds >= *min && self.get(*from) == at;
                match (rounds < *min, idle || rounds >= *max, greedy) {
                    (true, ..) => Next::Go(next, at),
                    (false, true, _) => Next::Go(*exit, at),
                    (false, false, true) => {
                        self.push(Frame::Way { step: *exit, at })?;
                        Next::Go(next, at)
                    }
                    (false, false, false) => {
                        self.push(Frame::Way { step: next, at })?;
                        Next::Go(*exit, at)
                    }
                }
            }
            Step::Round { count, from } => {
                self.set(*count, self.get(*count).saturating_add(1))?;
                self.set(*from, at)?;
                Next::Go(next, at)
            }
            Step::Mark { register } => {
                // Above the frame that undoes this.
                self.set(*register, 0)?;
                let height = self.frames.len() as u32;
                self.write(*register, height);
                Next::Go(next, at)
            }
            Step::Cut { mark } => {
                self.cut(*mark)?;
                Next::Go(next, at)
            }
            Step::CutAndFail { mark } => {
                let height = self.get(*mark) as usize;
                self.spend(self.frames.len().saturating_sub(height) / BYTES_A_STEP)?;
                while self.frames.len() > height {
                    if let Some(Frame::Undo { register, value }) = self.frames.pop() {
                        self.write(register, value);
                    }
                }
                Next::Fail
            }
            Step::Return { register } => Next::Go(next, self.get(*register)),
            Step::Back { by } => match at.checked_sub(*by) {
                Some(at) => Next::Go(next, at),
                None => Next::Fail,
            },
            Step::Same { register } => going(self.get(*register) == at, 0),
            Step::Again { group, nocase } => {
                let Some(range) = self.group(*group as usize) else { return Ok(Next::Fail) };
                let text = self.text.get(range).unwrap_or_default();
                self.spend(text.len() / if *nocase { BYTES_A_STEP } else { COMPARED_A_STEP })?;
                let same = match (rest.get(..text.len()), nocase) {
                    (Some(here), false) => here == text,
                    (Some(here), true) => here.eq_ignore_ascii_case(text),
                    (None, _) => false,
                };
                going(same, text.len())
            }
        })
    }

    /// Forgets the ways that were added since a mark. What they would have undone on the way back still
    /// has to be.
    fn cut(&mut self, mark: u32) -> Result<(), GaveUp> {
        let height = self.get(mark) as usize;
        self.spend(self.frames.len().saturating_sub(height) / BYTES_A_STEP)?;
        let mut kept = height;
        for from in height..self.frames.len() {
            if let Some(frame @ Frame::Undo { .. }) = self.frames.get(from).copied()
                && let Some(place) = self.frames.get_mut(kept)
            {
                *place = frame;
                kept += 1;
            }
        }
        self.frames.truncate(kept);
        Ok(())
    }

    /// The last way that was not tried.
    fn back(&mut self) -> Option<(u32, u32)> {
        loop {
            match self.frames.pop()? {
                Frame::Undo { register, value } => self.write(register, value),
                Frame::Way { step, at } => return Some((step, at)),
                Frame::Shorter { step, least, at } => {
                    let at = at - 1;
                    if at > least {
                        self.frames.push(Frame::Shorter { step, least, at });
                    }
                    return Some((step + 1, at));
                }
                Frame::Longer { step, at, most } => {
                    let byte = self.text.get(at as usize);
                    let set = match self.program.steps.get(step as usize) {
                        Some(Step::Run { set, .. }) => set,
                        _ => continue,
                    };
                    if at < most && byte.is_some_and(|byte| set.contains(*byte)) {
                        self.frames.push(Frame::Longer { step, at: at + 1, most });
                        return Some((step + 1, at + 1));
                    }
                }
            }
        }
    }

    fn push(&mut self, frame: Frame) -> Result<(), GaveUp> {
        if self.frames.len() == MAX_FRAMES {
            return Err(GaveUp);
        }
        self.frames.push(frame);
        Ok(())
    }

    fn get(&self, register: u32) -> u32 {
        self.registers.get(register as usize).copied().unwrap_or(UNSET)
    }

    fn write(&mut self, register: u32, value: u32) {
        if let Some(place) = self.registers.get_mut(register as usize) {
            *place = value;
        }
    }

    /// Sets a register so that it is undone on the way back.
    fn set(&mut self, register: u32, value: u32) -> Result<(), GaveUp> {
        self.push(Frame::Undo { register, value: self.get(register) })?;
        self.write(register, value);
        Ok(())
    }
}

enum Next {
    Go(u32, u32),
    Done,
    Fail,
}

/// Whether an assertion about a place holds.
fn holds(look: Look, text: &[u8], at: usize) -> bool {
    let matcher = LookMatcher::new();
    match look {
        Look::Start => matcher.is_start(text, at),
        Look::End => matcher.is_end(text, at),
        Look::StartLF => matcher.is_start_lf(text, at),
        Look::EndLF => matcher.is_end_lf(text, at),
        Look::StartCRLF => matcher.is_start_crlf(text, at),
        Look::EndCRLF => matcher.is_end_crlf(text, at),
        Look::WordAscii => matcher.is_word_ascii(text, at),
        Look::WordAsciiNegate => matcher.is_word_ascii_negate(text, at),
        Look::WordStartAscii => matcher.is_word_start_ascii(text, at),
        Look::WordEndAscii => matcher.is_word_end_ascii(text, at),
        Look::WordStartHalfAscii => matcher.is_word_start_half_ascii(text, at),
        Look::WordEndHalfAscii => matcher.is_word_end_half_ascii(text, at),
        // Refused when the program was written.
        Look::WordUnicode
        | Look::WordUnicodeNegate
        | Look::WordStartUnicode
        | Look::WordEndUnicode
        | Look::WordStartHalfUnicode
        | Look::WordEndHalfUnicode => false,
    }
}
