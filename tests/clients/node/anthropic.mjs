// The `@anthropic-ai/sdk` package for Node: plain, and its stream helper.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: process.env.ROUTER_URL,
  apiKey: "any",
  defaultHeaders: { "X-Router-Models": process.env.ROUTER_MODELS },
});
const city = {
  type: "object",
  properties: { city: { type: "string" }, population: { type: "integer" } },
  required: ["city", "population"],
  additionalProperties: false,
};
const tools = [
  {
    name: "weather",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];

const request = (text = "Hi", more) => ({
  model: "auto",
  max_tokens: 100,
  messages: [{ role: "user", content: text }],
  ...more,
});
const create = (text, more) => client.messages.create(request(text, more));
const plain = async (text, more) => (await create(text, more)).content[0].text;
const stream = (text) => client.messages.stream(request(text)).finalText();
const counted = (usage) => [usage.input_tokens, usage.output_tokens];
const used = (message) => message.content.find((block) => block.type === "tool_use");
const called = (message) => ({ name: used(message).name, arguments: used(message).input });

async function refused(call, type, named) {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof type)) throw error;
    return { status: error.status, named: error.message.includes(named) };
  }
}

const features = {
  plain: () => plain(),
  stream: () => stream(),
  async tools() {
    const message = await create("What is the weather?", { tools });
    const result = { type: "tool_result", tool_use_id: used(message).id, content: "sunny in Paris" };
    const messages = [
      { role: "user", content: "What is the weather?" },
      { role: "assistant", content: message.content },
      { role: "user", content: [result] },
    ];
    return { ...called(message), answer: await plain("", { messages, tools }) };
  },
  "streamed tools": async () => called(await client.messages.stream(request("Hi", { tools })).finalMessage()),
  "structured output": async () =>
    JSON.parse(await plain("Hi", { output_config: { format: { type: "json_schema", schema: city } } })),
  usage: async () => counted((await create()).usage),
  "streamed usage": async () => counted((await client.messages.stream(request()).finalMessage()).usage),
  "bad field": () => refused(() => create("Hi", { top_p: 7 }), Anthropic.BadRequestError, "top_p"),
  "unknown model": () => refused(() => create("Hi", { model: "gpt-0" }), Anthropic.NotFoundError, "gpt-0"),
  "upstream 500": () => plain("fail 1 time with 500"),
  "upstream 429": () => plain("fail 1 time with 429"),
  "comes back": () => plain("fail 2 times with 500"),
  async "broken stream"() {
    try {
      return await stream("break off");
    } catch (error) {
      if (!(error instanceof Anthropic.APIError)) throw error;
      return "error";
    }
  },
};

const seen = {};
for (const [name, feature] of Object.entries(features)) {
  try {
    seen[name] = await feature();
  } catch (error) {
    seen[name] = `${error.name}: ${error.message}`;
  }
}
console.log(JSON.stringify(seen));
