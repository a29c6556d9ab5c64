//! What is said of wrong settings and limits of agents.

use super::{
    load_text, problems,
    refused::{assert_problems, with_agent},
};

#[test]
fn settings_and_limits_of_agents() {
    let efforts = "expected one of none, minimal, low, medium, high, max";
    assert_problems(
        &with_agent(
            "    allowed_models: [m, n, m]\n    temperature: 2.1\n    top_p: 0\n    max_output_tokens: 0\n    \
             reasoning_effort: xhigh\n    parallel_tool_calls: maybe\n    max_total_tokens: -1\n    max_tool_calls: 1.5\n    \
             max_tool_result_bytes: 9MiB\n    on_tool_error: ignore\n    max_concurrent_runs: 0\n    mcp_servers:\n      \
             - { name: crm, tools: [find], approval: [find, drop] }\n      - { name: billing, approval: some }\n",
        ),
        &[
            "c.yaml:6:25: agents.a.allowed_models[1]: no such model; there are m",
            "c.yaml:6:28: agents.a.allowed_models[2]: the model stands twice",
            "c.yaml:7:18: agents.a.temperature: expected a number from 0 to 2",
            "c.yaml:8:12: agents.a.top_p: expected a number from 0.001 to 1",
            "c.yaml:9:24: agents.a.max_output_tokens: expected a whole number from 1 to 4294967295",
            &format!("c.yaml:10:23: agents.a.reasoning_effort: {efforts}"),
            "c.yaml:11:26: agents.a.parallel_tool_calls: expected true or false, found text",
            "c.yaml:12:23: agents.a.max_total_tokens: expected a whole number from 1 to 1000000000000",
            "c.yaml:13:21: agents.a.max_tool_calls: expected a whole number from 1 to 1000000",
            "c.yaml:14:28: agents.a.max_tool_result_bytes: the size must be from 1KiB to 8MiB",
            "c.yaml:15:20: agents.a.on_tool_error: expected one of tell_model, fail_run",
            "c.yaml:16:26: agents.a.max_concurrent_runs: expected a whole number from 1 to 1000000",
            "c.yaml:18:47: agents.a.mcp_servers[0].approval: `drop` is not among the agent's `tools` of that server",
            "c.yaml:19:36: agents.a.mcp_servers[1].approval: expected `all` or a list of tools",
        ],
    );
    for number in [".nan", ".inf", "-.inf", "-0.1", "1e400", "'1'", "true"] {
        let found = problems(load_text(&with_agent(&format!("    temperature: {number}\n"))));
        assert_eq!(found.len(), 1, "{number}: {found:?}");
        assert!(found[0].contains("agents.a.temperature: "), "{number}: {found:?}");
    }
}
