//! What a stage says of a file that holds other records than those it needs: what it needs, and
//! what to do.

use super::mistakes::{ROW, Read, error};
use data::Format;

const PAIRS: &str = "pairs of answers: rows of comparison (version 2), comparison (version 1), \
                     UltraFeedback, OpenAI preference, PKU-SafeRLHF, SHP, arena, ranked answers, \
                     pairs, HH";

#[test]
fn files_without_the_needed_records_are_refused() {
    #[track_caller]
    fn check(read: Read, rows: &str, expected: &str) {
        let found = error(read, Format::Auto, "x.json", rows.as_bytes());
        assert_eq!(found, expected);
    }
    check(
        Read::Demonstrations,
        r#"[{"user_input": "q", "completion_a": "a", "completion_b": "b"}]"#,
        "holds preferences (comparison (version 1) rows), but this stage needs prompts with one \
         answer: rows of Alpaca, chat (messages, ShareGPT), question/answer, prompt/completion, \
         text, transcript; to learn the better answers alone, write them as rows {\"prompt\": …, \
         \"completion\": …}",
    );
    check(
        Read::Preferences,
        &format!("[{ROW}]"),
        &format!(
            "holds demonstrations (Alpaca rows), but this stage needs {PAIRS}; write a better and a \
             worse answer to each prompt as a row {{\"prompt\": …, \"chosen\": …, \"rejected\": …}}"
        ),
    );
    check(
        Read::Preferences,
        r#"[{"prompt": "q", "completion": "a", "label": true}]"#,
        &format!(
            "holds answers with labels (KTO rows), but this stage needs {PAIRS}; where a prompt has \
             an answer of each label, write the two as a row {{\"prompt\": …, \"chosen\": …, \
             \"rejected\": …}}"
        ),
    );
    check(
        Read::Demonstrations,
        r#"[{"question_id": 1, "text": "q"}]"#,
        "holds questions without answers (FastChat question rows), but this stage needs prompts with \
         one answer: rows of Alpaca, chat (messages, ShareGPT), question/answer, \
         prompt/completion, text, transcript; RLHF learns from them as prompts; else \
         write rows {\"prompt\": …, \
         \"completion\": …}",
    );
    check(
        Read::Prompts,
        r#"[{"text": "q"}]"#,
        "holds texts without prompts (text rows), but this stage needs prompts: rows of comparison \
         (version 2), comparison (version 1), UltraFeedback, OpenAI preference, PKU-SafeRLHF, SHP, \
         arena, ranked answers, Alpaca, pairs, HH, chat (messages, ShareGPT), FastChat question, \
         KTO, question/answer, prompt/completion, transcript; write each prompt as a row \
         {\"prompt\": …} of a .jsonl file",
    );
    check(
        Read::Preferences,
        r#"[{"user_input": "q", "completion_a": "a", "completion_b": "a"}]"#,
        "none of its rows can be used: both answers equal (1)",
    );
}
