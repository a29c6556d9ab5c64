use super::*;

/// A document with an MCP server that has these `caller_headers`.
fn document(rules: &str) -> String {
    format!("mcp_servers:\n  crm:\n    url: https://h/\n    caller_headers: {rules}\n")
}

#[test]
fn an_empty_list_of_allowed_names_is_not_the_same_as_none() {
    for (rules, allowed) in [
        ("", None),
        ("{}", None),
        ("{ locked: [x-a] }", None),
        ("{ allowed: [] }", Some(vec![])),
        ("{ allowed: [x-b, X-A] }", Some(vec!["x-a", "x-b"])),
    ] {
        let config = good(&document(rules));
        assert_eq!(config.mcp_servers["crm"].caller_headers.allowed().map(names), allowed, "{rules}");
    }
}

#[test]
fn what_contradicts_itself_or_is_no_name_is_named() {
    let case = |rules: &str, expected: &[(usize, &str, &str)]| {
        let text = document(rules);
        let line = |(column, path, said): &(usize, &str, &str)| {
            format!("c.yaml:4:{column}: mcp_servers.crm.caller_headers{path}: {said}")
        };
        assert_eq!(problems(load_text(&text)), expected.iter().map(line).collect::<Vec<_>>(), "{rules}");
    };
    let twice = "the name stands twice in the list; names are compared without case";
    let reserved = "the name is reserved: HTTP, MCP or Runwright itself sets that header";
    let token = "the name is no HTTP token (RFC 9110 section 5.6.2)";
    let in_both = "the name stands in `allowed`, too; take it out of one of them";
    let locked = "no caller may bring this header, for it is in `locked`; take it out of one of them";
    let not_allowed = "no caller may bring this header; put it into `allowed`, too";

    case("[x-a]", &[(21, "", "expected a mapping, found a list")]);
    case(
        "{ alowed: [] }",
        &[(23, ".alowed", "unknown key (did you mean allowed?); there are allowed, required, locked")],
    );
    case("{ allowed: x-a }", &[(32, ".allowed", "expected a list, found text")]);
    case("{ allowed: }", &[(23, ".allowed", "expected a list, found nothing")]);
    for key in ["allowed", "required", "locked"] {
        let at = 25 + key.len();
        let path = |index| format!(".{key}[{index}]");
        case(
            &format!("{{ {key}: [Host, 'X A', 1, {}] }}", "x".repeat(257)),
            &[
                (at + 1, &path(0), reserved),
                (at + 7, &path(1), token),
                (at + 14, &path(2), "expected text, found a number; put it in quotes"),
                (at + 17, &path(3), "the name is over 256 bytes"),
            ],
        );
        case(&format!("{{ {key}: [x-a, X-b, X-A] }}"), &[(at + 11, &path(2), twice)]);
        let many = |count: usize| (0..count).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(", ");
        let path = format!(".{key}");
        case(&format!("{{ {key}: [{}] }}", many(65)), &[(23, &path, "a list has at most 64 names")]);
        assert!(load_text(&document(&format!("{{ {key}: [{}] }}", many(64)))).is_ok());
    }
    case(
        "{ allowed: [x-a, x-b], locked: [x-c, X-B], required: [x-a, X-C, x-d, x-b] }",
        &[
            (58, ".locked[1]", in_both),
            (80, ".required[1]", locked),
            (85, ".required[2]", not_allowed),
            (90, ".required[3]", locked),
        ],
    );
    case("{ allowed: [], required: [x-a] }", &[(47, ".required[0]", not_allowed)]);
    case("{ required: [x-a], locked: [x-a] }", &[(34, ".required[0]", locked)]);
    // What is missing from a list with a slip in it may be just that.
    case("{ allowed: ['X A'], required: [x-a] }", &[(33, ".allowed[0]", token)]);
}
