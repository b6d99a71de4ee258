// The `@anthropic-ai/sdk` package for Node: plain, and its stream helper.
import Anthropic from "@anthropic-ai/sdk";
import { HEADERS, UNKNOWN, ROUTER_URL, WEATHER, raises, rated, refused, report } from "./harness.mjs";

const client = new Anthropic({
  baseURL: ROUTER_URL,
  apiKey: "any",
  defaultHeaders: HEADERS,
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

function features(model) {
  const request = (text = "Hi", more) => ({
    model,
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

  async function conversation() {
    let messages = [{ role: "user", content: "I am Bob." }];
    const models = new Set();
    for (const content of ["Who am I?", "And now?", "And then?"]) {
      const answer = await create("", { messages });
      models.add(answer.model);
      messages = [...messages, { role: "assistant", content: answer.content }, { role: "user", content }];
    }
    return models.size;
  }

  return {
    plain: () => plain(),
    stream: () => stream(),
    async tools() {
      const message = await create(WEATHER, { tools });
      const result = { type: "tool_result", tool_use_id: used(message).id, content: "sunny in Paris" };
      const messages = [
        { role: "user", content: WEATHER },
        { role: "assistant", content: message.content },
        { role: "user", content: [result] },
      ];
      return { ...called(message), answer: await plain("", { messages, tools }) };
    },
    "streamed tools": async () => called(await client.messages.stream(request(WEATHER, { tools })).finalMessage()),
    "structured output": async () =>
      JSON.parse(await plain("Hi", { output_config: { format: { type: "json_schema", schema: city } } })),
    usage: async () => counted((await create()).usage),
    "streamed usage": async () => counted((await client.messages.stream(request()).finalMessage()).usage),
    "bad field": () => refused(() => create("Hi", { top_p: 7 }), Anthropic.BadRequestError, "top_p"),
    "unknown model": () => refused(() => create("Hi", { model: UNKNOWN }), Anthropic.NotFoundError, UNKNOWN),
    "upstream 400": () => refused(() => plain("fail 9 times with 400"), Anthropic.BadRequestError, "as the prompt said"),
    "upstream 429": () => plain("fail 1 time with 429"),
    "upstream 500": () => plain("fail 1 time with 500"),
    "comes back": () => plain("fail 3 times with 500"),
    "broken stream": () => raises(() => stream("break off"), Anthropic.APIError),
    conversation,
    feedback: async () => rated((await create()).id),
  };
}

await report(features);
