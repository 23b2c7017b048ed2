//! Patterns of names as shells know them: `*`, `?`, `[a-z]`, `[!a]`, `{one,two}`, and `\` before a byte to mean itself.
//!
//! The pattern comes from a client and is matched against every name of a directory, so its cost is bounded: it is
//! compiled to a small automaton whose states advance together, byte by byte. No pattern, however many stars and
//! nested braces it has, takes more than its own length times the name's; and nothing recurses.

/// One step of the automaton; steps follow one another but for [`Step::Split`] and [`Step::Jump`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// This byte.
    Byte(u8),
    /// Any one byte.
    Any,
    /// Any bytes, none too.
    Star,
    /// A byte of this set, a bit for each value.
    Class([u64; 4]),
    /// Go on both behind this step and there.
    Split(usize),
    /// Go on there.
    Jump(usize),
    /// The name matches if it ends here.
    End,
}

/// A compiled pattern, with the working memory of its matching.
#[derive(Debug)]
pub(super) struct Pattern {
    steps: Vec<Step>,
    matches_dot_names: bool,
    /// The steps that the bytes so far lead to, and those that the next byte leads to.
    states: States,
    states_after: States,
}

/// Whether `name` has a byte that makes it a pattern.
pub(super) fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'{'))
}

impl Pattern {
    /// Reads a pattern. Every text is one: an unclosed `[` or `{` means itself.
    pub(super) fn new(pattern: &[u8]) -> Self {
        let steps =
            compile(pattern, true).or_else(|| compile(pattern, false)).unwrap_or_else(|| vec![Step::End]);
        Self {
            states: States::new(steps.len()),
            states_after: States::new(steps.len()),
            matches_dot_names: pattern.starts_with(b"."),
            steps,
        }
    }

    /// Whether the whole of `name` matches; one that begins with a dot only where the pattern does too.
    pub(super) fn matches(&mut self, name: &[u8]) -> bool {
        if name.starts_with(b".") && !self.matches_dot_names {
            return false;
        }
        self.states.clear();
        self.states.add(0);
        self.states.close(&self.steps);
        for &byte in name {
            self.states_after.clear();
            for &state in &self.states.list {
                match self.steps[state] {
                    Step::Byte(expected) if expected == byte => self.states_after.add(state + 1),
                    Step::Any => self.states_after.add(state + 1),
                    Step::Class(set) if contains(&set, byte) => self.states_after.add(state + 1),
                    Step::Star => self.states_after.add(state),
                    Step::Byte(_) | Step::Class(_) | Step::Split(_) | Step::Jump(_) | Step::End => {}
                }
            }
            self.states_after.close(&self.steps);
            std::mem::swap(&mut self.states, &mut self.states_after);
            if self.states.list.is_empty() {
                return false;
            }
        }
        self.states.list.iter().any(|&state| self.steps[state] == Step::End)
    }
}

/// A set of steps, in the order in which they came.
#[derive(Debug)]
struct States {
    list: Vec<usize>,
    contained: Vec<bool>,
}

impl States {
    fn new(steps: usize) -> Self {
        Self { list: Vec::with_capacity(steps), contained: vec![false; steps] }
    }

    fn clear(&mut self) {
        for state in self.list.drain(..) {
            self.contained[state] = false;
        }
    }

    fn add(&mut self, state: usize) {
        if !std::mem::replace(&mut self.contained[state], true) {
            self.list.push(state);
        }
    }

    /// Adds what can be reached without a byte.
    fn close(&mut self, steps: &[Step]) {
        let mut index = 0;
        while let Some(&state) = self.list.get(index) {
            match steps[state] {
                Step::Star => self.add(state + 1),
                Step::Split(other) => {
                    self.add(state + 1);
                    self.add(other);
                }
                Step::Jump(target) => self.add(target),
                Step::Byte(_) | Step::Any | Step::Class(_) | Step::End => {}
            }
            index += 1;
        }
    }
}

/// A brace that is open: where its newest alternative's split is, and the jumps from the ends of those before.
struct Brace {
    split: usize,
    jumps: Vec<usize>,
}

/// Compiles `pattern`; gives nothing where `braces` are meant to group and do not pair.
fn compile(pattern: &[u8], braces: bool) -> Option<Vec<Step>> {
    let mut steps = Vec::with_capacity(pattern.len() + 1);
    let mut open: Vec<Brace> = Vec::new();
    let mut rest = pattern;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'*' if steps.last() == Some(&Step::Star) && open.is_empty() => {}
            b'*' => steps.push(Step::Star),
            b'?' => steps.push(Step::Any),
            b'[' => match read_class(after) {
                Some((set, after_class)) => {
                    steps.push(Step::Class(set));
                    rest = after_class;
                }
                None => steps.push(Step::Byte(b'[')),
            },
            b'\\' if !after.is_empty() => {
                steps.push(Step::Byte(after[0]));
                rest = &after[1..];
            }
            b'{' if braces => {
                open.push(Brace { split: steps.len(), jumps: Vec::new() });
                steps.push(Step::Split(0));
            }
            b',' if !open.is_empty() => {
                let brace = open.last_mut()?;
                brace.jumps.push(steps.len());
                steps.push(Step::Jump(0));
                steps[brace.split] = Step::Split(steps.len());
                brace.split = steps.len();
                steps.push(Step::Split(0));
            }
            b'}' if !open.is_empty() => {
                let brace = open.pop()?;
                // The last alternative has no other: its split goes on to the step behind it only.
                steps[brace.split] = Step::Jump(brace.split + 1);
                let end = steps.len();
                for jump in brace.jumps {
                    steps[jump] = Step::Jump(end);
                }
            }
            byte => steps.push(Step::Byte(byte)),
        }
    }
    steps.push(Step::End);
    open.is_empty().then_some(steps)
}

/// Reads a class behind its `[`; gives the set and what follows the `]`, or nothing where there is no `]`.
fn read_class(text: &[u8]) -> Option<([u64; 4], &[u8])> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let mut rest = if negated { &text[1..] } else { text };
    let mut set = [0; 4];
    let mut first = true;
    loop {
        let (&low, after) = rest.split_first()?;
        if low == b']' && !first {
            rest = after;
            break;
        }
        first = false;
        match *after {
            [b'-', high, ref after_range @ ..] if high != b']' => {
                for byte in low..=high {
                    insert(&mut set, byte);
                }
                rest = after_range;
            }
            _ => {
                insert(&mut set, low);
                rest = after;
            }
        }
    }
    if negated {
        set = set.map(|word: u64| !word);
    }
    Some((set, rest))
}

fn insert(set: &mut [u64; 4], byte: u8) {
    set[usize::from(byte / 64)] |= 1 << (byte % 64);
}

fn contains(set: &[u64; 4], byte: u8) -> bool {
    set[usize::from(byte / 64)] >> (byte % 64) & 1 != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern.as_bytes()).matches(name.as_bytes())
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.txt", "a.txt"),
            ("a*b*c", "axxbyyc"),
            ("?", "a"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[^a-c]x", "dx"),
            ("[]a]", "]"),
            ("[a-]", "-"),
            ("[\\]", "\\"),
            ("{one,two}.txt", "two.txt"),
            ("{a,b{c,d}}e", "bde"),
            ("{,x}a", "a"),
            ("{a}", "a"),
            ("{*.c,*.h}", "x.h"),
            ("x{a,b}{c,d}", "xbc"),
            (".*", ".hidden"),
            ("\\*", "*"),
            ("[a", "[a"),
            ("{a", "{a"),
            ("a}", "a}"),
            ("{a,b", "{a,b"),
            ("a,b*", "a,b"),
            ("a\\", "a\\"),
            ("**", "anything"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", ".hidden"),
            ("?hidden", ".hidden"),
            ("*.txt", "a.txt.gz"),
            ("?", ""),
            ("?", "ab"),
            ("[a-c]", "d"),
            ("[!a-c]", "b"),
            ("[z-a]", "b"),
            ("{one,two}", "three"),
            ("{a,b}", "ab"),
            ("\\*", "a"),
            ("a*b", "axc"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_match_too() {
        assert!(Pattern::new(b"\xff*").matches(b"\xff\xfe"));
        assert!(Pattern::new(b"[\x80-\xff]").matches(b"\xc0"));
    }

    #[test]
    fn a_pattern_can_be_matched_again_and_again() {
        let mut pattern = Pattern::new(b"a*{x,y}");
        assert!(pattern.matches(b"abx"));
        assert!(!pattern.matches(b"ab"));
        assert!(pattern.matches(b"ay"));
    }

    #[test]
    fn hostile_patterns_have_no_more_states_than_bytes() {
        for pattern in [
            "*a".repeat(120),
            "{a,a}".repeat(50),
            "{".repeat(127) + &"}".repeat(127),
            "{*,*a}".repeat(40),
            "{,".repeat(80) + &"}".repeat(80),
        ] {
            let mut compiled = Pattern::new(pattern.as_bytes());
            assert!(compiled.steps.len() <= pattern.len() * 2 + 1);
            // The set holds each state once, whatever way leads to it, so the work is bounded by construction; a
            // matcher that tries every way would not come back from these.
            compiled.matches("a".repeat(254).as_bytes());
            assert!(compiled.states.list.len() <= compiled.steps.len());
        }
    }

    /// The plain recursive definition, for short texts.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                naive(rest, name) || name.split_first().is_some_and(|(_, after)| naive(pattern, after))
            }
            (Some((b'?', rest)), Some((_, after))) => naive(rest, after),
            (Some((expected, rest)), Some((byte, after))) => expected == byte && naive(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn stars_and_question_marks_agree_with_the_plain_definition(
            pattern in "[ab*?]{0,8}", name in "[ab]{0,8}",
        ) {
            prop_assert_eq!(matches(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn two_alternatives_match_what_either_matches(
            one in "[ab*?]{0,5}", two in "[ab*?]{0,5}", name in "[ab]{0,8}",
        ) {
            let either = matches(&one, &name) || matches(&two, &name);
            prop_assert_eq!(matches(&format!("{{{one},{two}}}"), &name), either);
        }

        #[test]
        fn any_bytes_are_a_pattern(
            pattern in proptest::collection::vec(any::<u8>(), 0..40),
            name in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            Pattern::new(&pattern).matches(&name);
        }
    }
}
