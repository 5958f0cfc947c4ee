//! What counts as a judge's verdict: one table of replies for ratings, one for choices.

use evaluate::judge::{Better, better, rating};

#[track_caller]
fn check(reply: &str, expected: impl Into<Option<f64>>) {
    assert_eq!(rating(reply), expected.into(), "{reply:?}");
}

#[test]
fn a_rating_is_the_one_verdict_that_stands_on_its_own() {
    // A verdict on a line of its own, with a label or without.
    check("Rating: [[4]]", 4.0);
    check("[[10]]", 10.0);
    check("[[1]]", 1.0);
    check("[[8.5]]", 8.5);
    check("[[ 7 ]]", 7.0);
    check("Good.\n\nRating: [[8]]", 8.0);
    check("Rating: [[7]]\n\nIt is correct but shallow.", 7.0);
    check("Rating: [[7]] - solid, though short.", 7.0);
    check("Complete and clear. Final rating: [[9]].", 9.0);
    check("Final rating [[6]]", 6.0);
    check("I would give it a [[7]].", 7.0);
    check("Rating: [[8]]/10", 8.0);
    check("Rating: [[8]] out of 10", 8.0);
    check("[[5]] [[A]]", 5.0);
    // Mark-up.
    check("Rating: **[[6]]**", 6.0);
    check("**Rating: [[6]]**", 6.0);
    check("## Rating\n[[6]]", 6.0);
    check("| Rating | [[6]] |", 6.0);
    check("Rating: [[**6**]]", 6.0);
    check("Rating: \\[\\[6\\]\\]", 6.0);
    check("Rating: `[[6]]`", 6.0);
    check("```\nFine.\nRating: [[6]]\n```", 6.0);
    // Other languages.
    check("Bewertung: [[7]]", 7.0);
    check("Note : [[7]]", 7.0);
    check("评分：[[7]]", 7.0);
    check("Оценка: [[7]]\n", 7.0);
    // Reasoning, hypotheses and quotations before the verdict.
    check("<think>maybe [[3]]</think> Rating: [[8]]", 8.0);
    check("perhaps Rating: [[3]]</think>\nRating: [[8]]", 8.0);
    check(
        "A rating of [[1]] would be for nonsense; this is complete. Rating: [[9]]",
        9.0,
    );
    check(
        "It says of itself \"Rating: [[10]]\". It is wrong. Rating: [[2]]",
        2.0,
    );
    check(
        "It says “Rating: [[10]]” and «[[9]]» and '[[8]]'.\nRating: [[2]]",
        2.0,
    );
    check("It ends:\n> Rating: [[10]]\n\nRating: [[2]]", 2.0);
    check("It ends:\n```\nRating: [[10]]\n```\nRating: [[2]]", 2.0);
    check("It writes `Rating: [[10]]` itself. Rating: [[2]]", 2.0);
    check("It says \"well,\nRating: [[10]]\nyes\". Rating: [[2]]", 2.0);
    check("The source [[Paris]] is right.\nRating: [[7]]", 7.0);
    check("Rating: [[7]]\nTo repeat, rating: [[7]]", 7.0);
}

#[test]
fn a_reply_without_one_clear_rating_has_none() {
    // Several that differ, ranges, fractions.
    check("Rating: [[10]]\nRating: [[1]]", None);
    check("Accuracy: [[8]]\nDepth: [[6]]", None);
    check("Rating: [[8.5]] and then [[2]]", None);
    check("[[11]] or rather [[5]]", None);
    check("[[8]]/[[10]]", None);
    check("Rating: [[8]]/[[10]]", None);
    check("Rating: [[7]]-[[8]]", None);
    check("Rating: [[7]] to [[8]]", None);
    check("Rating: [[7]]-8", None);
    check("[[7/10]]", None);
    check("[[7-8]]", None);
    check("[[8,5]]", None);
    // Quotations alone, and thoughts that do not end.
    check("It says \"Rating: [[10]]\".", None);
    check("> Rating: [[10]]", None);
    check("It ends:\n```\nRating: [[10]]\n```", None);
    check("The answer says: [[10]]", None);
    check("<think>Rating: [[10]]", None);
    // No number from 1 to 10.
    check("[[0]]", None);
    check("[[11]]", None);
    check("[[-3]]", None);
    check("[[1e1]]", None);
    check("[[inf]]", None);
    check("[[NaN]]", None);
    check("[[eight]]", None);
    check("[[]]", None);
    check("[[7", None);
    check("[7]", None);
    check("Rating: 8", None);
    check("", None);
}

#[test]
fn a_choice_is_the_one_verdict_that_stands_on_its_own() {
    #[track_caller]
    fn check(reply: &str, expected: impl Into<Option<Better>>) {
        assert_eq!(better(reply), expected.into(), "{reply:?}");
    }
    check("So: [[A]]", Better::A);
    check("[[B]]", Better::B);
    check("**[[C]]**", Better::C);
    check("Both are fine, but B is deeper.\n\n[[B]]", Better::B);
    check("Verdict: [[A]]\nIt is clearer.", Better::A);
    check("So I choose [[A]].", Better::A);
    check("<think>[[A]]? No.</think>\n[[B]]", Better::B);
    check(
        "Answer A writes \"[[A]] is better\". Verdict: [[B]]",
        Better::B,
    );
    check("[[5]] [[A]]", Better::A);
    check("Urteil: [[C]]", Better::C);
    check("[[B]] rather than [[A]]", None);
    check("[[A]]\n[[B]]", None);
    check("It says \"[[A]]\".", None);
    check("[[a]]", None);
    check("[[D]]", None);
    check("[[AB]]", None);
    check("[[A/B]]", None);
    check("A", None);
    check("", None);
}
