//! Templates that would make texts and lists without end.

use super::render;

/// What a filter or a method makes is measured before it is made.
#[test]
fn a_filter_makes_no_text_beyond_the_limit() {
    // 2³⁰ ones in 30 lists
    let nested = format!("{{% set x = [1] %}}{}", "{% set x = [x, x] %}".repeat(30));
    let lines = "{% set x = 'a\\n' * 50000 %}";
    for (source, filter) in [
        ("{{ range(99999) | join('a' * 100000) | length }}", "join"),
        ("{{ range(99999) | join(d='a' * 100000) | length }}", "join"),
        ("{{ ('a' * 100000).join(range(99999)) | length }}", "join"),
        (
            "{{ ('a' * 9999) | replace('a', 'a' * 9999) | length }}",
            "replace",
        ),
        (
            "{{ ('a' * 9999) | replace('', 'a' * 9999) | length }}",
            "replace",
        ),
        (
            "{{ ('a' * 9999).replace('a', 'a' * 9999) | length }}",
            "replace",
        ),
        (
            "{{ [1, 'a' * 9999] | replace('a', 'a' * 9999) | length }}",
            "replace",
        ),
        ("{{ ('%99999d' * 99) | format(1) | length }}", "format"),
        ("{{ ('%.99999f' * 99) | format(1) | length }}", "format"),
        ("{{ ('%*d' * 99) | format(99999, 1) | length }}", "format"),
        ("{{ ('{:99999}' * 99).format(1) | length }}", "format"),
        ("{{ ('{0}' * 9999).format('a' * 9999) | length }}", "format"),
        (
            &format!("{lines}{{{{ x | indent(99999) | length }}}}"),
            "indent",
        ),
        (
            &format!("{lines}{{{{ x | indent(width=99999) | length }}}}"),
            "indent",
        ),
        (&format!("{nested}{{{{ x | tojson | length }}}}"), "tojson"),
        (
            &format!("{nested}{{{{ x | tojson(indent=2) | length }}}}"),
            "tojson",
        ),
        (&format!("{nested}{{{{ x | string | length }}}}"), "string"),
        (&format!("{nested}{{{{ x | pprint | length }}}}"), "pprint"),
        (&format!("{nested}{{{{ x | upper | length }}}}"), "upper"),
        (&format!("{nested}{{{{ x | escape | length }}}}"), "escape"),
        (&format!("{nested}{{{{ x | e | length }}}}"), "e"),
        (&format!("{nested}{{{{ x | join | length }}}}"), "join"),
        (&format!("{nested}{{{{ x | trim | length }}}}"), "trim"),
        ("{{ ('a,' * 1000000).split(',') | length }}", "split"),
        ("{{ ('a,' * 1000000) | split(',') | length }}", "split"),
        ("{{ ('a' * 2000000) | list | length }}", "list"),
        ("{{ ('a' * 2000000) | upper | length }}", "upper"),
        ("{{ ('a' * 2000000).upper() | length }}", "upper"),
    ] {
        let expected =
            format!("error: chat template (line 1): {filter}: a text of more than 1048588 bytes");
        let shown: String = source.chars().rev().take(60).collect();
        assert_eq!(
            render(source),
            expected,
            "{}",
            shown.chars().rev().collect::<String>()
        );
    }
}

#[test]
fn a_filter_takes_no_list_beyond_the_limit() {
    for filter in [
        "list",
        "sort",
        "reverse | list",
        "batch(9)",
        "map('upper')",
        "unique",
        "sum",
    ] {
        let name = filter.split([' ', '(']).next().unwrap();
        assert_eq!(
            render(&format!("{{{{ ([1] * 90000000) | {filter} | string }}}}")),
            format!(
                "error: chat template (line 1): {name}: a list of 90000000 items; the limit is 1048576"
            )
        );
    }
}

#[test]
fn filters_within_the_limit_do_what_they_did() {
    for (source, expected) in [
        ("{{ range(9) | join('-') }}", "0-1-2-3-4-5-6-7-8"),
        ("{{ ['a', 'b'] | join(d=', ') }}", "a, b"),
        ("{{ '-'.join(['a', 1]) }}", "a-1"),
        (
            "{{ 'aba' | replace('a', 'xy') }}{{ 'aba'.replace('a', '', 1) }}",
            "xybxyba",
        ),
        ("{{ [1, {'a': 'é'}] | string }}", "[1, {'a': 'é'}]"),
        ("{{ ('a' * 1000000) | upper | length }}", "1000000"),
        (
            "{{ ' a b ' | trim | upper | lower | title | capitalize }}",
            "A b",
        ),
        (
            "{{ [3, 1, 2] | sort | reverse | list }}{{ [1, 2] | sum }}",
            "[3, 2, 1]3",
        ),
        ("{{ messages | map(attribute='role') | list }}", "['user']"),
        (
            "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
            "1",
        ),
        (
            "{{ '%s and %05.1f' | format('a', 2) }}{{ '{:>4}|{}'.format(1, 2) }}",
            "a and 002.0   1|2",
        ),
        (
            "{{ {'b': 1, 'a': 2} | dictsort }}{{ 'a b'.split() }}",
            "[('a', 2), ('b', 1)]['a', 'b']",
        ),
    ] {
        assert_eq!(render(source), expected, "{source}");
    }
}

/// What operators and blocks make is noticed by the memory that it takes, in a process of its own,
/// whose peak is small. So is a failure that the first call would pass over.
#[test]
fn operators_and_blocks_are_stopped_by_their_memory() {
    const CHILD: &str = "HOSTILE_TEST_OPERATORS_CHILD";
    if let Ok(source) = std::env::var(CHILD) {
        println!("\n{}", render(&source));
        println!("{}", render("nothing is wrong with this one"));
        println!("peak {}", run::peak_memory_bytes() >> 20);
        std::process::exit(0);
    }
    let doubled = format!("{{% set x = 'x' %}}{}", "{% set x = x + x %}".repeat(37));
    let strings = "{% set x = 'a' * 90000000 %}{% set y = [x ~ 1, x ~ 2, x ~ 3, x ~ 4, x ~ 5, x ~ 6, x ~ 7, x ~ 8, x ~ 9] %}{{ y | length }}";
    let block = "{% set x = 'a' * 90000 %}{% set y %}{% for i in range(90000) %}{{ x }}{% endfor %}{% endset %}{{ y | length }}";
    let list = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = ns.x + ['a' * 90000] %}{% endfor %}{{ ns.x | length }}";
    let tuple = "{% set x = (1, 2) * 49999999 %}{{ x | length }}";
    let allowed = [
        "uses more than 512 MiB of memory",
        "does not finish within 10 s",
    ];
    for source in [&doubled, strings, block, list, tuple] {
        let output = crate::common::again_in_a_child([(CHILD, source)]);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("error: chat template: "))
            .collect();
        assert!(
            errors.len() == 2 && allowed.contains(&errors[0]),
            "{source}: {text}"
        );
        assert_eq!(errors[0], errors[1], "the next one is refused, too");
        let peak = text.lines().find_map(|line| line.strip_prefix("peak "));
        let peak: u64 = peak.unwrap().parse().unwrap();
        assert!(peak < 1500, "{source}: {peak} MiB");
    }
}
