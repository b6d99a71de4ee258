// claude-agent-sdk for Node, which brings the command of Claude Code with it.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSdkMcpServer, query, tool } from "@anthropic-ai/claude-agent-sdk";
import { z } from "zod";
import { CITY_SCHEMA, KEY, ROUTER_URL, UNKNOWN, report } from "../../node/harness.mjs";

const HOME = mkdtempSync(join(tmpdir(), "agent-"));
const MCP_WEATHER = 'What is the weather? call mcp__w__weather {"city": "Paris"}';
const env = {
  PATH: process.env.PATH,
  HOME,
  ANTHROPIC_BASE_URL: ROUTER_URL,
  ANTHROPIC_AUTH_TOKEN: KEY,
  ANTHROPIC_SMALL_FAST_MODEL: "auto",
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  DISABLE_TELEMETRY: "1",
};
const weather = tool("weather", "The weather in a city.", { city: z.string() }, async ({ city }) => ({
  content: [{ type: "text", text: `sunny in ${city}` }],
}));

function features(model) {
  async function run(prompt = "Hi", more) {
    const messages = [];
    const options = { env, model, cwd: HOME, ...more };
    for await (const message of query({ prompt, options })) messages.push(message);
    const answers = messages.filter(({ type }) => type === "assistant").map(({ message }) => message);
    return { answers, result: messages.find(({ type }) => type === "result") };
  }

  const plain = async (prompt, more) => (await run(prompt, more)).result.result;

  async function tools() {
    const w = createSdkMcpServer({ name: "w", tools: [weather] });
    const { answers, result } = await run(MCP_WEATHER, {
      mcpServers: { w },
      allowedTools: ["mcp__w__weather"],
    });
    const call = answers.flatMap(({ content }) => content).find(({ type }) => type === "tool_use");
    return {
      name: call.name.replace("mcp__w__", ""),
      arguments: call.input,
      answer: result.result.split("\n")[0], // reminders of the SDK follow the tool's result
    };
  }

  async function structured() {
    const city = JSON.stringify({ city: "Paris", population: 2 });
    const outputFormat = { type: "json_schema", schema: CITY_SCHEMA };
    return (await run(`call StructuredOutput ${city}`, { outputFormat })).result.structured_output;
  }

  async function usage() {
    const counts = (await run()).result.usage;
    return [counts.input_tokens, counts.output_tokens];
  }

  async function conversation() {
    const models = new Set();
    let resume;
    for (const text of ["I am Bob.", "Who am I?", "And now?"]) {
      const { answers, result } = await run(text, { resume });
      for (const answer of answers) models.add(answer.model);
      resume = result.session_id;
    }
    return models.size;
  }

  // The SDK hands out the error as a result, or raises it.
  async function shows(prompt, status, named, more) {
    const said = await plain(prompt, more).catch((error) => error.message);
    return said.includes(named) ? { status, named: true } : said;
  }

  return {
    plain: () => plain(),
    tools,
    "structured output": structured,
    usage,
    "unknown model": () => shows("Hi", 404, UNKNOWN, { model: UNKNOWN }),
    "upstream 400": () => shows("fail 9 times with 400", 400, "as the prompt said"),
    "upstream 429": () => plain("fail 1 time with 429"),
    "upstream 500": () => plain("fail 1 time with 500"),
    "comes back": () => plain("fail 3 times with 500"),
    conversation,
  };
}

await report(features, ["tools"]);
